"""What a person can do to a run: cancel it, or settle what nobody could find out."""

from enum import StrEnum

from interlock import approvals
from interlock.kernel import JSON, Caller, Tx
from interlock.runs import entries, rebuilding, transitions, waking, withdrawing
from interlock.runs.beginning import begin_again
from interlock.runs.doubt import last_left, writes_in_doubt
from interlock.runs.entries import Entry
from interlock.runs.errors import AttemptLost, NotCancellable, NotHappened, RunNotWaiting, StaleRun, of_run
from interlock.runs.execution import Doubt, Execution
from interlock.runs.journal import AGAIN_REQUESTED, CANCEL_REQUESTED, READ_REQUESTED, SETTLED, Move, Records
from interlock.runs.model import Run, State
from interlock.runs.preparing import GOES_ON, check_actor, judge, prepare
from interlock.runs.reading import GIVEN_UP, Reading
from interlock.runs.sandboxing import confined
from interlock.runs.wiring import Wiring


class Seen(StrEnum):
    """What a person saw at the service."""

    HAPPENED = "happened"
    NOT_HAPPENED = "not_happened"


class Steering:
    """Cancels and settles runs."""

    def __init__(self, wiring: Wiring, reading: Reading, execution: Execution) -> None:
        self._wiring = wiring
        self._reading = reading
        self._execution = execution

    async def cancel(self, caller: Caller, run_id: str, *, reason: str = "") -> Run:
        """Stop a run. One that is not at work ends at once. One that is at work stops before its next send: what has
        left cannot be called back. One that waits is given up: whether it happened stays unknown. Raises RunNotFound,
        NotCancellable."""
        while True:
            run = await self._reading.fetch(caller, run_id)
            if run.state in transitions.FINAL:
                raise NotCancellable(f"{run_id} has ended already: {run.state}", run_id=run_id)
            try:
                return await self._cancel(caller, run, reason)
            except StaleRun:
                # It went on meanwhile: what it has become decides.
                if (await self._reading.fetch(caller, run_id)).state is run.state:
                    raise

    async def _cancel(self, caller: Caller, run: Run, reason: str) -> Run:
        await check_actor(self._wiring, caller, run)
        journal, at = self._wiring.journal(run), self._wiring.clock.now()
        data: dict[str, JSON] = {"by": caller.actor, "reason": reason[:500]}
        if run.state is State.RUNNING:
            await journal.write([(CANCEL_REQUESTED, data)], at=at)
            return journal.run
        if run.state is State.WAITING:

            def give_up(tx: Tx) -> None:
                self._wiring.handed.moved(tx, run, State.CANCELLED, GIVEN_UP)
                withdrawing.withdraw_below(tx, self._wiring, run)

            await journal.write(
                [(CANCEL_REQUESTED, data)],
                at=at,
                move=Move(state=State.CANCELLED, reason=GIVEN_UP, error=run.error),
                beside=give_up,
            )
            return journal.run
        gone: list[approvals.Approval] = []

        def drop(tx: Tx) -> None:
            desk = self._wiring.approvals
            self._wiring.handed.moved(tx, run, State.CANCELLED, "cancelled")
            asked = {run.approval_id} if run.approval_id is not None else set[str]()
            asked |= {each.approval_id for each in desk.list_for_run(tx, tenant_id=run.tenant_id, run_id=run.run_id)}
            ended = (
                desk.cancel(tx, tenant_id=run.tenant_id, approval_id=each, reason="run_cancelled")
                for each in sorted(asked)
            )
            gone[:] = [each for each in ended if each is not None]
            withdrawing.withdraw_below(tx, self._wiring, run)
            waking.note_parent(tx, self._wiring, run)

        def told() -> list[Entry]:
            return [(CANCEL_REQUESTED, data), *map(entries.approval_moved, gone)]

        def move() -> Move:
            last = gone[-1].approval_id if gone else None
            return Move(state=State.CANCELLED, reason="cancelled", approval_id=last)

        await journal.write(told, at=at, move=move, beside=drop)
        return journal.run

    async def settle(self, caller: Caller, run_id: str, *, seen: Seen | None = None, note: str = "") -> Run:
        """Settle a run whose outcome is unknown: by what a person saw, or, without that, by reading once more. A script is
        run once more instead, and finds what its actions did before.

        What a person says counts like an approval, and takes the same role. Raises RunNotFound, RunNotWaiting,
        approvals.RoleMissing, UnknownOutcome if reading still cannot tell, and ActionHeld.
        """
        run = await self._reading.fetch(caller, run_id)
        if run.state is not State.WAITING:
            raise RunNotWaiting(f"{run_id} is {run.state}; only a waiting run can be settled", run_id=run_id)
        if waking.is_turn(run):
            raise RunNotWaiting(
                f"{run_id} is a turn of an agent; what became of its calls is said of each",
                next_step=f"`interlock agent inspect {run_id}` shows them; settle each: `interlock agent settle`.",
                run_id=run_id,
            )
        await check_actor(self._wiring, caller, run)
        if seen is None:
            return await self._read_again(caller, run)
        role = self._wiring.policy.reviewer
        if role not in caller.roles:
            raise approvals.RoleMissing(
                f"saying what became of {run_id} takes the role {role!r}", details={"role": role}, run_id=run_id
            )
        journal = self._wiring.journal(run)
        happened, handed = seen is Seen.HAPPENED, self._wiring.handed
        # What workers carry out fails for good only by somebody's word: until then it is a dead letter.
        undone = State.DEAD if await self._wiring.store.read(lambda tx: handed.knows(tx, run)) else State.FAILED
        state = State.COMPLETED if happened else undone
        absent = NotHappened(
            f"{caller.actor} saw that {run.capability} did not happen" + (f": {note[:500]}" if note else ""),
            run_id=run_id,
            details={"effect": "not_happened", "cause": run.error},
        )
        await journal.write(
            [(SETTLED, {"by": caller.actor, "note": note[:500], "seen": seen.value})],
            at=self._wiring.clock.now(),
            move=Move(
                state=state,
                reason="settled_by_person",
                error=None if happened else absent.to_json(),
            ),
            beside=lambda tx: handed.moved(tx, run, state, "settled_by_person"),
        )
        return journal.run

    async def _read_again(self, caller: Caller, run: Run) -> Run:
        wiring, run_id = self._wiring, run.run_id
        history = await self._reading.fetch_history(caller, run_id)
        requester, request = rebuilding.asked(run, history.decisions[-1])
        capability = await wiring.catalog.fetch_for(run.tenant_id, run.capability)
        rebuilding.same_contract(run, history.decisions[-1], capability)
        call = await prepare(self._wiring, requester, request, capability)
        verdict, _ = await judge(self._wiring, call)
        with of_run(run_id):
            call = confined(call, verdict, wiring)
        doubtful = writes_in_doubt(history.sends, capability.operation)
        # A script goes on by being run again, if policy still lets it.
        again = call.operation.script is not None and verdict.effect in GOES_ON
        doubt = Doubt(
            cause=AttemptLost("the outcome of an earlier attempt is unknown", run_id=run_id),
            written_at=last_left(history, doubtful, wiring.clock.now()) if doubtful else run.created_at,
            may_send=again,
        )
        journal, following = self._wiring.journal(run), await self._wiring.handed.following(run)
        with wiring.ownership.working(run_id), of_run(run_id):
            begun, facts = await begin_again(
                wiring,
                call,
                journal,
                history.sends,
                told=[(AGAIN_REQUESTED if again else READ_REQUESTED, {"by": caller.actor})],
                records=Records(),
                at=wiring.clock.now(),
                send_first=False,
            )
            ending = await self._execution.run(call, journal, begun, facts, doubt=doubt, following=following)
        if ending.error is not None and ending.effect == "unknown":
            raise ending.error
        return journal.run
