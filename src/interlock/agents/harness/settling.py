"""What a person says became of an operation of which nobody can tell: written down once, whoever else says it meanwhile."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar, cast

from interlock import approvals, dispatch, runs
from interlock.agents import turns
from interlock.agents.harness import journal, looking, sheets
from interlock.agents.harness.asking import asked_for, plan_of
from interlock.agents.harness.journal import PREFIX
from interlock.agents.harness.means import Means
from interlock.agents.harness.sheets import Sheet
from interlock.agents.harness.spending import OPERATION_CALLS, holder_of
from interlock.kernel import Caller, ConflictError, RequestError, Tx

T = TypeVar("T")

_TRIES: Final = 20
"""How often it is looked at again because somebody else has written to the journal in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What somebody says of a call: it happened, and `text` came of it, or it did not."""

    call_id: str
    happened: bool
    text: str
    note: str


async def settle(means: Means, docket: dispatch.Docket, caller: Caller, run: runs.Run, said: Said) -> None:
    """Write it down; once nothing is unclear any more the turn goes on, by a worker if it was left to them. Raises RunNotWaiting,
    RequestError, RoleMissing."""
    for _ in range(_TRIES):
        check(means, caller, run, said)
        sheet = await looking.replayed(means, run)
        doubtful = [each for each in sheet.wanted if isinstance(each, turns.Perform) and each.key in sheet.intended]
        intent = chosen(run, said, {each.call_id: each for each in doubtful})
        told = _told(caller, run, sheet, intent, said)

        def spent(tx: Tx, run: runs.Run = run, key: str = intent.key) -> None:
            amounts = {OPERATION_CALLS: int(said.happened)}  # what was not done is reserved anew before it is
            means.wiring.budgets.settle_in(tx, tenant_id=run.tenant_id, holder=holder_of(run, key), amounts=amounts)

        try:
            return await written(means, docket, run, told, left=len(doubtful) > 1, beside=spent)
        except (runs.StaleRun, ConflictError):
            run = await means.reading.fetch(caller, run.run_id)
    raise runs.StaleRun(f"{run.run_id} is being written by too many hands", run_id=run.run_id)


def check(means: Means, caller: Caller, run: runs.Run, said: Said) -> None:
    """Raises RunNotWaiting, RoleMissing, and RequestError for more than a model is shown."""
    if run.state is not runs.State.WAITING:
        raise runs.RunNotWaiting(f"{run.run_id} is {run.state}; only a waiting turn can be settled", run_id=run.run_id)
    role = means.wiring.policy.reviewer
    if role not in caller.roles:
        raise approvals.RoleMissing(
            f"saying what became of {said.call_id} takes the role {role!r}", details={"role": role}, run_id=run.run_id
        )
    if said.happened and len(said.text) > turns.MAX_OUTCOME:
        raise RequestError(
            f"what came of {said.call_id} has {len(said.text)} characters, and a model is shown {turns.MAX_OUTCOME}",
            next_step="Say the part of it that the model needs.",
            run_id=run.run_id,
        )


def _told(caller: Caller, run: runs.Run, sheet: Sheet, intent: turns.Perform, said: Said) -> Sequence[runs.Entry]:
    settled = journal.settled(intent, by=caller.actor, happened=said.happened, note=said.note[:500])
    if not said.happened:
        return [settled]
    event = cast("turns.Performed", journal.fitting(turns.Performed(call_id=said.call_id, text=said.text)))
    sheets.after(plan_of(asked_for(run).spec), sheet, event)
    return [settled, journal.told(event, key=intent.key)]


def chosen(run: runs.Run, said: Said, doubtful: Mapping[str, T]) -> T:
    """The one of those that are unclear, by their calls, that is meant. Raises RequestError."""
    if said.call_id not in doubtful:
        known = ", ".join(doubtful) or "none"
        raise RequestError(f"nothing is unclear of a call {said.call_id[:60]!r}; there are: {known}", run_id=run.run_id)
    return doubtful[said.call_id]


async def written(
    means: Means,
    docket: dispatch.Docket,
    run: runs.Run,
    told: Sequence[runs.Entry],
    *,
    left: bool,
    prefix: str = PREFIX,
    beside: Callable[[Tx], None] = lambda _: None,
) -> None:
    """Write down what was said, in the turn's journal (events that begin with `prefix`); the turn goes on unless something is
    `left`. Raises ConflictError or StaleRun if it went on since the run was read."""
    wiring = means.wiring

    def checked(tx: Tx) -> None:
        since = wiring.ledger.list_events(tx, run.tenant_id, run.run_id, after_seq=run.head_seq)
        if any(each.type.startswith(prefix) for each in since):
            raise ConflictError(f"{run.run_id} went on meanwhile", run_id=run.run_id)
        beside(tx)
        if not left:
            docket.released(tx, run)

    move = None if left else runs.Move(state=runs.State.QUEUED, reason="settled_by_person")
    await wiring.journal(run).write(told, at=wiring.clock.now(), move=move, beside=checked)
