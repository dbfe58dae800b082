"""The memory suite: every case of the contract kit, each in a child process, so that a provider which hangs or dies is told."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import anyio
from anyio import to_process

from interlock import memory
from interlock.conformance.report import Finding, Report, Verdict
from interlock.conformance.subject import SubjectBroken, UnknownSubject
from interlock.kernel import JSON
from interlock.testing import memory as kit

PATIENCE: Final = 30.0
"""Seconds that one case may take."""

LOST: Final = 3
"""Cases in which a provider may hang or die before it is tried no further."""

_OPENS: Final = "it can be opened, and says who it is"


class _Lost(NamedTuple):
    """Nobody answered."""

    why: str


async def check_memory(
    name: str,
    config: Mapping[str, Any] | None = None,
    *,
    levels: Iterable[str] | None = None,
    only: Iterable[str] | None = None,
    patience: float = PATIENCE,
) -> Report:
    """Put a provider that is installed through the cases of these levels, or through those of these ids. Each has storage of its
    own: in the configuration `{folder}` stands for a new folder, `{case}` for a word of its own. What is not offered is skipped.
    A case takes at most `patience` seconds; after LOST in which the provider hung or died, the rest is skipped.
    Raises UnknownSubject for a provider, a level or a case that is not there, SubjectBroken for one that is broken."""
    cases = _chosen(levels, only)
    config = dict(config or {})
    with tempfile.TemporaryDirectory(prefix="memory-") as folder:
        ask = partial(_apart, folder, patience, name, config)
        told = await ask(kit.apart.describe, "opens")
        if isinstance(told, _Lost) or "refused" in told:
            opened = _unopened(name, told)
            rest = [_finding(case, Verdict.SKIPPED, "it was not opened") for case in cases]
            return _report(name, [opened, *rest], {})
        findings = [Finding(check_id="opens", title=_OPENS, verdict=Verdict.PASSED, detail=_who(told))]
        lost = 0
        for number, case in cases:
            if lost == LOST:
                why = f"not tried: the provider had hung or died in {LOST} cases"
                findings.append(_finding((number, case), Verdict.SKIPPED, why))
                continue
            seen = await ask(kit.apart.try_case, str(number), number)
            lost += isinstance(seen, _Lost)
            verdict, detail = (Verdict.FAILED, seen.why) if isinstance(seen, _Lost) else (Verdict(seen[0]), seen[1])
            findings.append(_finding((number, case), verdict, detail))
        return _report(name, findings, told)


def _chosen(levels: Iterable[str] | None, only: Iterable[str] | None) -> list[tuple[int, kit.Case]]:
    wanted = set(kit.LEVELS if levels is None else levels)
    names = None if only is None else set(only)
    if unknown := sorted(wanted - set(kit.LEVELS)):
        raise UnknownSubject(f"there is no level {', '.join(unknown)[:60]}; known: {', '.join(kit.LEVELS)}")
    if unknown := sorted((names or set()) - {str(case) for case in kit.CASES}):
        raise UnknownSubject(f"there is no case {', '.join(unknown)[:200]}")
    return [
        (number, case)
        for number, case in enumerate(kit.CASES)
        if case.level in wanted and (names is None or str(case) in names)
    ]


async def _apart(
    folder: str, patience: float, name: str, config: Mapping[str, Any], work: Any, part: str, *more: Any
) -> Any:
    """What a child answers, or how it was lost; what hangs is killed."""
    place = Path(folder, part)
    await anyio.Path(place).mkdir()
    await to_process.run_sync(kit.apart.ready)  # a new child takes its time, which is not the provider's
    # Whoever waits without holding up its process is told by the contract's own deadline, which is over first.
    arguments = (name, config, str(place), patience / 2, *more)
    with anyio.move_on_after(patience):
        try:
            return await to_process.run_sync(work, *arguments, cancellable=True)
        except anyio.BrokenWorkerProcess:
            return _Lost("its process died")
    return _Lost(f"it did not end within {patience:g} seconds, and was killed")


def _unopened(name: str, told: "_Lost | Mapping[str, Any]") -> Finding:
    """Raises UnknownSubject, SubjectBroken."""
    if isinstance(told, _Lost):
        return Finding(check_id="opens", title=_OPENS, verdict=Verdict.FAILED, detail=told.why)
    if told["refused"] == memory.UnknownProvider.code:
        raise (SubjectBroken if told["installed"] else UnknownSubject)(told["message"])
    if told["refused"] == memory.InvalidConfig.code:
        step = "Say what it is opened with: `--set KEY=VALUE`; {folder} and {case} are another one for each case."
        raise UnknownSubject(f"{name} cannot be opened so: {told['message']}", next_step=step)
    return Finding(check_id="opens", title=_OPENS, verdict=Verdict.FAILED, detail=str(told["message"])[:500])


def _finding(numbered: tuple[int, kit.Case], verdict: Verdict, detail: str) -> Finding:
    _, case = numbered
    return Finding(check_id=str(case), title=case.title, verdict=verdict, detail=detail)


def _who(told: Mapping[str, Any]) -> str:
    return f"{told['name']} {told['version']}: {', '.join(sorted(told['capabilities']['offered']))}"


def _report(name: str, findings: Sequence[Finding], told: Mapping[str, JSON]) -> Report:
    levels: dict[str, JSON] = {}
    for level in kit.LEVELS:
        verdicts = [each.verdict for each in findings if each.check_id.startswith(f"{level}-")]
        if verdicts:
            levels[level] = {verdict.value: verdicts.count(verdict) for verdict in Verdict}
    return Report(
        kind="memory", subject=name, findings=tuple(findings), facts={"provider": dict(told) or None, "levels": levels}
    )
