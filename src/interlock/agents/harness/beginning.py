"""What a turn is told of those before it, as it begins: its place in its session, the older part summed up first where the spec
wants that."""

import logging

from interlock import runs
from interlock.agents import sessions
from interlock.agents.harness.asking import Asked
from interlock.agents.harness.journal import Past
from interlock.agents.harness.means import Means
from interlock.agents.harness.performing import OURS
from interlock.agents.harness.spending import Spending, ask_beside
from interlock.agents.spec import Conversation
from interlock.kernel import InterlockError, Tx

_log = logging.getLogger(__name__)


async def past_of(means: Means, working: runs.Working, asked: Asked, spending: Spending) -> Past:
    """What was said before the turn. Raises what ends the attempt and not the turn."""
    if (session_id := asked.session_id) is None:
        return Past()
    caller, conversation, store = working.caller, asked.spec.runtime_defaults.conversation, means.wiring.store

    def due(tx: Tx) -> sessions.Compaction | None:
        return means.sessions.due(tx, means.sessions.fetch_in(tx, caller, session_id), conversation)

    if conversation.compact and (compaction := await store.read(due)) is not None:
        await _sum_up(means, working, asked, compaction, spending)

    return await store.read(
        lambda tx: told_in(means, tx, means.sessions.fetch_in(tx, caller, session_id), conversation)
    )


def told_in(means: Means, tx: Tx, session: sessions.Session, conversation: Conversation) -> Past:
    """What the next turn of a session is told, as the session stands. Raises SessionNotFound."""
    place = sessions.Place(session_id=session.session_id, head=session.head, summed_up=session.summed_up)
    told = means.sessions.told(tx, session.tenant_id, place, conversation)
    return Past(place=place, conversation=told.messages)


async def _sum_up(
    means: Means, working: runs.Working, asked: Asked, compaction: sessions.Compaction, spending: Spending
) -> None:
    """Without a summary the older part is left out, and the turn goes on all the same."""
    run = working.journal.run
    try:
        answered = await ask_beside(
            means,
            spending,
            working.caller,
            run,
            sessions.request(asked.spec, compaction),
            key=compaction.key,
            timeout_s=asked.spec.runtime_defaults.model_timeout_s,
        )
    except OURS:
        raise
    except InterlockError as error:
        _log.warning("%s was not summed up: %s", compaction.session.session_id, error)
        return
    if (text := sessions.summed_up(answered.answer)) is not None:
        await means.wiring.store.write(
            lambda tx: means.sessions.summarise(tx, compaction, text=text, run_id=answered.run_id)
        )
