"""A call built again from the ledger, for a run that goes on later or in another process."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import cast

from interlock import catalog
from interlock.kernel import JSON, Caller, read_json
from interlock.runs import entries
from interlock.runs.entries import Entry
from interlock.runs.errors import ManifestChanged
from interlock.runs.journal import Move
from interlock.runs.model import Decision, Run
from interlock.runs.request import Request


def asked_by(run: Run, facts_json: str) -> Caller:
    """Who asked for it, with the roles that they had then: the facts are those that policy judged."""
    return _caller(run, cast("Mapping[str, JSON]", read_json(facts_json.encode())))


def asked(run: Run, decision: Decision) -> tuple[Caller, Request]:
    """Who asked for what. The narrowing that came with the request stands in the facts that policy judged."""
    facts = cast("Mapping[str, JSON]", read_json(decision.facts_json.encode()))
    stored = cast("Mapping[str, JSON]", facts["request"])
    allowed = cast("Sequence[str] | None", facts.get("allowed_operations"))
    caller = _caller(run, facts)
    request = Request(
        capability=run.capability,
        input=cast("Mapping[str, JSON]", read_json(run.input_json.encode())),
        connection=run.connection_id,
        environment=run.environment,
        trace_id=run.trace_id,
        targets=run.targets,
        sandbox=cast("str | None", facts.get("sandbox")),
        allowed_operations=None if allowed is None else frozenset(allowed),
        idempotency_key=run.idempotency_key,
        origin=run.origin,
        kind=run.kind,
        parent_run_id=run.parent_run_id,
        cost=cast("Mapping[str, int]", stored["cost"]),
        max_attempts=cast("int", stored["max_attempts"]),
        timeout=timedelta(milliseconds=cast("int", stored["timeout_ms"])),
        traceparent=run.traceparent,
    )
    return caller, request


def kept(request: Request) -> dict[str, JSON]:
    """What else of a request has to outlast a hold or a crash; it stands beside the facts, for `asked`."""
    return {
        "cost": dict(request.cost),
        "max_attempts": request.max_attempts,
        "timeout_ms": request.timeout // timedelta(milliseconds=1),
    }


def moved_on(run: Run, capability: catalog.Capability) -> tuple[list[Entry], Move]:
    """What goes on record when the run goes on under another version of its connector: events, and the change itself."""
    if run.manifest_digest == capability.manifest_digest:
        return [], Move()
    now = replace(run, manifest_digest=capability.manifest_digest, connector_version=capability.connector_version)
    move = Move(manifest_digest=now.manifest_digest, connector_version=now.connector_version)
    return [entries.manifest_changed(now)], move


def same_contract(run: Run, decision: Decision, capability: catalog.Capability) -> None:
    """Raises ManifestChanged unless the operation still has the schemas, effect, scopes and program that were admitted."""
    facts = cast("Mapping[str, JSON]", read_json(decision.facts_json.encode()))
    if run.manifest_digest != capability.manifest_digest and facts.get("contract_digest") != capability.contract_digest:
        raise ManifestChanged(
            f"{run.capability} was admitted under version {run.connector_version} of its connector; version "
            f"{capability.connector_version} has other schemas or scopes, another effect or another program",
            run_id=run.run_id,
        )


def _caller(run: Run, facts: Mapping[str, JSON]) -> Caller:
    roles = frozenset(cast("Sequence[str]", facts.get("roles") or ()))
    return Caller(tenant_id=run.tenant_id, actor=run.actor, roles=roles)
