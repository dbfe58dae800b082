"""Runs and approvals as one caller sees them."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from interlock.app.arguments import checked
from interlock.kernel import JSON, Caller, RequestError, Retry

if TYPE_CHECKING:  # and late in the functions: a command that only looks capabilities up needs none of them
    from interlock import approvals, runs
    from interlock.app.assembly import Parts


class UnknownTarget(RequestError):
    """No target of this class is there; `details.known` has those that are."""

    code = "unknown_target"
    next_step = "Name a class that the message lists, or none: then the effect is carried out from here."

    def __init__(self, target: str, known: Collection[str]) -> None:
        shown, names = target[:60], sorted(known)
        near = difflib.get_close_matches(shown, names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        super().__init__(
            f"there is no target class {shown!r}; {hint}there are: {', '.join(names)}",
            details={"target": shown, "known": names},
        )


class Closed(RequestError):
    """What was opened has been closed."""

    code = "closed"
    retry = Retry.NEVER
    next_step = "Use it inside its `with` block, or open it again."


class Runs:
    """`il.runs`: what happened, and what a person can do about it."""

    def __init__(self, parts: "Parts", caller: Caller) -> None:
        self._parts = parts
        self._caller = caller

    @checked
    async def fetch(self, run_id: str) -> "runs.Run":
        """One run. Raises RunNotFound."""
        return await self._parts.reading.fetch(self._caller, run_id)

    @checked
    async def list(
        self,
        *,
        states: "Sequence[runs.State]" = (),
        capability: str | None = None,
        connection_id: str | None = None,
        actor: str | None = None,
        trace_id: str | None = None,
        parent_run_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> "Sequence[runs.Listed]":
        """Runs of this tenant, newest first, without their inputs; go on with `cursor` = the last run id. They were asked for
        at `since` or later, and before `until`."""
        from interlock import runs

        query = runs.RunFilter(
            tenant_id=self._caller.tenant_id,
            states=tuple(states),
            capability=capability,
            connection_id=connection_id,
            actor=actor,
            trace_id=trace_id,
            parent_run_id=parent_run_id,
            since=since,
            until=until,
            cursor=cursor,
            limit=limit,
            seen_by=self._caller if self._caller.is_limited else None,
        )
        return await self._parts.reading.list_runs(query)

    @checked
    async def history(self, run_id: str) -> "runs.History":
        """One run with attempts, sends, decisions, artifacts and approvals. Raises RunNotFound."""
        return await self._parts.reading.fetch_history(self._caller, run_id)

    @checked
    async def events(self, run_id: str, *, after_seq: int = 0, limit: int = 1000) -> "Sequence[runs.Event]":
        """A run's events in order. Raises RunNotFound."""
        return await self._parts.reading.list_events(self._caller, run_id, after_seq=after_seq, limit=limit)

    @checked
    async def outcome(self, run_id: str) -> "runs.Outcome":
        """How a run stands, as `invoke` would have told. Raises RunNotFound and what the run failed with."""
        return await self._parts.reading.outcome(await self.fetch(run_id))

    @checked
    async def artifact(self, artifact_id: str) -> "tuple[runs.Artifact, bytes]":
        """An artifact with its content. Raises ArtifactNotFound, ArtifactDamaged."""
        return await self._parts.reading.fetch_artifact(self._caller, artifact_id)

    @checked
    async def cancel(self, run_id: str, *, reason: str = "") -> "runs.Run":
        """Stop a run; one that is at work stops before its next send. Raises RunNotFound, NotCancellable."""
        reason = await _recordable(self._parts, self._caller, run_id, reason)
        return await self._parts.steering.cancel(self._caller, run_id, reason=reason)

    @checked
    async def settle(self, run_id: str, *, seen: "runs.Seen | None" = None, note: str = "") -> "runs.Run":
        """Settle a run of unknown outcome: by what a person saw, or by reading once more. Raises RunNotFound,
        RunNotWaiting, UnknownOutcome."""
        note = await _recordable(self._parts, self._caller, run_id, note)
        return await self._parts.steering.settle(self._caller, run_id, seen=seen, note=note)

    @checked
    async def recover(self) -> "Sequence[runs.Recovered]":
        """Take over what dead processes left, now. An open Interlock does so by itself from time to time."""
        return await self._parts.recovery.recover()

    @checked
    async def packet(self, run_id: str) -> bytes:
        """The run's signed review packet, for `verify`; of a run that was archived, the one that it left as. Raises
        RunNotFound, ArchiveDamaged."""
        from interlock import runs

        try:
            return await self._parts.reading.export(self._caller, run_id)
        except runs.RunArchived:
            gone = await self._parts.reading.find_archived(self._caller, run_id)
            assert gone is not None
            return await self._parts.archiving.packet(gone)


class Approvals:
    """`il.approvals`: the questions that policy put to people."""

    def __init__(self, parts: "Parts", caller: Caller) -> None:
        self._parts = parts
        self._caller = caller

    @checked
    async def list(
        self, *, states: "Sequence[approvals.State]" = (), cursor: str | None = None, limit: int = 50
    ) -> "Sequence[approvals.Approval]":
        """Approvals of this tenant, newest first; go on with `cursor` = the last approval id."""
        return await self._parts.wiring.approvals.list_approvals(
            self._caller, states=tuple(states), cursor=cursor, limit=limit
        )

    @checked
    async def fetch(self, approval_id: str) -> "approvals.Approval":
        """One approval. Raises ApprovalNotFound."""
        return await self._parts.wiring.approvals.fetch_approval(self._caller, approval_id)

    @checked
    async def approve(
        self, approval_id: str, *, edited_input: Mapping[str, JSON] | None = None
    ) -> "approvals.Approval":
        """Say yes, perhaps to an edited input. `execute` then does it. Raises RoleMissing, SelfReview, AlreadyDecided,
        ApprovalExpired, InvalidEdit, catalog.InvalidInput."""
        return await self._parts.holding.approve(self._caller, approval_id, edited_input=edited_input)

    @checked
    async def execute(self, approval_id: str) -> "runs.Outcome":
        """Execute the held run of an approval that was given, spending it. Raises RunNotHeld, and as `invoke`."""
        approval = await self.fetch(approval_id)
        if approval.run_id is None:
            raise RequestError(f"{approval_id} holds no run; it is spent by whoever asked for it")
        return await self._parts.holding.execute(self._caller, approval.run_id)

    @checked
    async def deny(self, approval_id: str, *, reason: str) -> "approvals.Approval":
        """Say no; the held run is denied for good. Raises as `approve`, and RequestError without a reason."""
        if not reason.strip():
            raise RequestError("a denial needs a reason: the requester and the record will see it")
        run_id = (await self.fetch(approval_id)).run_id
        reason = reason if run_id is None else await _recordable(self._parts, self._caller, run_id, reason)
        return await self._parts.holding.deny(self._caller, approval_id, reason=reason)


async def _recordable(parts: "Parts", caller: Caller, run_id: str, remark: str) -> str:
    """A person's remark on a run, without the secrets of the run's connection. Raises RunNotFound."""
    if not remark:
        return remark
    return await parts.reading.without_secrets(caller, await parts.reading.fetch(caller, run_id), remark)
