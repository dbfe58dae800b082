"""What turns leave in their sessions. One that ends at work leaves it as it ends; what one leaves that another hand has ended (it
was cancelled while it waited, given up, or is a dead letter) is found again from its journal as soon as anybody comes to the
session: once, whoever comes first."""

import logging
from typing import Final

from interlock import inference, runs
from interlock.agents import sessions, turns
from interlock.agents.errors import UnreadableJournal
from interlock.agents.harness.asking import asked_for
from interlock.agents.harness.looking import Looks, replayed
from interlock.agents.spec import Spec
from interlock.kernel import Caller, Tx

_TRIES: Final = 5

_log = logging.getLogger(__name__)


def left(spec: Spec | None, state: turns.State) -> tuple[inference.Message, ...]:
    """What of a turn those after it are told: no input that its controls have not let in. The controls of what comes out judge
    the answer alone; where there are such, nothing else of what the model said is told but what it asked for. Of an agent whose
    spec nobody here has (None), there may be such of all kinds."""
    if state.round == 0 and (spec is None or spec.controls.inputs):
        return ()
    if spec is not None and not spec.controls.outputs:
        return state.said
    answered = state.phase is turns.Phase.FINISHED
    between = state.said[1:-1] if answered else state.said[1:]
    told = [_asked_for(each) for each in between if each.role is not inference.Role.USER]
    return (*state.said[:1], *(each for each in told if each.parts), *(state.said[-1:] if answered else ()))


def _asked_for(message: inference.Message) -> inference.Message:
    if message.role is not inference.Role.MODEL:
        return message
    return message.model_copy(update={"parts": message.calls})


async def catch_up(looks: Looks, caller: Caller, session_id: str, *, dead: bool = False) -> None:
    """Have the turn that holds a session leave what was said in it, if it has ended and has not. `dead`: also one that is a dead
    letter; nobody replays it then. Raises SessionNotFound, StoreError."""
    for _ in range(_TRIES):
        session = await looks.sessions.fetch(caller, session_id)
        if session.open_turn is None or await _caught_up(looks, session, session.open_turn, dead=dead):
            return


async def _caught_up(looks: Looks, session: sessions.Session, run_id: str, *, dead: bool) -> bool:
    """False: it has moved meanwhile."""
    wiring, tenant_id = looks.wiring, session.tenant_id
    run = await wiring.store.read(lambda tx: wiring.ledger.find_run(tx, tenant_id, run_id))
    if run is None or run.state not in runs.FINAL or (run.state is runs.State.DEAD and not dead):
        return True
    try:
        state = (await replayed(looks, run)).state
        failure = run.state.value if state.failure is None else state.failure.code
        said = left(asked_for(run).spec, state)
    except UnreadableJournal as error:
        _log.warning("nothing of %s is told in %s: %s", run_id, session.session_id, error)
        said, failure = (), error.code

    def leave(tx: Tx) -> bool:
        now = wiring.ledger.find_run(tx, tenant_id, run_id)
        over = now is not None and now.head_hash == run.head_hash
        return over and looks.sessions.leave(tx, session, said=said, failure=failure)

    return await wiring.store.write(leave)
