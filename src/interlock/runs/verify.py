"""Checks a review packet offline: every byte, every event, every record, every signature; and names what is wrong.

A packet never vouches for its own key. Without keys that the reader trusts, the best answer is that it is intact and
that its signer is unknown.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain as concat
from typing import Any, NamedTuple

from interlock.kernel import canonical, digest
from interlock.runs import chain, packet, signing, transitions
from interlock.runs.envelope import unpack
from interlock.runs.records import Finding, as_list, as_object, contradictions, wrong_contents
from interlock.runs.replay import replay
from interlock.runs.verdict import Problem, Status, Verdict

_FINAL = frozenset(state.value for state in transitions.FINAL)


def verify(data: bytes, *, trust: signing.Trust | None = None) -> Verdict:
    """Check a packet. Pure and offline; never raises for what the bytes are.

    With `trust`, only its keys count; without, a packet that is whole is `intact_signer_unknown`.
    """
    opened = unpack(data)
    if isinstance(opened, Verdict):
        return opened
    events, records, seal = opened.events, opened.records, opened.seal
    run, head = as_object(records.get("run")), as_object(records.get("head"))
    problems = chain.check(
        events,
        opened.bodies,
        opened.hashes,
        run_id=_agreed_run_id(run, events),
        head_seq=head.get("head_seq"),
        head_hash=head.get("head_hash"),
    )
    findings = list(concat(wrong_contents(records), () if problems else _against_events(events, records)))
    problems += [problem for _, problem in findings]
    sealing, ending = _sealing(seal, records, trust), _ending(run, head, records, trust)
    problems += sealing.problems or _unsealed(seal, records, named={part for part, _ in findings})
    problems += ending.problems
    wrong = [*sealing.strangers, *ending.strangers]
    return Verdict(
        status=_status(problems, wrong, trust),
        problems=tuple(problems or wrong),
        run_id=_text(run.get("run_id")),
        tenant_id=_text(run.get("tenant_id")),
        state=_text(run.get("state")),
        ended=_has_ended(run),
        events=len(events),
        exported_at=_text(seal.get("exported_at")),
        signers=tuple(dict.fromkeys(str(key_id) for key_id in (seal.get("key_id"), head.get("key_id")) if key_id)),
    )


class _Signature(NamedTuple):
    """What is wrong with a signature, and, if nothing is, why its maker is not one that the reader trusts."""

    problems: list[Problem]
    strangers: list[Problem]


def _status(problems: Collection[Problem], strangers: Collection[Problem], trust: signing.Trust | None) -> Status:
    if problems:
        return Status.ALTERED
    if strangers:
        return Status.WRONG_SIGNER
    return Status.INTACT_SIGNER_UNKNOWN if trust is None else Status.VERIFIED


def _agreed_run_id(run: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> str:
    """The run that two of three witnesses name, so that a changed one is found out and not believed."""
    witnesses = [str(witness.get("run_id")) for witness in (run, *events[:1], *events[-1:])]
    return max(witnesses, key=witnesses.count)


def _against_events(events: Sequence[Mapping[str, Any]], records: Mapping[str, Any]) -> Iterator[Finding]:
    try:
        told = replay(events)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        yield (
            "events",
            Problem("events", f"an event lacks what its type must say: {type(error).__name__} {error}"[:200]),
        )
        return
    yield from contradictions(records, told)


def _sealing(seal: Mapping[str, Any], records: Mapping[str, Any], trust: signing.Trust | None) -> _Signature:
    statement = canonical({name: value for name, value in seal.items() if name != "signature"})
    checked = _check("seal", statement, seal, records, trust)
    named = as_object(seal.get("digests")).get("keys")
    if checked.problems and named is not None and digest(records.get("keys")) != named:
        return _Signature([Problem("keys", "they were changed: the seal names others")], [])
    run = as_object(records.get("run"))
    names = ("run_id", "tenant_id")
    if not checked.problems and (
        seal.get("contract") != packet.SEAL_CONTRACT or any(seal.get(name) != run.get(name) for name in names)
    ):
        return _Signature([Problem("seal", "it is the seal of something else")], [])
    return checked


def _unsealed(seal: Mapping[str, Any], records: Mapping[str, Any], *, named: Collection[str]) -> list[Problem]:
    """Records that are not as they were when they were sealed, and are not named already."""
    digests = as_object(seal.get("digests"))
    problems: list[Problem] = []
    for part in sorted(records.keys() | digests.keys()):
        if part not in records:
            problems.append(Problem(part[:60], "it is missing: the seal names it"))
        elif part not in digests:
            problems.append(Problem(part[:60], "it was added: the seal does not name it"))
        elif part not in named and digest(records[part]) != digests[part]:
            problems.append(Problem(part, "it was changed after the packet was sealed"))
    return problems


def _ending(
    run: Mapping[str, Any], head: Mapping[str, Any], records: Mapping[str, Any], trust: signing.Trust | None
) -> _Signature:
    """The signature that is made when a run ends, and only then."""
    ended, signed = _has_ended(run), head.get("signature") is not None
    if not signed:
        missing = [Problem("head", "the run has ended, and its head is not signed")]
        return _Signature(missing if ended else [], [])
    if not ended:
        return _Signature([Problem("head", "it is signed, and the run has not ended")], [])
    statement = signing.head_statement(
        tenant_id=run.get("tenant_id"),
        run_id=run.get("run_id"),
        head_seq=head.get("head_seq"),
        head_hash=head.get("head_hash"),
        state=run.get("state"),
    )
    return _check("head", statement, head, records, trust)


def _check(
    where: str, statement: bytes, signed: Mapping[str, Any], records: Mapping[str, Any], trust: signing.Trust | None
) -> _Signature:
    key_id, signature = str(signed.get("key_id")), str(signed.get("signature"))
    own = {str(key.get("key_id")): key.get("public_key") for key in map(as_object, as_list(records.get("keys")))}
    public_key = own.get(key_id)
    if not isinstance(public_key, str):
        return _Signature([Problem(where, f"the packet has no key {key_id[:60]}, which is said to have signed it")], [])
    if not signing.is_signed(statement, signature, public_key):
        return _Signature([Problem(where, f"its signature by {key_id[:60]} does not fit: it was changed")], [])
    if trust is None or trust.keys.get(key_id) == public_key:
        return _Signature([], [])
    known = (
        "has another public key than the one you trust" if key_id in trust.keys else "is not among the keys you trust"
    )
    return _Signature([], [Problem(where, f"it was signed by {key_id[:60]}, which {known}")])


def _has_ended(run: Mapping[str, Any]) -> bool:
    return _text(run.get("state")) in _FINAL


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
