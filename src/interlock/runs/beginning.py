"""The rows of an attempt's beginning, drawn up to be committed before anything is sent."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeAlias

from interlock import connections, sdk
from interlock.runs import entries, rebuilding
from interlock.runs.call import Call
from interlock.runs.entries import Entry
from interlock.runs.journal import Journal, Records
from interlock.runs.model import Attempt, AttemptState, Send, State
from interlock.runs.sending import Prepared, correlated, prepare, ready, request_draft
from interlock.runs.wiring import Wiring

Opening: TypeAlias = tuple[sdk.Program, sdk.HttpRequest]
"""A program that waits for the answer to its first request, and that request."""

LEASE_MARGIN = timedelta(seconds=60)
"""A lease that ends sooner than this after an attempt could is replaced for the next attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """An attempt about to be made."""

    attempt: Attempt
    lease: connections.Lease | None
    new_lease: bool
    prepared: Prepared | None
    opening: Opening | None
    """The program of an operation that is data, whose first request is `prepared`."""
    deadline_at: datetime

    def entries(self, call: Call) -> list[Entry]:
        """The events of the beginning."""
        started = entries.attempt_started(self.attempt, lease=self.lease, subject=call.subject)
        return [started] if self.prepared is None else [started, entries.send_intended(self.prepared.send)]

    def records(self) -> Records:
        """The rows of the beginning."""
        return Records(
            attempt=self.attempt,
            send=None if self.prepared is None else self.prepared.send,
            lease=self.lease if self.new_lease else None,
        )


async def begin(
    wiring: Wiring,
    call: Call,
    *,
    run_id: str,
    number: int,
    fence: int,
    at: datetime,
    facts: sdk.Facts,
    lease: connections.Lease | None = None,
    deadline_at: datetime | None = None,
    send_first: bool = True,
) -> Begun:
    """Draw up the next attempt. For an operation that is data, its first send is drawn up too, so that one commit takes
    both. Raises what the lease or the request cannot be made for."""
    await wiring.ownership.begin()
    deadline_at = deadline_at or at + call.request.timeout
    kept = _lease(wiring, call, lease, run_id, at)
    attempt = Attempt(
        attempt_id=wiring.ids.new("att"),
        run_id=run_id,
        tenant_id=call.caller.tenant_id,
        number=number,
        state=AttemptState.RUNNING,
        owner_id=wiring.ownership.owner_id,
        fence=fence,
        lease_id=None if kept is None else kept.lease_id,
        started_at=at,
        finished_at=None,
        error=None,
    )
    prepared, opening = None, _open(call, facts) if send_first else None
    if opening is not None:
        prepared = await _first(wiring, call, attempt, kept, opening[1], deadline_at)
    return Begun(
        attempt=attempt,
        lease=kept,
        new_lease=kept is not lease,
        prepared=prepared,
        opening=opening,
        deadline_at=deadline_at,
    )


async def begin_again(
    wiring: Wiring,
    call: Call,
    journal: Journal,
    sends: Sequence[Send],
    *,
    told: Sequence[Entry],
    records: Records,
    at: datetime,
    send_first: bool,
) -> tuple[Begun, sdk.Facts]:
    """Commit the next attempt at a run that has had others, with what is `told` before it and its `records`, under a fence of its
    own and the connector's present version. Raises as `begin`, StaleRun, StoreError."""
    run = journal.run
    facts = call.facts(
        started_at=min((send.started_at for send in sends), default=run.created_at), idempotency_key=run.run_id
    )
    number, fence = run.attempt_count + 1, run.fence + 1
    begun = await begin(
        wiring, call, run_id=run.run_id, number=number, fence=fence, at=at, facts=facts, send_first=send_first
    )
    changed, move = rebuilding.moved_on(run, call.capability)
    drawn = begun.records()
    await journal.write(
        [*told, *changed, *begun.entries(call)],
        at=at,
        move=replace(move, state=State.RUNNING, fence=fence),
        records=replace(records, attempt=drawn.attempt, send=drawn.send, lease=drawn.lease),
    )
    return begun, facts


def _lease(
    wiring: Wiring, call: Call, lease: connections.Lease | None, run_id: str, at: datetime
) -> connections.Lease | None:
    """The lease for the attempt: the one that is there while it lasts long enough."""
    lasting = at + timedelta(seconds=call.operation.timeout_seconds) + LEASE_MARGIN
    if call.resolved is None or (lease is not None and lease.expires_at >= lasting):
        return lease
    facts = {"interlock.connection.id": call.connection_id}
    with wiring.tracing.span("lease", facts=facts) as span:
        made = wiring.connections.lease(
            call.resolved, scopes=frozenset(call.operation.scopes), hosts=frozenset({call.host}), run_id=run_id
        )
        span.note({"interlock.lease.id": made.lease_id})
        return made


def _open(call: Call, facts: sdk.Facts) -> Opening | None:
    if call.operation.http is None:
        return None
    program = sdk.program(call.operation, call.value, facts)
    return program, next(program)


async def _first(
    wiring: Wiring,
    call: Call,
    attempt: Attempt,
    lease: connections.Lease | None,
    request: sdk.HttpRequest,
    deadline_at: datetime,
) -> Prepared:
    """The first send of an operation that is data."""
    await ready(wiring, call.request.targets[0])
    if call.revalidation is not None:
        request = await call.revalidation.condition(request)
    return prepare(
        wiring,
        call,
        attempt,
        request_draft(call, lease, correlated(wiring, call, request)),
        number=1,
        target_class=call.request.targets[0],
        deadline_at=deadline_at,
        at=attempt.started_at,
    )
