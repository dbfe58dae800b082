"""The verifier suite: the true word is accepted, once; no other is."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeAlias

from interlock import plane, testing
from interlock.conformance.checking import Check, chosen, expect
from interlock.conformance.report import Report
from interlock.conformance.verifier_subject import AttestationSubject, AuthoritySubject, OpenVerifierSubject
from interlock.kernel import Clock, SystemClock, digest_bytes

_TTL: Final = 60.0
_INTENT: Final = digest_bytes(b"the intent")
_ASKED: Final[Mapping[str, str]] = {"intent_digest": _INTENT, "audience": "node-a", "target_class": "class-a"}
_ELSEWHERE: Final[Mapping[str, str]] = {
    "intent_digest": digest_bytes(b"another"),
    "audience": "node-b",
    "target_class": "class-b",
}
_TARGET: Final = "box"
_CLASS: Final = plane.LOCAL_LANDLOCK

Judged: TypeAlias = Iterator[tuple[str, plane.Failure | None]]
"""What was tried, and what the verifier said to it."""


class _Authority:
    """Decisions, true and other."""

    def __init__(self, subject: AuthoritySubject, clock: Clock) -> None:
        self._subject = subject
        self.clock = testing.ManualClock(clock.now())
        self.issuer, self.verifier = subject.make(self.clock)

    def decide(self, issuer: Any = None) -> plane.AuthorityDecision:
        return (issuer or self.issuer).issue(**_ASKED, ttl=_TTL)

    def spend(self, decision: plane.AuthorityDecision, **instead: str) -> plane.Failure | None:
        return self.verifier.spend(decision, **{**_ASKED, **instead})

    def true(self) -> Judged:
        yield "a decision", self.spend(self.decide())
        last = self.decide()
        self.clock.advance(_TTL - 0.001)
        yield "a decision at the last moment", self.spend(last)

    def expired(self) -> Judged:
        decision = self.decide()
        self.clock.advance(_TTL)
        yield "a decision whose time is over", self.spend(decision)

    def wrong_key(self) -> Judged:
        foreign = self.decide(self._subject.make(self.clock)[0])
        yield "a decision of somebody else", self.spend(foreign)
        impostor = foreign.model_copy(update={"key_id": self.decide().key_id})
        yield "a decision of somebody else under the trusted key's id", self.spend(impostor)

    def altered(self) -> Judged:
        true = self.decide()
        other = "ed25519" if true.algorithm == "hmac-sha256" else "hmac-sha256"
        later = true.expires_at + timedelta(seconds=1)
        flipped = f"{int(true.proof[0], 16) ^ 1:x}{true.proof[1:]}"
        changes: dict[str, Any] = {**_ELSEWHERE, "expires_at": later, "nonce": "0" * 32, "algorithm": other}
        for field, value in (changes | {"proof": flipped}).items():
            told = {field: value} if field in _ASKED else {}
            yield f"a decision with another {field}", self.spend(true.model_copy(update={field: value}), **told)
        yield "a decision with half its proof", self.spend(true.model_copy(update={"proof": true.proof[:32]}))

    def retargeted(self) -> Judged:
        for field, value in _ELSEWHERE.items():
            yield f"a decision for another {field}", self.spend(self.decide(), **{field: value})

    def replayed(self) -> Judged:
        decisions = [self.decide() for _ in range(100)]
        for decision in decisions:
            expect((refused := self.spend(decision)) is None, f"the true one is refused: {refused}")
        for decision in decisions:
            yield "a decision that was used", self.spend(decision)
        self.clock.advance(_TTL - 0.001)
        yield "a decision that was used, at its last moment", self.spend(decisions[0])
        self.clock.advance(0.001)
        yield "a decision that was used, after its time", self.spend(decisions[0])

    def kept(self) -> Judged:
        decision = self.decide()
        for field, value in _ELSEWHERE.items():
            expect(self.spend(decision, **{field: value}), f"a decision for another {field} is taken")
        yield "a decision that was refused elsewhere", self.spend(decision)


class _Attestation:
    """Attestations, true and other."""

    def __init__(self, subject: AttestationSubject, clock: Clock) -> None:
        self._subject = subject
        self.clock = testing.ManualClock(clock.now())
        self.signer, self.verifier = subject.make(self.clock)

    def mint(self, signer: plane.Signer | None = None, **fields: Any) -> plane.Attestation:
        values: dict[str, Any] = {
            "target_id": _TARGET,
            "target_class": _CLASS,
            "shown": plane.CLASSES[_CLASS],
            "now": self.clock.now(),
            "life": timedelta(seconds=_TTL),
        }
        if "nonce" not in fields:
            fields["nonce"] = self.verifier.challenge(fields.get("target_id", _TARGET))
        return plane.mint(signer or self.signer, **{**values, **fields})

    def accepted(self) -> plane.Attestation:
        found = self.mint()
        expect((refused := self.verifier.accept(found)) is None, f"the true one is refused: {refused}")
        return found

    def holds(self, attestation: plane.Attestation, target_id: str = _TARGET) -> plane.Failure | None:
        return self.verifier.holds(
            plane.TargetDescriptor(
                target_id=_TARGET, lane_id="process", attestation=attestation, health=plane.Health.READY
            ).model_copy(update={"target_id": target_id})
        )

    def true(self) -> Judged:
        found = self.mint()
        yield "an attestation", self.verifier.accept(found)
        self.clock.advance(_TTL - 0.001)
        yield "an attestation at dispatch, at the last moment", self.holds(found)

    def expired(self) -> Judged:
        late, found = self.mint(), self.accepted()
        self.clock.advance(_TTL)
        yield "an attestation whose time is over", self.verifier.accept(late)
        yield "an attestation whose time is over, at dispatch", self.holds(found)

    def wrong_key(self) -> Judged:
        foreign = self._subject.make(self.clock)[0]
        yield "an attestation of somebody else", self.verifier.accept(self.mint(foreign))
        impostor = self.mint(foreign).model_copy(update={"attested_by": self.signer.key_id})
        yield "an attestation of somebody else under the trusted key's id", self.verifier.accept(impostor)

    def altered(self) -> Judged:
        changes: dict[str, Any] = {
            "target_class": "class-b",
            "properties": (*sorted(plane.CLASSES[_CLASS]), "invented"),
            "attested_at": self.clock.now() - timedelta(seconds=1),
            "expires_at": self.clock.now() + timedelta(seconds=2 * _TTL),
            "signature": "AAAA" + (self.mint().signature or "")[4:],
            "no signature": None,
        }
        for field, value in changes.items():
            change = {field.removeprefix("no "): value}
            yield f"an attestation with another {field}", self.verifier.accept(self.mint().model_copy(update=change))
            changed = self.accepted().model_copy(update=change)
            yield f"an attestation with another {field}, at dispatch", self.holds(changed)

    def retargeted(self) -> Judged:
        yield (
            "the answer to another target's challenge",
            self.verifier.accept(self.mint(nonce=self.verifier.challenge("box-2"))),
        )
        found = self.accepted()
        yield "another target's attestation, at dispatch", self.holds(found, "box-2")
        moved = found.model_copy(update={"target_id": "box-2"})
        yield "an attestation that was moved to another target", self.holds(moved, "box-2")

    def replayed(self) -> Judged:
        yield "an attestation that was accepted", self.verifier.accept(self.accepted())
        yield "an attestation that nobody asked for", self.verifier.accept(self.mint(nonce="0" * 32))
        yield "an attestation without a nonce", self.verifier.accept(self.mint(nonce=None))
        yield "an attestation that was never accepted, at dispatch", self.holds(self.mint())


VerifierBench: TypeAlias = Callable[[], _Authority | _Attestation]
"""A new verifier, for one check."""


async def check_verifier(
    name: str, opened: OpenVerifierSubject, *, clock: Clock | None = None, only: Iterable[str] | None = None
) -> Report:
    """Put a verifier of authority or of attestations through the suite, or through the checks of these ids."""
    async with opened() as subject:
        bench: VerifierBench
        if isinstance(subject, AuthoritySubject):
            bench, suite = partial(_Authority, subject, clock or SystemClock()), AUTHORITY_CHECKS
        else:
            bench, suite = partial(_Attestation, subject, clock or SystemClock()), ATTESTATION_CHECKS
        findings = [await check.run(bench) for check in chosen(suite, only)]
        return Report(kind="verifier", subject=name, findings=tuple(findings))


async def _taken(attempts: str, bench: VerifierBench) -> str:
    judged = list(getattr(bench(), attempts)())
    for what, refused in judged:
        expect(refused is None, f"{what} is refused: {refused}")
    return f"{len(judged)} were accepted"


async def _refused(attempts: str, bench: VerifierBench) -> str:
    codes: set[str] = set()
    number = 0
    for what, refused in getattr(bench(), attempts)():
        expect(refused is not None, f"{what} is taken")
        expect(
            refused.effect == "none", f"{what} is refused as {refused.code}, which does not say that nothing happened"
        )
        codes.add(refused.code)
        number += 1
    return f"{number} were refused: {', '.join(sorted(codes))}"


_BOTH: Final[tuple[Check[VerifierBench], ...]] = (
    Check("accepted", "the true one is accepted, to its last moment", partial(_taken, "true")),
    Check("expired", "what has expired is refused", partial(_refused, "expired")),
    Check("wrong-key", "what another key signed is refused, under whatever name", partial(_refused, "wrong_key")),
    Check("altered", "what was altered in any part is refused", partial(_refused, "altered")),
    Check("re-targeted", "what was given for something else is refused", partial(_refused, "retargeted")),
    Check("replayed", "what was used is refused", partial(_refused, "replayed")),
)

AUTHORITY_CHECKS: Final[tuple[Check[VerifierBench], ...]] = (
    *_BOTH,
    Check("not-used-up", "a decision that was refused can still be used where it fits", partial(_taken, "kept")),
)
"""The suite for verifiers of authority, in order."""

ATTESTATION_CHECKS: Final = _BOTH
"""The suite for verifiers of attestations, in order."""
