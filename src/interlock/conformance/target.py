"""The target suite: what a class of targets promises, tried from inside, and what an attestation is worth."""

import sys
import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

from interlock import plane, testing
from interlock.conformance.checking import Check, Skipped, chosen, expect
from interlock.conformance.escapes import ESCAPES, find_escape
from interlock.conformance.report import Report
from interlock.conformance.target_subject import OpenTargetSubject, TargetSubject
from interlock.kernel import Clock, SystemClock

_DESCRIPTIONS: Final = 100
_SECONDS: Final = 1.0
_EFFECTS: Final = ("open", "socket.", "subprocess.", "os.", "shutil.")


@dataclass
class TargetBench:
    """Where all checks of one target take place."""

    subject: TargetSubject
    clock: Clock
    _attested: plane.Attestation | None = None

    async def attestation(self) -> plane.Attestation:
        """What it attests to. Raises Skipped if the target cannot be used on this host."""
        if self._attested is None:
            self._attested = await self.subject.attest("0" * 32)
        if self._attested is None:
            raise Skipped(f"it cannot be used here: {self.subject.target.describe().reason}")
        return self._attested


async def check_target(
    name: str, opened: OpenTargetSubject, *, clock: Clock | None = None, only: Iterable[str] | None = None
) -> Report:
    """Put a target through the suite, or through the checks of these ids."""
    checks = chosen(TARGET_CHECKS, only)
    async with opened() as subject:
        bench = TargetBench(subject, clock or SystemClock())
        return Report(kind="target", subject=name, findings=tuple([await check.run(bench) for check in checks]))


async def _unproven(bench: TargetBench) -> str:
    described = bench.subject.target.describe()
    proved = not plane.unproved(described.attestation.target_class, described.attestation.properties)
    unusable = described.health is not plane.Health.READY
    expect(proved, f"{described.attestation.target_class} is claimed, and not all that it stands for")
    expect(unusable, "it says that it is ready, and nothing was shown yet")
    expect(described.reason, "it takes no work, and does not say why")
    return f"before the probe: {described.reason}"


async def _describe(bench: TargetBench) -> str:
    describe, before = bench.subject.target.describe, bench.clock.monotonic()
    describe()  # what is loaded once is loaded now
    with _watched() as seen:
        for _ in range(_DESCRIPTIONS):
            describe()
    took = bench.clock.monotonic() - before
    expect(not seen, f"to describe itself it does I/O: {', '.join(sorted(set(seen)))}")
    expect(took < _SECONDS, f"{_DESCRIPTIONS} descriptions took {took:.1f} s")
    return f"{_DESCRIPTIONS} descriptions took {took * 1000:.0f} ms"


async def _attestation(bench: TargetBench) -> str:
    found, target = await bench.attestation(), bench.subject.target
    missing = plane.unproved(found.target_class, found.properties)
    expect(not missing, f"{found.target_class} is claimed without {', '.join(missing)}")
    expect(found.target_id == target.target_id, f"it speaks of the target {found.target_id}")
    expect(found.nonce == "0" * 32, "it does not answer the challenge")
    expect(found.expires_at - found.attested_at <= timedelta(hours=1), "it counts for more than an hour")
    expect(target.describe().attestation == found, "it announces another attestation")
    return f"{found.target_class}: {', '.join(found.properties)}"


async def _refused(bench: TargetBench) -> str:
    await bench.attestation()
    clock = testing.ManualClock(bench.clock.now() + timedelta(minutes=1))
    verifier = plane.AttestationVerifier(bench.subject.keys, clock=clock)
    target = bench.subject.target
    found = await bench.subject.attest(verifier.challenge(target.target_id))
    assert found is not None
    described = target.describe()
    expect((refusal := verifier.accept(found)) is None, f"a good attestation is refused: {refusal}")
    expect(verifier.holds(described) is None, "an accepted attestation does not hold")
    expect(verifier.accept(found), "a challenge was answered twice")
    foreign = described.model_copy(update={"target_id": f"{target.target_id}-2"})
    expect(verifier.holds(foreign), "another target's attestation is taken")
    more = found.model_copy(update={"properties": (*found.properties, "invented")})
    expect(verifier.holds(described.model_copy(update={"attestation": more})), "a changed attestation is taken")
    clock.advance((found.expires_at - clock.now()).total_seconds())
    expect(verifier.holds(described), "an attestation that has expired is taken")
    return "replayed, foreign, changed and expired ones are refused"


async def _stops(property_: plane.Property, bench: TargetBench) -> str:
    found = await bench.attestation()
    if property_ not in plane.CLASSES.get(found.target_class, frozenset()):
        raise Skipped(f"{found.target_class} does not promise it")
    escape = await find_escape(bench.subject, property_)
    expect(escape is None, f"{found.target_class} promises {property_}, and a program got through: {escape}")
    return "every attempt was stopped"


_watcher: list[str] | None = None
_watched_thread = 0


@contextmanager
def _watched() -> Generator[list[str]]:
    """The I/O that this thread does meanwhile, as the interpreter itself reports it."""
    global _watcher, _watched_thread  # noqa: PLW0603 - an audit hook is for the whole process, and for ever
    if not _watched_thread:
        sys.addaudithook(_hear)
    _watcher, _watched_thread = seen, _ = [], threading.get_ident()
    try:
        yield seen
    finally:
        _watcher = None


def _hear(event: str, _arguments: object) -> None:
    if _watcher is not None and threading.get_ident() == _watched_thread and event.startswith(_EFFECTS):
        _watcher.append(event)


TARGET_CHECKS: Final[tuple[Check[TargetBench], ...]] = (
    Check("unproven-first", "nothing is claimed before the probe", _unproven),
    Check("describe", "it describes itself quickly, and without I/O", _describe),
    Check("attestation", "the class is attested with all that it stands for", _attestation),
    Check("refused", "stale, foreign and tampered attestations are refused", _refused),
    *(Check(f"stops-{each}", escape.title, partial(_stops, each)) for each, escape in ESCAPES.items()),
)
"""The suite, in order."""
