"""The pen of a turn: what happened is written down in one commit with what is about to be done because of it.

What is to be written is let go of once it is known to be committed, and not before: whoever is cancelled, or is told that the
store failed, leaves it to the attempt's end. After a commit that failed for good, nothing more is done under this pen.
"""

import logging
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Final, cast

import anyio

from interlock import dispatch, runs
from interlock.agents import turns
from interlock.agents.harness import journal, replaying, sheets
from interlock.agents.harness.committing import Commit, Unsaved, shortened
from interlock.agents.harness.journal import Past
from interlock.agents.harness.means import Happening, Means, Watch
from interlock.agents.harness.sheets import Sheet
from interlock.agents.harness.spending import BESIDE, NOTHING, TIME, Amounts, Holding, Leg, Spending
from interlock.kernel import JSON, Tx

_OF_TURNS: Final = frozenset({"turn", "memory", "approval"})
"""What the events begin with that a turn itself writes."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """Which limit of time is the next to be reached, and how much it is."""

    limit: str
    seconds: float
    is_budget: bool

    def told(self, when: str) -> str:
        """That it was reached, for people."""
        if self.is_budget:
            return f"the {self.limit} had {self.seconds:g} s of work left, and they are over: {when}"
        return f"the turn has worked for {self.seconds:g} s, its limit ({self.limit}): {when}"

    def stopped(self, when: str, took_s: float) -> turns.Stopped:
        """The end of a turn because of it."""
        details = {"limit": self.limit, "seconds": self.seconds}
        code = "budget_exhausted" if self.is_budget else "timeout"
        return turns.Stopped(code=code, message=self.told(when), details=details, took_s=took_s)


class Pen:
    """Writes the journal of one attempt at a turn. `sheet` is where the turn stands, what is not committed yet included."""

    def __init__(
        self,
        means: Means,
        working: runs.Working,
        plan: turns.Plan,
        sheet: Sheet,
        *,
        spending: Spending,
        watch: Watch | None = None,
    ) -> None:
        self.spending = spending
        self._came_to: dict[str, Amounts | None] = {}
        self._beside = 0
        self.plan = plan
        self.sheet = sheet
        self.working = working
        self.means = means
        self._watch = watch
        self._unsaved: list[Unsaved] = []
        self._writing = anyio.Lock()
        self._open: Commit | None = None
        self._failure: Exception | None = None
        self._mark = means.wiring.clock.monotonic()
        self._leg: Leg | None = None
        self._leg_began = self._mark

    @property
    def cancel_requested(self) -> bool:
        """Whether somebody wants the turn to stop, as far as this pen came to know."""
        return self.working.journal.cancel_requested

    def check_hold(self) -> None:
        """Nothing is done under a hold that is gone, nor once a commit has failed. Raises OwnershipLapsed, and what that failed
        with."""
        self._check()
        attempt = self.working.attempt
        if self.means.wiring.ownership.may_send(attempt.owner_id) <= 0:
            raise runs.OwnershipLapsed(f"this process lost its hold on {attempt.run_id}", run_id=attempt.run_id)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def took_s(self) -> float:
        """Seconds of work since this was last asked."""
        before, self._mark = self._mark, self.means.wiring.clock.monotonic()
        return round(max(0.0, self._mark - before), 6)

    def left_s(self) -> float:
        """Seconds that the turn may still work."""
        return self.left()[0]

    def left(self) -> tuple[float, Shortage]:
        """Seconds that the turn may still work, and what has no more of them."""
        now, limit = self.means.wiring.clock.monotonic(), self.plan.spec.controls.timeout_s
        own = limit - self.sheet.state.worked_s - (now - self._mark)
        leg = self._leg
        if leg is not None and leg.granted_s is not None and leg.budget is not None:
            granted = leg.granted_s - (now - self._leg_began)
            if granted < own:
                return granted, Shortage(limit=f"budget {leg.budget!r}", seconds=leg.granted_s, is_budget=True)
        return own, Shortage(limit="controls.timeout_s", seconds=limit, is_budget=False)

    @contextmanager
    def working_for(self, leg: Leg) -> Generator[None]:
        """What is done within is the leg; what it took is settled with what is saved next."""
        clock = self.means.wiring.clock
        self._leg, self._leg_began = leg, clock.monotonic()
        try:
            yield
        finally:
            self._leg = None
            if leg.granted_s is not None:
                took = max(0.0, clock.monotonic() - self._leg_began)
                self.came_to(leg.holder, {TIME: ceil(took * 1000)})

    @contextmanager
    def working_beside(self) -> Generator[None]:
        """What is done within is no step of the turn, such as to judge or to recall: what it took is counted with what is saved
        next, and was not reserved."""
        clock = self.means.wiring.clock
        began = clock.monotonic()
        try:
            yield
        finally:
            if (took := ceil((clock.monotonic() - began) * 1000)) > 0 and TIME in self.spending.units:
                self._beside += 1
                self.came_to(f"{BESIDE}{self._beside}", {TIME: took})

    def began(self, event: turns.Began, past: Past) -> None:
        """The turn begins."""
        event = cast("turns.Began", journal.fitting(event))
        self.sheet = sheets.after(self.plan, self.sheet, event)
        self._unsaved.append(Unsaved(journal.began(event, past)))

    def happened(self, event: turns.AnyEvent, **also: JSON) -> None:
        """Something happened: it is written down with what is saved next. Raises UnexpectedEvent."""
        event = journal.fitting(event)
        if isinstance(event, turns.Stopped):
            self._left_undone()
        self.sheet = sheets.after(self.plan, self.sheet, event)
        self._unsaved.append(Unsaved(journal.told(event, **also)))

    def note(self, entry: runs.Entry, sheet: Sheet) -> None:
        """As `happened`, of what is no event of the machine: `sheet` is where the turn stands then."""
        self._unsaved.append(Unsaved(entry))
        self.sheet = sheet

    async def intend(
        self,
        intents: Iterable[turns.Ask | turns.Perform],
        *,
        again: frozenset[str] = frozenset(),
        holding: Holding | None = None,
    ) -> None:
        """Commit what happened, and that this is about to be done, with what is reserved for it. Raises OverBudget if that is
        not there; then nothing is about to be done. Raises StaleRun, StoreError."""
        wanted = list(intents)
        told, keys = journal.intended(wanted, again=again), frozenset(each.key for each in wanted)
        async with self._writing:
            if holding is None:
                await self._commit(told, keys)
                return
            await self._commit()  # by itself: what is refused is undone, and what happened is not
            await self._commit(told, keys, holding)

    def came_to(self, key: str, amounts: Amounts | None) -> None:
        """What an intent took is settled with what is saved next."""
        if self.spending.units:
            self._came_to[key] = amounts

    def _left_undone(self) -> None:
        """The turn ends before all is done that it wanted: what was not begun took nothing, and of what was nobody knows. What
        policy holds is given back where it is withdrawn."""
        sheet = self.sheet
        for each in sheet.wanted:
            if isinstance(each, turns.Perform) and each.key not in {*self._came_to, *sheet.put_off}:
                self.came_to(each.key, None if each.key in sheet.intended else NOTHING)

    def settle(self, tx: Tx) -> None:
        """Settle what was done, for whoever commits the rest."""
        self.spending.settle(tx, self._came_to)

    def settle_all(self, tx: Tx) -> None:
        """As `settle`, and of what was begun and has no outcome all that was reserved is used."""
        self.spending.settle(tx, {**dict.fromkeys(self.sheet.intended), **self._came_to})

    async def save(self) -> None:
        """Commit what happened. Raises StaleRun if the turn is another process's by now, and StoreError."""
        async with self._writing:
            await self._commit()

    async def _commit(
        self, intended: Sequence[runs.Entry] = (), keys: frozenset[str] = frozenset(), holding: Holding | None = None
    ) -> None:
        """Commit what happened, and after it what is `intended`, by these keys; one at a time."""
        self._check()
        if not self._unsaved and not intended:
            return
        await self._look_back()
        self._open = Commit(
            means=self.means,
            working=self.working,
            spending=self.spending,
            unsaved=tuple(self._unsaved),
            came_to={} if holding is not None else dict(self._came_to),
            intended=intended,
            keys=keys,
            holding=holding,
        )
        try:
            await dispatch.until_saved(self.means.wiring, self._open)
        except runs.OverBudget:
            self._open = None  # it is undone
            raise
        except Exception as error:
            self._failure = error
            raise
        self._committed(self._open)

    async def _look_back(self) -> None:
        """What became of a commit that nobody waited for any more."""
        if self._open is not None and await self._open.is_there():
            self._committed(self._open)
        self._open = None

    def _committed(self, commit: Commit) -> None:
        self._open = None
        del self._unsaved[: len(commit.unsaved)]
        self._came_to = {key: each for key, each in self._came_to.items() if key not in commit.came_to}
        self.sheet = self.sheet.intending(commit.keys)
        self._tell(commit.told, commit.last_seq)

    async def decide(
        self,
        drawn: Callable[[Tx], Sequence[tuple[turns.AnyEvent, dict[str, JSON]]]],
        told: Callable[[], Sequence[runs.Entry]],
        approval_id: Callable[[], str | None],
    ) -> None:
        """Commit events that are drawn from what `drawn` writes in the same transaction, with what it `told` beside them. Raises
        as `save`, and what `drawn` raises."""
        await self.save()
        events: list[tuple[turns.AnyEvent, dict[str, JSON]]] = []
        sheet = self.sheet

        def write(tx: Tx) -> None:
            nonlocal sheet
            events[:] = drawn(tx)
            sheet = self.sheet
            for event, _ in events:
                sheet = sheets.after(self.plan, sheet, event)

        def entries() -> Sequence[runs.Entry]:
            return [*told(), *(journal.told(event, **also) for event, also in events)]

        async with self._writing:
            await self.means.tasks.note(self.working, entries, approval_id=approval_id, beside=write)
            self.sheet = sheet
            self._tell(entries(), self.working.journal.run.head_seq)

    async def rest(self) -> tuple[list[runs.Entry], list[runs.Artifact]]:
        """What is not committed yet, for whoever commits it with the attempt's end; the same, however often it is asked for.
        Raises StoreError."""
        async with self._writing:
            await self._look_back()
            return await shortened(self.means, self.working, self._unsaved)

    def tell_rest(self, told: Sequence[runs.Entry], *, followed_by: int) -> None:
        """It was committed with the attempt's end: after it come so many other entries."""
        self._tell(told, self.working.journal.run.head_seq - followed_by)

    async def tell_after(self, run: runs.Run) -> None:
        """What the chain tells of the turn after it stood so: whoever committed it did not hear that it is there."""
        for event in await self.means.reading.events_after(run, run.head_seq):
            if event.type.partition(".")[0] in _OF_TURNS:
                self._tell([replaying.entry_of(event)], event.seq)

    def _tell(self, told: Sequence[runs.Entry], last_seq: int) -> None:
        if self._watch is None:
            return
        judged, run_id = bool(self.plan.spec.controls.outputs), self.working.attempt.run_id
        for seq, entry in enumerate(told, last_seq - len(told) + 1):
            kind, data = journal.unsaid(entry) if judged else entry
            tell(self._watch, Happening(kind=kind, data=data, run_id=run_id, seq=seq))


def tell(watch: Watch, happening: Happening) -> None:
    """Tell those who watch; what they make of it is theirs."""
    try:
        watch(happening)
    except Exception as error:  # noqa: BLE001 - the turn must not end with who looks at it
        _log.warning("who watches a turn failed: %s: %s", type(error).__name__, error)
