"""Recovery: attempts whose owner is gone are settled by reading, or held for a person; never blindly repeated."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import anyio

from interlock import budgets, catalog, policy
from interlock.kernel import InterlockError, StoreError, Tx
from interlock.runs import drawing, entries, rebuilding
from interlock.runs.beginning import begin_again
from interlock.runs.call import Call
from interlock.runs.doubt import last_left, writes_in_doubt
from interlock.runs.errors import AttemptLost, OutcomeUnsaved, OwnershipLapsed, StaleRun
from interlock.runs.execution import Doubt, Execution
from interlock.runs.handed import Lost
from interlock.runs.journal import CANCEL_REQUESTED, READ_REQUESTED, Journal, Move, Records
from interlock.runs.ledger import AttemptEnd
from interlock.runs.model import Attempt, AttemptState, Decision, Kind, Owner, Run, Send, State
from interlock.runs.preparing import GOES_ON, judge, prepare
from interlock.runs.reading import History, Reading
from interlock.runs.releasing import release
from interlock.runs.reserving import reserved
from interlock.runs.sandboxing import confined
from interlock.runs.transitions import FINAL
from interlock.runs.watching import Watch
from interlock.runs.wiring import Wiring
from interlock.runs.withdrawing import withdraw

BATCH = 100
"""How many lapsed attempts one sweep takes on."""

AT_ONCE = 8
"""How many runs are recovered side by side, so that one slow service does not hold up the others."""

MAX_ATTEMPTS = 5
"""A run that has lost this many attempts is read, but not sent again: something about it kills its process."""

CLEANING = 3600.0
"""Seconds between two removals of what is over: used-up keys, leases, answers."""

AFTER = 0.01
"""Seconds after an owner has been silent for a lease: then nobody's rounding keeps it alive."""

LATER = 30.0
"""Seconds after which an attempt is tried again that could not be recovered (its budget is used up, the store failed, a
rule is misspelt)."""

NOT_YET = (StoreError, OutcomeUnsaved, policy.RuleAstray, catalog.ConnectorBroken, catalog.DuplicateConnector)
"""What an operator mends, and is no reason to give a run up."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What recovery made of one lost attempt."""

    run_id: str
    capability: str
    state: State
    error: InterlockError | None


class Recovery:
    """Takes over what dead processes left. Safe to run in any number of processes at any time: the fence decides."""

    def __init__(self, wiring: Wiring, reading: Reading, execution: Execution) -> None:
        self._wiring = wiring
        self._reading = reading
        self._execution = execution
        self._watch = Watch()
        self._sweeping = anyio.Lock()
        self._undecided: float = 0.0
        """Seconds until it can be known of every busy owner whether it is alive. Zero: it is known."""
        self._alive: frozenset[str] = frozenset()
        """Owners whose process lives, under this id or a later one: what they left, no crash has taken."""
        self._later: dict[str, float] = {}
        """Attempts that could not be recovered, and when to try again: they must not keep others from their turn."""

    async def recover(self) -> Sequence[Recovered]:
        """Recover all that dead processes left. A run that another process takes over first is left to it.

        Whether an owner is dead shows in its silence, so this takes up to one lease of the slowest one, unless this process
        has been watching for that long already. Raises StoreError.
        """
        self._later.clear()  # whoever asks wants it tried now
        recovered = [*await self.sweep()]
        while wait := self._undecided:
            await self._wiring.clock.sleep(wait)
            recovered += await self.sweep()
        return recovered

    async def sweep(self) -> Sequence[Recovered]:
        """Recover what is known to be left behind by now, once an earlier sweep of this process is through: what that has taken
        on is over then, too. Raises StoreError."""
        async with self._sweeping:
            return await self._sweep()

    async def _sweep(self) -> Sequence[Recovered]:
        recovered: list[Recovered] = []
        places = anyio.CapacityLimiter(AT_ONCE)

        async def one(attempt: Attempt) -> None:
            async with places:
                if (found := await self._recover(attempt)) is not None:
                    recovered.append(found)

        try:
            await self._expire_approvals()
            left = await self._left_behind()
        except StoreError:
            self._wiring.ownership.note_silence()  # who owns nothing does not beat, and has to notice it here
            raise
        for turn in left:
            async with anyio.create_task_group() as sweep:
                for attempt in turn:
                    sweep.start_soon(one, attempt)
        return recovered

    async def keep(self, *, every: float) -> None:
        """Sweep for ever, with a pause of that many seconds at most: it ends when an owner has been silent for long enough. About
        once an hour, remove what is over."""
        cleaned = self._wiring.clock.monotonic()
        while True:
            try:
                await self.sweep()
                if self._wiring.clock.monotonic() - cleaned > CLEANING:
                    await self._wiring.sweep(self._wiring.clock.now())
                    cleaned = self._wiring.clock.monotonic()
            except Exception as error:  # noqa: BLE001 - the host's work must not end with this
                _log.warning("recovery will try again: %s", error)
            silent_in = self._watch.silent_in(self._wiring.clock.monotonic())
            await self._wiring.clock.sleep(every if silent_in is None else min(every, silent_in + AFTER))

    async def _left_behind(self) -> Sequence[Sequence[Attempt]]:
        """Attempts of dead processes, and those of this one that an error (a commit whose answer was lost) left open. In
        turns: a run comes after those that it asked for, since it is to go on with what became of them."""
        ledger, ownership, clock = self._wiring.ledger, self._wiring.ownership, self._wiring.clock
        asked_at = clock.monotonic()
        owners, busy = await self._wiring.store.read(lambda tx: (ledger.list_owners(tx), ledger.list_busy(tx)))
        dead = self._watch.observe(
            owners, asked_at=asked_at, heard_at=clock.monotonic(), mute_until=ownership.mute_until
        )
        mine, known = ownership.owner_id, {owner.owner_id: owner for owner in owners}
        self._alive = outlived(owners, dead - {mine})
        others = (busy & known.keys()) - dead - {mine}
        silent = [known[name].lease for name in others if self._watch.undecided(name, clock.monotonic())]
        self._undecided = max((lease.total_seconds() / 4 for lease in silent), default=0.0)
        if idle := sorted(dead - busy - {mine}):  # in one order, so that two who recover do not wait for each other
            await self._wiring.store.write(lambda tx: [ledger.drop_owner(tx, owner_id) for owner_id in idle])
        gone, now = busy - known.keys(), clock.monotonic()
        self._later = {attempt_id: due for attempt_id, due in self._later.items() if due > now}
        size = BATCH + len(ownership.at_work) + len(self._later)
        found = await self._wiring.store.read(lambda tx: ledger.list_open(tx, {*dead, *gone, mine}, size))
        # Asked after the read: what is in the read, and is not worked on now, has no one left who could end it.
        free = [attempt for attempt in found if attempt.run_id not in ownership.at_work]
        due = [attempt for attempt in free if attempt.attempt_id not in self._later][:BATCH]
        if not due:
            return []
        runs = await self._wiring.store.read(
            lambda tx: [ledger.find_run(tx, each.tenant_id, each.run_id) for each in due]
        )
        return list(turns(due, {run.run_id: run.parent_run_id for run in runs if run is not None}))

    async def _recover(self, attempt: Attempt) -> Recovered | None:
        try:
            with self._wiring.ownership.working(attempt.run_id):
                if (found := await self._take_over(attempt)) is not None:
                    return found
        except (StaleRun, OwnershipLapsed) as error:
            _log.info("left %s to another process: %s", attempt.run_id, error)
        except NOT_YET as error:
            _log.warning("%s will be recovered later: %s", attempt.run_id, error)
        except Exception:  # noqa: BLE001 - one run that breaks recovery must not keep it from all others
            _log.exception("cannot recover %s", attempt.run_id)
        self._later[attempt.attempt_id] = self._wiring.clock.monotonic() + LATER
        return None

    async def _take_over(self, attempt: Attempt) -> Recovered | None:
        history = await self._reading.history(attempt.tenant_id, attempt.run_id)
        run = history.run
        facts = {"interlock.run.id": run.run_id, "interlock.capability": run.capability}
        with self._wiring.tracing.span("recover", parent=run.traceparent, facts=facts):
            return await self._take_over_from(history, attempt)

    async def _take_over_from(self, history: History, attempt: Attempt) -> Recovered | None:
        run = history.run
        open_ones = [each for each in history.attempts if each.state is AttemptState.RUNNING]
        if run.state is not State.RUNNING or run.fence != attempt.fence or attempt not in open_ones:
            return None
        is_alive = attempt.owner_id in self._alive
        fate = "could not record what came of it" if is_alive else "went away"
        lost = AttemptLost(f"the process of {attempt.attempt_id} {fate}", run_id=run.run_id)
        journal = self._wiring.journal(run)
        if run.kind is Kind.INFERENCE:
            await self._leave_to_asker(history, attempt, journal, lost)
            return self._report(journal.run, lost)
        if await self._hand_on(history, attempt, journal, lost):
            return self._report(journal.run, lost)
        if run.kind is Kind.AGENT_TURN:
            # It waits for whoever asked for it: they say `resume`, and it goes on from its journal.
            stop = await self._asked_to_stop(run) or not await self._has_asker(run)
            await self._left(attempt, journal, lost).end(State.CANCELLED if stop else State.RETRY_SCHEDULED)
            return self._report(journal.run, lost)
        try:
            requester, request = rebuilding.asked(run, history.decisions[-1])
            capability = await self._wiring.catalog.fetch_for(run.tenant_id, run.capability)
            rebuilding.same_contract(run, history.decisions[-1], capability)
            call = await prepare(self._wiring, requester, replace(request, max_attempts=MAX_ATTEMPTS), capability)
            verdict, facts = await judge(self._wiring, call)
            decided = drawing.decision(
                replace(call, request=request),
                run.run_id,
                history.decisions[-1].number + 1,
                verdict,
                facts,
                ids=self._wiring.ids,
                at=self._wiring.clock.now(),
            )
            call = confined(call, verdict, self._wiring)
            return await self._go_on(history, attempt, call, journal, lost, decided)
        except (StaleRun, OwnershipLapsed, *NOT_YET):
            raise
        except InterlockError as error:
            # The connection or the connector is gone: nothing can be read, and nothing may be sent.
            if journal.run.state is State.RUNNING and journal.run.fence == attempt.fence:
                await self._park(journal, attempt, history.sends, lost, error)
            return self._report(journal.run, error)

    async def _hand_on(self, history: History, attempt: Attempt, journal: Journal, lost: AttemptLost) -> bool:
        """Whether workers carry the run out, to one of whom it goes now."""
        wiring, run = self._wiring, history.run
        if not await wiring.store.read(lambda tx: wiring.handed.knows(tx, run)):
            return False
        doubtful = bool(writes_in_doubt(history.sends))
        stop = not doubtful and await self._asked_to_stop(run)
        return await wiring.handed.take_over(self._left(attempt, journal, lost, doubtful=doubtful, stop=stop))

    async def _leave_to_asker(self, history: History, attempt: Attempt, journal: Journal, lost: AttemptLost) -> None:
        """A model was asked, and whoever asked may ask again, which is the next attempt; if that is over, too, nobody will."""
        run = history.run
        waits = run.parent_run_id and await self._has_asker(run, over=FINAL) and not await self._asked_to_stop(run)
        await self._left(attempt, journal, lost).end(State.RETRY_SCHEDULED if waits else State.FAILED)

    async def _has_asker(self, run: Run, *, over: Collection[State] = FINAL - {State.DEAD}) -> bool:
        """Whether the run that has asked for it goes on, or no run has. A dead letter may be replayed."""
        if (parent := run.parent_run_id) is None:
            return True
        ledger = self._wiring.ledger
        asker = await self._wiring.store.read(lambda tx: ledger.find_run(tx, run.tenant_id, parent))
        return asker is not None and asker.state not in over

    def _left(
        self, attempt: Attempt, journal: Journal, lost: AttemptLost, *, doubtful: bool = False, stop: bool = False
    ) -> Lost:
        return Lost(
            journal=journal,
            attempt=attempt,
            error=lost,
            doubtful=doubtful,
            stop=stop,
            is_crash=attempt.owner_id not in self._alive,
            store_failed=self._store_failed(attempt),
            clock=self._wiring.clock,
            withdraw=lambda tx: withdraw(tx, self._wiring, journal.run),
        )

    def _store_failed(self, attempt: Attempt) -> bool:
        """Whether the store failed this process, too, when the attempt was lost: since that began, if it is its own, else since
        its owner was last heard. Nobody's clock but this process's own plays a part."""
        ownership = self._wiring.ownership
        if attempt.owner_id == ownership.owner_id:
            return ownership.failed_during(attempt)
        heard = self._watch.heard(attempt.owner_id)
        return heard is not None and ownership.failed_since(heard)

    async def _go_on(
        self, history: History, attempt: Attempt, call: Call, journal: Journal, lost: AttemptLost, decided: Decision
    ) -> Recovered | None:
        wiring, run = self._wiring, history.run
        async with reserved(wiring, call.budget_call, holder=run.run_id, cost=call.request.cost) as taken:
            if isinstance(taken, budgets.Exhausted):
                _log.info("%s will be recovered later: %s", run.run_id, taken.text)
                return None
            doubt = await self._doubt(history, call, lost, allowed=decided.effect in GOES_ON)
            end = self._lost(attempt, lost, decided.at)
            begun, facts = await begin_again(
                wiring,
                call,
                journal,
                history.sends,
                told=[entries.attempt_ended(end), entries.policy_decided(decided)],
                records=Records(attempt_end=end, decisions=(decided,)),
                at=decided.at,
                send_first=doubt.written_at is None and doubt.may_send,
            )
            ending = await self._execution.run(call, journal, begun, facts, doubt=doubt)
        return self._report(journal.run, ending.error)

    async def _doubt(self, history: History, call: Call, lost: AttemptLost, *, allowed: bool) -> Doubt:
        """What the lost attempt left open. It is sent again only if policy still lets it, and nobody asked to stop."""
        run = history.run
        doubtful = writes_in_doubt(history.sends, call.operation)
        free = run.attempt_count < MAX_ATTEMPTS and not await self._asked_to_stop(run)
        return Doubt(
            cause=lost,
            written_at=last_left(history, doubtful, self._wiring.clock.now()) if doubtful else None,
            may_send=free and allowed,
            forbidden=free and not allowed,
        )

    async def _park(
        self, journal: Journal, attempt: Attempt, sends: Sequence[Send], lost: AttemptLost, error: InterlockError
    ) -> None:
        """End the attempt without another one: waiting if a write is in doubt, else failed."""
        at = self._wiring.clock.now()
        error.run_id = journal.run.run_id
        end = self._lost(attempt, lost, at)
        await journal.write(
            [entries.attempt_ended(end)],
            at=at,
            move=Move(
                state=State.WAITING if writes_in_doubt(sends) else State.FAILED,
                reason=error.code,
                error=error.to_json(),
                fence=journal.run.fence + 1,
            ),
            records=Records(attempt_end=end),
        )

    async def _asked_to_stop(self, run: Run) -> bool:
        seq = 0
        while notes := await self._reading.events_after(run, seq):
            if any(note.type in (CANCEL_REQUESTED, READ_REQUESTED) for note in notes):
                return True
            seq = notes[-1].seq
        return False

    async def _expire_approvals(self) -> None:
        """Approvals that are over end the runs that wait for them."""
        if not await self._wiring.store.read(self._wiring.approvals.is_any_over):
            return

        def expire(tx: Tx) -> None:
            for approval in self._wiring.approvals.expire(tx):
                release(tx, self._wiring, approval, reason="approval_expired")

        try:
            await self._wiring.store.write(expire)
        except StaleRun as error:
            _log.info("approvals expire later: %s", error)

    def _lost(self, attempt: Attempt, lost: AttemptLost, at: datetime) -> AttemptEnd:
        return AttemptEnd(attempt_id=attempt.attempt_id, state=AttemptState.LOST, finished_at=at, error=lost.to_json())

    def _report(self, run: Run, error: InterlockError | None) -> Recovered:
        return Recovered(run_id=run.run_id, capability=run.capability, state=run.state, error=error)


def outlived(owners: Sequence[Owner], dead: Collection[str]) -> frozenset[str]:
    """The owners whose process lives. One that could not beat for a lease, since the store was away, goes on under another id."""

    def process(owner: Owner) -> tuple[str, str, datetime]:
        return owner.host, owner.process, owner.started_at

    living = {process(owner) for owner in owners if owner.owner_id not in dead}
    return frozenset(owner.owner_id for owner in owners if process(owner) in living)


def turns(attempts: Sequence[Attempt], parents: Mapping[str, str | None]) -> Iterator[Sequence[Attempt]]:
    """The attempts of runs that no other run among these was asked for by, then those that are free now, and so on."""
    left = list(attempts)
    while left:
        asking = {parents.get(each.run_id) for each in left}
        turn = [each for each in left if each.run_id not in asking] or left
        yield turn
        left = [each for each in left if each not in turn]
