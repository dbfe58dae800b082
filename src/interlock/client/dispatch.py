"""Work that a server's workers do."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from interlock import dispatch, runs
from interlock.client.link import Link, part, reading, rows, value
from interlock.kernel import JSON, UnknownOutcome, from_rfc3339

WAIT = 20.0
"""Seconds for which one request waits for the end of a run."""


class Dispatch:
    """As `app.Dispatch`."""

    def __init__(self, link: Link) -> None:
        self._link = link

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
        priority: dispatch.Priority | None = None,
        due_at: datetime | None = None,
        deadline_at: datetime | None = None,
        retry: dispatch.RetryPolicy | None = None,
    ) -> runs.Outcome:
        """As `app.Dispatch.invoke`."""
        asked = {
            "capability": capability,
            "input": input or {},
            "connection": connection,
            "target": [target] if isinstance(target, str) else target,
            "environment": environment,
            "trace_id": trace_id,
            "sandbox": sandbox,
            "allowed_operations": allowed_operations,
            "parent_run_id": parent_run_id,
            "cost": cost or {},
            "extensions": extensions or {},
            "timeout": timeout,
            **_when(priority, due_at, deadline_at, retry),
        }
        return value(runs.Outcome, await self._link.post("/enqueue", asked, key=idempotency_key))

    async def submit(
        self,
        handler: str,
        payload: Mapping[str, JSON] | None = None,
        *,
        connection_id: str | None = None,
        idempotency_key: str | None = None,
        trace_id: str | None = None,
        environment: str | None = None,
        priority: dispatch.Priority | None = None,
        due_at: datetime | None = None,
        deadline_at: datetime | None = None,
        retry: dispatch.RetryPolicy | None = None,
    ) -> runs.Outcome:
        """As `app.Dispatch.submit`."""
        asked = {
            "handler": handler,
            "payload": payload or {},
            "connection_id": connection_id,
            "trace_id": trace_id,
            "environment": environment,
            **_when(priority, due_at, deadline_at, retry),
        }
        return value(runs.Outcome, await self._link.post("/events", asked, key=idempotency_key))

    async def wait(self, run_id: str, *, timeout: float = 60.0) -> runs.Outcome:  # noqa: ASYNC109 - as there
        """As `app.Dispatch.wait`, in several requests."""
        while True:
            asked, timeout = min(timeout, WAIT), timeout - WAIT
            try:
                outcome = value(runs.Outcome, await self._link.get(f"/runs/{part(run_id)}/wait", timeout=asked))
            except runs.GivenUp:
                raise
            except UnknownOutcome:  # recovery may find out yet
                if timeout <= 0:
                    raise
            else:
                if timeout <= 0 or outcome.state not in dispatch.WAITED_FOR:
                    return outcome

    async def list(
        self,
        *,
        standing: dispatch.Standing | None = None,
        handler: str | None = None,
        capability: str | None = None,
        connection_id: str | None = None,
        why: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Sequence[dispatch.Waiting]:
        """As `app.Dispatch.list`."""
        told = await self._link.get(
            "/dispatch",
            standing=standing,
            handler=handler,
            capability=capability,
            connection_id=connection_id,
            why=why,
            since=since,
            until=until,
            cursor=cursor,
            limit=limit,
        )
        return [_waiting(each) for each in rows(told, "dispatch")]

    async def fetch(self, run_id: str) -> dispatch.Waiting:
        """As `app.Dispatch.fetch`."""
        return _waiting(await self._link.get(f"/dispatch/{part(run_id)}"))

    async def stats(self) -> dispatch.Stats:
        """As `app.Dispatch.stats`."""
        return value(dispatch.Stats, await self._link.get("/dispatch/stats"))

    async def replay(self, run_id: str, *, note: str = "") -> runs.Run:
        """As `app.Dispatch.replay`."""
        return value(runs.Run, await self._link.post(f"/dispatch/{part(run_id)}/replay", {"note": note}))

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
    ) -> Sequence[str]:
        """As `app.Dispatch.replay_all`."""
        asked = _fitting(handler, capability, connection_id, why, since, until, limit)
        return cast("list[str]", rows(await self._link.post("/dispatch/replay", {**asked, "note": note}), "runs"))

    async def dismiss(self, run_id: str, *, reason: str) -> runs.Run:
        """As `app.Dispatch.dismiss`."""
        return value(runs.Run, await self._link.post(f"/dispatch/{part(run_id)}/dismiss", {"reason": reason}))

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
    ) -> Sequence[str]:
        """As `app.Dispatch.dismiss_all`."""
        asked = _fitting(handler, capability, connection_id, why, since, until, limit)
        return cast("list[str]", rows(await self._link.post("/dispatch/dismiss", {**asked, "reason": reason}), "runs"))

    async def compare(self, run_id: str, *, first: int = 1, last: int | None = None) -> dispatch.Comparison:
        """As `app.Dispatch.compare`."""
        return value(dispatch.Comparison, await self._link.get(f"/runs/{part(run_id)}/compare", first=first, last=last))

    async def pause(self, scope: dispatch.Scope | str, subject: str = "", *, reason: str = "") -> dispatch.Pause:
        """As `app.Dispatch.pause`."""
        asked = {"scope": scope, "subject": subject, "reason": reason}
        return value(dispatch.Pause, await self._link.post("/pauses", asked))

    async def resume(self, scope: dispatch.Scope | str, subject: str = "") -> int:
        """As `app.Dispatch.resume`."""
        told = await self._link.post("/pauses/resume", {"scope": scope, "subject": subject})
        return int(cast("dict[str, int]", told)["handed_out"])

    async def pauses(self) -> Sequence[dispatch.Pause]:
        """As `app.Dispatch.pauses`."""
        return [value(dispatch.Pause, each) for each in rows(await self._link.get("/pauses"), "pauses")]


def _when(
    priority: dispatch.Priority | None,
    due_at: datetime | None,
    deadline_at: datetime | None,
    retry: dispatch.RetryPolicy | None,
) -> dict[str, object]:
    return {
        "priority": None if priority is None else priority.name.lower(),
        "due_at": due_at,
        "deadline_at": deadline_at,
        "retry": None if retry is None else retry.to_json(),
    }


def _fitting(
    handler: str | None,
    capability: str | None,
    connection_id: str | None,
    why: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
) -> dict[str, object]:
    named = {"handler": handler, "capability": capability, "connection_id": connection_id, "why": why}
    return {**named, "since": since, "until": until, "limit": limit}


def _waiting(told: JSON) -> dispatch.Waiting:
    """Without what only the queue needs: rank, number and tenant. Raises NotInterlock."""
    with reading("work"):
        facts = cast("dict[str, Any]", told)
        over = facts["deadline_at"]
        due = dispatch.Due(
            run_id=facts["run_id"],
            tenant_id="",
            lane=facts["lane"],
            capability=facts["capability"],
            connection_id=facts["connection_id"],
            rank=0,
            priority=dispatch.Priority[facts["priority"].upper()],
            due_at=from_rfc3339(facts["due_at"]),
            number=0,
            tries=facts["tries"],
            crashes=facts["crashes"],
            retry=dispatch.RetryPolicy(**facts["retry"]),
            standing=dispatch.Standing(facts["standing"]),
            why=facts["why"],
            deadline_at=None if over is None else from_rfc3339(over),
            submitted_at=from_rfc3339(facts["submitted_at"]),
        )
        state = runs.State(facts["state"])
        told_by = {"error": facts["error"], "attempt_count": facts["attempts"]}
        return dispatch.Waiting(due=due, state=state, served=True, **told_by)  # `why` is told as it is
