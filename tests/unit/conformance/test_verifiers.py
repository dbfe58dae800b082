"""The verifier suite: ours pass, and for each promise there is one that breaks it and fails."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from interlock import conformance, kernel, plane, testing
from interlock.plane.authority import Nonces

pytestmark = pytest.mark.anyio


async def check(subject: conformance.VerifierSubject, *only: str) -> conformance.Report:
    @asynccontextmanager
    async def opened() -> AsyncGenerator[conformance.VerifierSubject]:
        yield subject

    return await conformance.check_verifier("toy", opened, only=only or None)


@pytest.mark.parametrize("name", ["attestation", "authority-mac", "authority-signature"])
async def test_our_verifiers_pass(name: str):
    report = await conformance.check_verifier(name, conformance.VERIFIERS.find(name))
    assert {each.verdict for each in report.findings} == {conformance.Verdict.PASSED}, report
    assert (report.kind, report.record()["passed"]) == ("verifier", True)


# -- broken verifiers of authority

REFUSED = plane.Failure.of(plane.FailureClass.AUTHORITY_DENIED, "no", code="no")
UNCERTAIN = plane.Failure.of(plane.FailureClass.READ_FAILED, "who knows", code="who_knows")


class Toy:
    """Does all that a verifier should. Each subclass leaves one thing out."""

    def __init__(self, issuer: plane.Authorizer, clock: kernel.Clock) -> None:
        self.issuer = issuer
        self.inner = issuer.verifier()
        self.clock = clock

    def spend(self, decision: plane.AuthorityDecision, **asked: str) -> plane.Failure | None:
        return self.inner.spend(decision, **asked)


class RefusesAll(Toy):
    def spend(self, decision: plane.AuthorityDecision, **asked: str) -> plane.Failure | None:
        return REFUSED


class IgnoresTime(Toy):
    def spend(self, decision: plane.AuthorityDecision, **asked: str) -> plane.Failure | None:
        refused = super().spend(decision, **asked)
        return None if refused and refused.code == "authority_expired" else refused


class IgnoresProofs(Toy):
    def __init__(self, issuer: plane.Authorizer, clock: kernel.Clock) -> None:
        super().__init__(issuer, clock)
        self.inner: Any = Nonces(clock, max_open=1000)


class ReadsHalfTheProof(Toy):
    def spend(self, decision: plane.AuthorityDecision, **asked: str) -> plane.Failure | None:
        refused = super().spend(decision, **asked)
        return None if len(decision.proof) == 32 else refused


class AsksNotForWhom(Toy):
    def spend(self, decision: plane.AuthorityDecision, **asked: str) -> plane.Failure | None:
        return super().spend(decision, **asked | {"audience": decision.audience})


class Forgets(Toy):
    def spend(self, decision: plane.AuthorityDecision, **asked: str) -> plane.Failure | None:
        return self.issuer.verifier().spend(decision, **asked)


class UsesUpAtFirstSight(Toy):
    def __init__(self, issuer: plane.Authorizer, clock: kernel.Clock) -> None:
        super().__init__(issuer, clock)
        self.seen: set[str] = set()

    def spend(self, decision: plane.AuthorityDecision, **asked: str) -> plane.Failure | None:
        if decision.nonce in self.seen:
            return REFUSED
        self.seen.add(decision.nonce)
        return super().spend(decision, **asked)


class RefusesInDoubt(Toy):
    def spend(self, decision: plane.AuthorityDecision, **asked: str) -> plane.Failure | None:
        return UNCERTAIN if super().spend(decision, **asked) else None


BROKEN: list[tuple[str, type[Toy], str]] = [
    ("accepted", RefusesAll, "a decision is refused"),
    ("expired", IgnoresTime, "whose time is over is taken"),
    ("wrong-key", IgnoresProofs, "of somebody else is taken"),
    ("altered", IgnoresProofs, "with another intent_digest is taken"),
    ("altered", ReadsHalfTheProof, "half its proof is taken"),
    ("re-targeted", AsksNotForWhom, "for another audience is taken"),
    ("replayed", Forgets, "that was used is taken"),
    ("not-used-up", UsesUpAtFirstSight, "refused elsewhere is refused"),
    ("expired", RefusesInDoubt, "does not say that nothing happened"),
]


def made(kind: type[Toy]) -> Callable[[kernel.Clock], tuple[conformance.AuthorityIssuer, plane.AuthorityVerifier]]:
    def make(clock: kernel.Clock) -> tuple[conformance.AuthorityIssuer, plane.AuthorityVerifier]:
        issuer = plane.Authorizer(clock=clock)
        return issuer, kind(issuer, clock)

    return make


async def test_a_verifier_of_somebody_else_passes():
    report = await check(conformance.AuthoritySubject(made(Toy)))
    assert report.passed, report


@pytest.mark.parametrize(("check_id", "kind", "words"), BROKEN, ids=[each[1].__name__ for each in BROKEN])
async def test_a_broken_verifier_fails_the_check_that_it_breaks(check_id: str, kind: type[Toy], words: str):
    finding = (await check(conformance.AuthoritySubject(made(kind)), check_id)).finding(check_id)
    assert (finding.verdict, words in finding.detail) == (conformance.Verdict.FAILED, True), finding


# -- broken verifiers of attestations


class RefusesEvery(plane.AttestationVerifier):
    def accept(self, attestation: plane.Attestation) -> plane.Failure | None:
        return REFUSED


class Believes(plane.AttestationVerifier):
    def _judge(self, attestation: plane.Attestation) -> plane.Failure | None:
        return None


class StopsItsClock(plane.AttestationVerifier):
    def __init__(self, trusted: dict[str, str], *, clock: kernel.Clock) -> None:
        super().__init__(trusted, clock=testing.ManualClock(clock.now()))


class LooksAtNoTarget(plane.AttestationVerifier):
    def holds(self, target: plane.TargetDescriptor) -> plane.Failure | None:
        return self._judge(target.attestation)


class BelievesAtDispatch(plane.AttestationVerifier):
    def holds(self, target: plane.TargetDescriptor) -> plane.Failure | None:
        return None


class AsksNothing(plane.AttestationVerifier):
    def accept(self, attestation: plane.Attestation) -> plane.Failure | None:
        self._asked[attestation.nonce or ""] = (attestation.target_id or "", self._clock.now().replace(year=2999))
        return super().accept(attestation)


BROKEN_ATTESTATIONS: list[tuple[str, type[plane.AttestationVerifier], str]] = [
    ("accepted", RefusesEvery, "an attestation is refused"),
    ("expired", StopsItsClock, "whose time is over is taken"),
    ("wrong-key", Believes, "of somebody else is taken"),
    ("altered", Believes, "is taken"),
    ("altered", BelievesAtDispatch, "at dispatch is taken"),
    ("re-targeted", LooksAtNoTarget, "another target's attestation"),
    ("replayed", AsksNothing, "that was accepted is taken"),
]


@pytest.mark.parametrize(
    ("check_id", "kind", "words"), BROKEN_ATTESTATIONS, ids=[each[1].__name__ for each in BROKEN_ATTESTATIONS]
)
async def test_a_broken_verifier_of_attestations_fails_the_check_that_it_breaks(
    check_id: str, kind: Callable[..., plane.AttestationVerifier], words: str
):
    async with conformance.VERIFIERS.find("attestation")() as ours:
        assert isinstance(ours, conformance.AttestationSubject)
        make = ours.make

    def made(clock: kernel.Clock) -> tuple[plane.Signer, plane.AttestationVerifier]:
        signer: Any = make(clock)[0]
        return signer, kind({signer.key_id: signer.public}, clock=clock)

    finding = (await check(conformance.AttestationSubject(made), check_id)).finding(check_id)
    assert (finding.verdict, words in finding.detail) == (conformance.Verdict.FAILED, True), finding


def test_there_is_a_broken_verifier_for_every_check():
    assert {each[0] for each in BROKEN} == {check.check_id for check in conformance.AUTHORITY_CHECKS}
    assert {each[0] for each in BROKEN_ATTESTATIONS} == {check.check_id for check in conformance.ATTESTATION_CHECKS}


async def test_a_verifier_of_a_package_is_found_by_its_entry_point():
    entries = [EntryPoint("toy", "fix_conformance:toy_verifier", conformance.VERIFIERS.group)]
    assert "toy" in conformance.VERIFIERS.names(entries=entries)
    report = await conformance.check_verifier("toy", conformance.VERIFIERS.find("toy", entries=entries))
    assert report.passed, report
    with pytest.raises(conformance.UnknownSubject, match="authority-mac"):
        conformance.VERIFIERS.find("toyy", entries=entries)
