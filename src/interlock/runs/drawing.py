"""Rows drawn from a call. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from interlock import catalog, policy
from interlock.kernel import JSON, Caller, IdSource, canonical
from interlock.runs import chain, entries, rebuilding, signing
from interlock.runs.call import Call
from interlock.runs.entries import Entry
from interlock.runs.journal import sealed
from interlock.runs.ledger import Admission
from interlock.runs.model import Decision, Run, State
from interlock.runs.request import Request

EXTENDED = "run.extended"
"""The event that records what a request carried beside what Interlock knows."""

KEY_LIFE = timedelta(days=30)
"""How long an idempotency key answers with its run."""

NEVER = datetime.max.replace(tzinfo=UTC)
"""When the key of a script's action, or of a handler's step, ends as long as that may be run again: however long it waits."""


def new_run(call: Call, run_id: str, at: datetime) -> Run:
    """The run of a call as it is accepted, before its first event."""
    return accepted(
        call.caller,
        call.request,
        run_id=run_id,
        connection_id=call.connection_id,
        input_json=call.input_json,
        input_digest=call.input_digest,
        at=at,
        deadline_at=at + call.request.timeout,
        capability=call.capability,
    )


def accepted(
    caller: Caller,
    request: Request,
    *,
    run_id: str,
    connection_id: str | None,
    input_json: str,
    input_digest: str,
    at: datetime,
    deadline_at: datetime | None,
    capability: catalog.Capability | None = None,
) -> Run:
    """A run as it is accepted. Without a `capability`, which pins a connector's version, it is of what the request names."""
    return Run(
        run_id=run_id,
        tenant_id=caller.tenant_id,
        kind=request.kind,
        origin=request.origin,
        parent_run_id=request.parent_run_id,
        capability=request.capability if capability is None else capability.capability_id,
        connector_id=None if capability is None else capability.connector_id,
        connector_version=None if capability is None else capability.connector_version,
        manifest_digest=None if capability is None else capability.manifest_digest,
        connection_id=connection_id,
        actor=caller.actor,
        environment=request.environment,
        trace_id=request.trace_id or run_id,
        targets=request.targets,
        idempotency_key=request.idempotency_key,
        input_json=input_json,
        input_digest=input_digest,
        state=State.ACCEPTED,
        reason=None,
        fence=1,
        head_seq=0,
        head_hash=chain.genesis(run_id),
        attempt_count=0,
        approval_id=None,
        error=None,
        signature=None,
        signing_key_id=None,
        created_at=at,
        updated_at=at,
        finished_at=None,
        deadline_at=deadline_at,
        traceparent=request.traceparent,
    )


def decision(
    call: Call,
    run_id: str,
    number: int,
    verdict: policy.Decision,
    judged: policy.Facts,
    *,
    ids: IdSource,
    at: datetime,
) -> Decision:
    """What policy said of these facts, as a row."""
    facts = {
        **judged.to_json(),
        "contract_digest": call.capability.contract_digest,
        "request": rebuilding.kept(call.request),
    }
    return Decision(
        decision_id=ids.new("dec"),
        run_id=run_id,
        tenant_id=call.caller.tenant_id,
        number=number,
        effect=verdict.effect.value,
        reasons=verdict.reasons_json(),
        facts_json=canonical(facts).decode(),
        policy_digest=verdict.policy_digest,
        at=at,
    )


def admission(
    call: Call, run: Run, told: Sequence[Entry], decided: Decision, *, signer: signing.Signer, ids: IdSource
) -> Admission:
    """The admission of a call's run. The caller adds further rows."""
    extensions = call.redactor.json(dict(call.request.extensions))
    extended: list[Entry] = [(EXTENDED, {"extensions": extensions})] if extensions else []
    return admitted(run, told, decided, extended=extended, signer=signer, ids=ids)


def admitted(
    run: Run,
    told: Sequence[Entry],
    decided: Decision,
    *,
    extended: Sequence[Entry] = (),
    signer: signing.Signer,
    ids: IdSource,
) -> Admission:
    """The admission of a run with its first events: accepted, decided, then `told`."""
    # Shed means "later": the same key must then be free to try again. A denial sticks.
    keyed = run.idempotency_key is not None and run.state is not State.SHED
    first = [entries.run_accepted(run), *extended, entries.policy_decided(decided), *told]
    extension = chain.append(run, first, ids=ids, at=run.created_at)
    return Admission(
        run=sealed(run, extension, signer),
        events=extension.events,
        decisions=(decided,),
        key_expires_at=_key_end(run) if keyed else None,
    )


def _key_end(run: Run) -> datetime:
    of_parent = run.parent_run_id is not None and (run.idempotency_key or "").startswith(f"{run.parent_run_id}:")
    return NEVER if of_parent else run.created_at + KEY_LIFE


def leading(verdict: policy.Decision, effect: policy.Effect) -> str | None:
    """The rule that a verdict's effect goes back to first."""
    return next((reason.rule_id for reason in verdict.reasons if reason.effect is effect), None)


def summary(call: Call, verdict: policy.Decision) -> dict[str, JSON]:
    """What a reviewer is shown: who wants what done to what, with which input, and why they are asked."""
    return {
        "capability": call.capability.capability_id,
        "display_name": call.operation.display_name,
        "effect": call.operation.effect.value,
        "actor": call.caller.actor,
        "connection_id": call.connection_id,
        "account": call.subject,
        "service": call.base_url,
        "environment": call.request.environment,
        "input": dict(call.value),
        "reasons": [reason.text for reason in verdict.reasons if reason.effect is policy.Effect.ASK],
    }
