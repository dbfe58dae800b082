"""Work that is done later, as one caller sees it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from interlock.app.arguments import checked
from interlock.app.asking import make_request
from interlock.kernel import JSON, Caller, RequestError

if TYPE_CHECKING:  # and late in the functions: a command that only looks capabilities up needs none of them
    from interlock import dispatch, runs
    from interlock.app.assembly import Parts

WAIT = 60.0
"""Seconds that `wait` waits, unless told otherwise."""


class Dispatch:
    """`il.dispatch`: work that workers do, here or elsewhere."""

    def __init__(self, parts: "Parts", caller: Caller) -> None:
        self._parts = parts
        self._caller = caller

    @checked
    async def submit(
        self,
        handler: str,
        payload: Mapping[str, JSON] | None = None,
        *,
        connection_id: str | None = None,
        idempotency_key: str | None = None,
        trace_id: str | None = None,
        environment: str | None = None,
        priority: "dispatch.Priority | None" = None,
        due_at: datetime | None = None,
        deadline_at: datetime | None = None,
        retry: "dispatch.RetryPolicy | None" = None,
    ) -> "runs.Outcome":
        """Have a registered handler called with the payload, by a worker, now or at `due_at`. It returns once that is
        committed; `wait` tells what came of it. Raises RequestError, InvalidJson, IdempotencyConflict."""
        from interlock import dispatch

        work = dispatch.Work(
            handler=handler,
            payload={} if payload is None else payload,
            connection_id=connection_id,
            idempotency_key=idempotency_key,
            trace_id=trace_id,
            environment=environment,
            priority=dispatch.Priority.NORMAL if priority is None else priority,
            due_at=due_at,
            deadline_at=deadline_at,
            retry=retry or dispatch.RetryPolicy(),
        )
        return await self._parts.workshop.intake.submit(self._caller, work)

    @checked
    async def invoke(
        self,
        capability: str,
        input: Mapping[str, JSON] | None = None,  # noqa: A002 - the domain's word
        *,
        connection: str | None = None,
        idempotency_key: str | None = None,
        target: str | Sequence[str] | None = None,
        environment: str | None = None,
        trace_id: str | None = None,
        sandbox: str | None = None,
        allowed_operations: Sequence[str] | None = None,
        parent_run_id: str | None = None,
        cost: Mapping[str, int] | None = None,
        extensions: Mapping[str, JSON] | None = None,
        timeout: float = 120.0,  # noqa: ASYNC109 - it becomes the run's recorded deadline
        priority: "dispatch.Priority | None" = None,
        due_at: datetime | None = None,
        deadline_at: datetime | None = None,
        retry: "dispatch.RetryPolicy | None" = None,
    ) -> "runs.Outcome":
        """As `Interlock.invoke`, by a worker, now or at `due_at`, and not begun any more from `deadline_at` on; `timeout` is for
        each attempt. It returns once that is committed: queued, or held, and then queued once it is approved. `wait` tells what
        came of it. Denied and shed come back as values. Raises RequestError, and as `Interlock.invoke` before anything is
        written."""
        from interlock import dispatch

        request = make_request(
            self._parts,
            capability,
            input,
            connection=connection,
            idempotency_key=idempotency_key,
            target=target,
            environment=environment,
            trace_id=trace_id,
            sandbox=sandbox,
            allowed_operations=allowed_operations,
            parent_run_id=parent_run_id,
            cost=cost,
            extensions=extensions,
            timeout=timeout,
        )
        return await self._parts.workshop.intake.submit_call(
            self._caller,
            request,
            priority=dispatch.Priority.NORMAL if priority is None else priority,
            due_at=due_at,
            deadline_at=deadline_at,
            retry=retry,
        )

    @checked
    async def wait(self, run_id: str, *, timeout: float = WAIT) -> "runs.Outcome":  # noqa: ASYNC109
        """What came of a run, once it has ended; after `timeout` seconds, how it stands. Raises RunNotFound, and what the run
        failed with."""
        return await self._parts.workshop.intake.wait(self._caller, run_id, timeout=timeout)

    @checked
    async def list(
        self,
        *,
        standing: "dispatch.Standing | None" = None,
        handler: str | None = None,
        capability: str | None = None,
        connection_id: str | None = None,
        why: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> "Sequence[dispatch.Waiting]":
        """Work of this tenant that is due, in that order; or, of another standing, newest first. Go on with `cursor` = the last
        one's. It was submitted at `since` or later, and before `until`."""
        return await self._parts.workshop.letters.list(
            self._query(standing, handler, capability, connection_id, why, since, until, cursor=cursor, limit=limit)
        )

    @checked
    async def fetch(self, run_id: str) -> "dispatch.Waiting":
        """The work of one run. Raises RunNotFound, also if workers have nothing to do with it any more."""
        return await self._parts.workshop.letters.fetch(self._caller, run_id)

    @checked
    async def stats(self) -> "dispatch.Stats":
        """How much there is to do for this tenant, by lane, and why what waits waits."""
        return await self._parts.workshop.letters.stats(self._caller)

    @checked
    async def replay(self, run_id: str, *, note: str = "") -> "runs.Run":
        """Have a dead letter tried again: the same run, the next attempt. Raises RunNotFound, NoDeadLetter, HappenedAlready."""
        return await self._parts.workshop.letters.replay(self._caller, run_id, note=note)

    @checked
    async def replay_all(
        self,
        *,
        handler: str | None = None,
        capability: str | None = None,
        connection_id: str | None = None,
        why: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        note: str = "",
        limit: int = 1000,
    ) -> "Sequence[str]":
        """Replay the dead letters that fit, at most `limit`; which runs those were."""
        query = self._query(_dead(), handler, capability, connection_id, why, since, until)
        return await self._parts.workshop.letters.replay_all(self._caller, query, note=note, most=limit)

    @checked
    async def dismiss(self, run_id: str, *, reason: str) -> "runs.Run":
        """End a dead letter for good. Raises RunNotFound, NoDeadLetter, RequestError without a reason."""
        return await self._parts.workshop.letters.dismiss(self._caller, run_id, reason=reason)

    @checked
    async def dismiss_all(
        self,
        *,
        reason: str,
        handler: str | None = None,
        capability: str | None = None,
        connection_id: str | None = None,
        why: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 1000,
    ) -> "Sequence[str]":
        """As `replay_all`, for dismissing."""
        query = self._query(_dead(), handler, capability, connection_id, why, since, until)
        return await self._parts.workshop.letters.dismiss_all(self._caller, query, reason=reason, most=limit)

    @checked
    async def compare(self, run_id: str, *, first: int = 1, last: int | None = None) -> "dispatch.Comparison":
        """What was different between two attempts of a run, the last one if none is named. Raises RunNotFound, NoSuchAttempt."""
        from interlock import dispatch, runs

        history = await self._parts.reading.fetch_history(self._caller, run_id)
        query = runs.RunFilter(tenant_id=self._caller.tenant_id, parent_run_id=run_id, limit=1000)
        children = await self._parts.reading.list_runs(query)
        return dispatch.compare(history, children, first=first, last=last)

    @checked
    async def pause(self, scope: "dispatch.Scope | str", subject: str = "", *, reason: str = "") -> "dispatch.Pause":
        """Begin no more work of a `capability`, a `handler` or a `connection` (by its id), or of this `tenant`, until somebody
        resumes it. Raises RequestError."""
        return await self._parts.workshop.pausing.pause(self._caller, _scope(scope), subject, reason=reason)

    @checked
    async def resume(self, scope: "dispatch.Scope | str", subject: str = "") -> int:
        """End a pause; how much work is handed out that waited for that. Raises RequestError."""
        return await self._parts.workshop.pausing.resume(self._caller, _scope(scope), subject)

    @checked
    async def pauses(self) -> "Sequence[dispatch.Pause]":
        """The pauses of this tenant."""
        return await self._parts.workshop.pausing.list(self._caller)

    def _query(
        self,
        standing: "dispatch.Standing | None",
        handler: str | None,
        capability: str | None,
        connection_id: str | None,
        why: str | None,
        since: datetime | None,
        until: datetime | None,
        *,
        cursor: str | None = None,
        limit: int = 1000,
    ) -> "dispatch.DueFilter":
        from interlock import dispatch

        return dispatch.DueFilter(
            tenant_id=self._caller.tenant_id,
            standing=standing or dispatch.Standing.DUE,
            lane=None if handler is None else dispatch.lane_of(handler),
            capability=capability,
            connection_id=connection_id,
            why=why,
            since=since,
            until=until,
            cursor=cursor,
            limit=limit,
        )


def _dead() -> "dispatch.Standing":
    from interlock import dispatch

    return dispatch.Standing.DEAD


def _scope(scope: "dispatch.Scope | str") -> "dispatch.Scope":
    from interlock import dispatch

    known = [each.value for each in dispatch.Scope]
    if scope not in known:
        raise RequestError(f"scope must be one of {', '.join(known)}, not {str(scope)[:60]!r}")
    return dispatch.Scope(scope)
