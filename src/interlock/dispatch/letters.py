"""What waits and what is dead, for people: lists, replay, dismissal, how full it is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from interlock import runs
from interlock.dispatch.docket import Docket
from interlock.dispatch.errors import HappenedAlready, NoDeadLetter
from interlock.dispatch.model import Backlog, Due, DueFilter, Standing, Stats, Waiting
from interlock.dispatch.records import Records
from interlock.kernel import JSON, Caller, ConflictError, NotFoundError, RequestError, Tx, is_id

BATCH: Final = 200
"""How many dead letters one page of a replay by filter takes on."""

REPLAYED: Final = "dispatch.replayed"
"""The event by which a person has a dead letter tried again."""

DISMISSED: Final = "dispatch.dismissed"
"""The event by which a person ends a dead letter."""


class Letters:
    """Shows work, and takes dead letters up again or ends them."""

    def __init__(
        self,
        wiring: runs.Wiring,
        reading: runs.Reading,
        records: Records,
        docket: Docket,
        *,
        taken_up: Callable[[Tx, runs.Run], None],
    ) -> None:
        """`taken_up` hears of a dead letter in the transaction that has it tried again, and raises what speaks against that."""
        self._taken_up = taken_up
        self._wiring = wiring
        self._reading = reading
        self._records = records
        self._docket = docket

    async def list(self, query: DueFilter) -> Sequence[Waiting]:
        """Work of one standing: what is due in the order of its moments, all else newest first. Raises RequestError for a cursor
        that is none."""
        now = self._wiring.clock.now()
        return await self._wiring.store.read(
            lambda tx: self._records.list_waiting(tx, replace(query, cursor=self._place(tx, query)), now)
        )

    async def backlog(self) -> Sequence[Backlog]:
        """How much there is to do, for all tenants together. Raises StoreError."""
        now = self._wiring.clock.now()
        return await self._wiring.store.read(lambda tx: self._records.backlog(tx, now))

    def _place(self, tx: Tx, query: DueFilter) -> str | None:
        """Where the list goes on: a run's id says so as long as its work is there."""
        if query.cursor is None or not is_id(query.cursor, "run"):
            return query.cursor
        last = self._records.find(tx, query.tenant_id, query.cursor)
        if last is None:
            raise RequestError(
                "what the last page ended with is gone: send back its `cursor`, or begin at the first page"
            )
        return last.cursor

    async def fetch(self, caller: Caller, run_id: str) -> Waiting:
        """The work of one run. Raises RunNotFound also if workers have nothing to do with it."""
        await self._reading.fetch(caller, run_id)
        now = self._wiring.clock.now()
        found = await self._wiring.store.read(lambda tx: self._records.find_waiting(tx, caller.tenant_id, run_id, now))
        if found is None:
            raise runs.RunNotFound(
                f"workers have nothing to do with {run_id}: it has ended, or was never submitted",
                next_step="`interlock runs show RUN` shows it; `interlock dispatch list` what waits.",
                run_id=run_id,
            )
        return found

    async def stats(self, caller: Caller) -> Stats:
        """How much there is."""
        now = self._wiring.clock.now()
        return await self._wiring.store.read(lambda tx: self._records.count(tx, caller.tenant_id, now))

    async def replay(self, caller: Caller, run_id: str, *, note: str = "") -> runs.Run:
        """Have a dead letter tried again: the same run, the next attempt, and as many tries as at first. Raises NoDeadLetter,
        HappenedAlready, RunNotFound, and what speaks against it elsewhere."""
        run, due = await self._dead(caller, run_id)
        if run.kind in _ONCE and _effect(run) == "happened":
            raise HappenedAlready(f"{run.capability} happened in {run_id}, and failed only afterwards", run_id=run_id)
        fresh = replace(due, tries=0, crashes=0, deadline_at=None)
        now = self._wiring.clock.now()
        journal = self._wiring.journal(run)

        def again(tx: Tx) -> None:
            self._taken_up(tx, run)
            self._docket.again(tx, fresh, due_at=now, why=None)

        await journal.write(
            [(REPLAYED, {"by": caller.actor, "note": note[:500]})],
            at=now,
            move=runs.Move(state=runs.State.QUEUED, reason="replayed"),
            beside=again,
        )
        return journal.run

    async def dismiss(self, caller: Caller, run_id: str, *, reason: str) -> runs.Run:
        """End a dead letter for good. Raises NoDeadLetter, RunNotFound, RequestError without a reason."""
        if not reason.strip():
            raise RequestError("a dismissal needs a reason: the record will show it")
        run, due = await self._dead(caller, run_id)
        journal, gone = self._wiring.journal(run), list[runs.Entry]()

        def over(tx: Tx) -> None:
            self._docket.strike(tx, due.tenant_id, due.run_id)
            gone[:] = runs.withdraw(tx, self._wiring, run)

        await journal.write(
            lambda: [(DISMISSED, {"by": caller.actor, "reason": reason[:500]}), *gone],
            at=self._wiring.clock.now(),
            move=runs.Move(state=runs.State.CANCELLED, reason="dismissed", error=run.error),
            beside=over,
        )
        return journal.run

    async def replay_all(self, caller: Caller, query: DueFilter, *, note: str = "", most: int = 1000) -> Sequence[str]:
        """Replay what the filter chooses of the dead letters, at most so many; which runs those were. What cannot be replayed, or
        is taken up by somebody else meanwhile, is left out."""
        replayed: list[str] = []
        for run_id in await self._chosen(query, most):
            try:
                await self.replay(caller, run_id, note=note)
            except (ConflictError, NotFoundError, runs.StaleRun):
                continue
            replayed.append(run_id)
        return replayed

    async def dismiss_all(self, caller: Caller, query: DueFilter, *, reason: str, most: int = 1000) -> Sequence[str]:
        """As `replay_all`, for dismissing."""
        dismissed: list[str] = []
        for run_id in await self._chosen(query, most):
            try:
                await self.dismiss(caller, run_id, reason=reason)
            except (NoDeadLetter, runs.RunNotFound, runs.StaleRun):
                continue
            dismissed.append(run_id)
        return dismissed

    async def _chosen(self, query: DueFilter, most: int) -> Sequence[str]:
        chosen: list[str] = []
        query = replace(query, standing=Standing.DEAD, limit=BATCH)
        while page := await self.list(query):
            chosen += [each.due.run_id for each in page]
            if len(page) < BATCH or len(chosen) >= most:
                break
            query = replace(query, cursor=page[-1].cursor)
        return chosen[:most]

    async def _dead(self, caller: Caller, run_id: str) -> tuple[runs.Run, Due]:
        run = await self._reading.fetch(caller, run_id)
        found = await self._wiring.store.read(lambda tx: self._records.find(tx, caller.tenant_id, run_id))
        if found is None or found.standing is not Standing.DEAD:
            raise NoDeadLetter(f"{run_id} is {run.state}, and no dead letter", run_id=run_id)
        return run, found


_ONCE: Final = frozenset({runs.Kind.CAPABILITY, runs.Kind.PROXY})
"""Kinds of runs that do something to the outside by themselves. A handler's steps are not done twice."""


def _effect(run: runs.Run) -> JSON:
    details = run.error.get("details") if isinstance(run.error, Mapping) else None
    return details.get("effect") if isinstance(details, Mapping) else None
