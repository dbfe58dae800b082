"""The pen of a turn: what happened is written down in one commit with what is about to be done because of it."""

import logging
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil
from typing import cast

import anyio

from interlock import dispatch, runs
from interlock.agents import turns
from interlock.agents.harness import journal
from interlock.agents.harness.journal import Past, Sheet
from interlock.agents.harness.means import Happening, Means, Watch
from interlock.agents.harness.spending import TIME, Amounts, Holding, Leg, Spending
from interlock.kernel import JSON, StoreError, Tx

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
        self.plan = plan
        self.sheet = sheet
        self.working = working
        self.means = means
        self._watch = watch
        self._unsaved: list[runs.Entry] = []
        self._writing = anyio.Lock()
        self._mark = means.wiring.clock.monotonic()
        self._leg: Leg | None = None
        self._leg_began = self._mark

    @property
    def cancel_requested(self) -> bool:
        """Whether somebody wants the turn to stop, as far as this pen came to know."""
        return self.working.journal.cancel_requested

    def check_hold(self) -> None:
        """Nothing is done under a hold that is gone. Raises OwnershipLapsed."""
        attempt = self.working.attempt
        if self.means.wiring.ownership.may_send(attempt.owner_id) <= 0:
            raise runs.OwnershipLapsed(f"this process lost its hold on {attempt.run_id}", run_id=attempt.run_id)

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

    def began(self, event: turns.Began, past: Past) -> None:
        """The turn begins."""
        event = cast("turns.Began", journal.fitting(event))
        self.sheet = journal.after(self.plan, self.sheet, event)
        self._unsaved.append(journal.began(event, past))

    def happened(self, event: turns.AnyEvent, **also: JSON) -> None:
        """Something happened: it is written down with what is saved next. Raises UnexpectedEvent."""
        event = journal.fitting(event)
        self.sheet = journal.after(self.plan, self.sheet, event)
        self._unsaved.append(journal.told(event, **also))

    def note(self, entry: runs.Entry, sheet: Sheet) -> None:
        """As `happened`, of what is no event of the machine: `sheet` is where the turn stands then."""
        self._unsaved.append(entry)
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
        told = journal.intended(wanted, again=again)
        if holding is None:
            self._unsaved += told
            self.sheet = self.sheet.intending(each.key for each in wanted)
            await self.save()
            return
        await self.save()  # by itself: what is refused is undone, and what happened is not
        async with self._writing:
            await dispatch.until_saved(self.means.wiring, _Once(self, told, (), holding))
            self.sheet = self.sheet.intending(each.key for each in wanted)
            self._tell(told)

    def came_to(self, key: str, amounts: Amounts | None) -> None:
        """What an intent took is settled with what is saved next."""
        if self.spending.units:
            self._came_to[key] = amounts

    def settle(self, tx: Tx) -> None:
        """Settle what was done, for whoever commits the rest."""
        self.spending.settle(tx, self._came_to)

    def settle_all(self, tx: Tx) -> None:
        """As `settle`, and of what was begun and has no outcome all that was reserved is used."""
        self.spending.settle(tx, {**dict.fromkeys(self.sheet.intended), **self._came_to})

    async def save(self) -> None:
        """Commit what happened. Raises StaleRun if the turn is another process's by now, and StoreError."""
        async with self._writing:
            if self._unsaved:
                told, kept = await self._short()
                due = dict(self._came_to)

                def settle(tx: Tx) -> None:
                    self.spending.settle(tx, due)

                await dispatch.until_saved(self.means.wiring, _Once(self, told, kept, settle if due else None))
                self._came_to = {key: each for key, each in self._came_to.items() if key not in due}
                self._tell(told)

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
                sheet = journal.after(self.plan, sheet, event)

        def entries() -> Sequence[runs.Entry]:
            return [*told(), *(journal.told(event, **also) for event, also in events)]

        async with self._writing:
            await self.means.tasks.note(self.working, entries, approval_id=approval_id, beside=write)
            self.sheet = sheet
            self._tell(entries())

    async def rest(self) -> tuple[list[runs.Entry], list[runs.Artifact]]:
        """What is not committed yet, for whoever commits it with the attempt's end."""
        return await self._short()

    def tell_rest(self, told: Sequence[runs.Entry]) -> None:
        """It was committed."""
        self._tell(told)

    async def _short(self) -> tuple[list[runs.Entry], list[runs.Artifact]]:
        """The entries that are unsaved, those that are too long by the artifacts that hold them."""
        unsaved, self._unsaved = self._unsaved, []
        artifacts: list[runs.Artifact] = []
        told: list[runs.Entry] = []
        for entry in unsaved:
            content = journal.too_long(entry)
            if content is not None:
                artifact = await self.means.tasks.keep(self.working, entry[0], content)
                artifacts.append(artifact)
                entry = journal.kept(entry, artifact)
            told.append(entry)
        return told, artifacts

    def _tell(self, told: Iterable[runs.Entry]) -> None:
        if self._watch is None:
            return
        judged = bool(self.plan.spec.controls.outputs)
        for entry in told:
            kind, data = journal.unsaid(entry) if judged else entry
            tell(self._watch, Happening(kind=kind, data=data))


def tell(watch: Watch, happening: Happening) -> None:
    """Tell those who watch; what they make of it is theirs."""
    try:
        watch(happening)
    except Exception as error:  # noqa: BLE001 - the turn must not end with who looks at it
        _log.warning("who watches a turn failed: %s: %s", type(error).__name__, error)


class _Once:
    """Writes entries once, however often it is called: the answer to a commit may be lost."""

    def __init__(
        self,
        pen: Pen,
        told: Sequence[runs.Entry],
        kept: Sequence[runs.Artifact],
        beside: Callable[[Tx], None] | None = None,
    ) -> None:
        self._pen = pen
        self._beside = beside
        self._told = told
        self._kept = kept
        self._failed = False

    async def __call__(self) -> None:
        pen = self._pen
        means, working = pen.means, pen.working
        if self._failed and await self._is_there(means, working):
            return
        try:
            await means.tasks.note(working, self._told, kept=self._kept, beside=self._beside)
        except StoreError:
            self._failed = True
            raise

    async def _is_there(self, means: Means, working: runs.Working) -> bool:
        """Whether the try before has written it after all: nobody else writes a turn's entries under this fence."""
        run, wiring = working.journal.run, means.wiring
        now = await wiring.store.read(lambda tx: wiring.ledger.find_run(tx, run.tenant_id, run.run_id))
        if now is None or now.fence != run.fence:
            return False
        notes = await means.reading.events_after(run, run.head_seq)
        if not any(each.type.startswith(journal.PREFIX) for each in notes):
            return False
        working.journal.run = replace(now)
        return True
