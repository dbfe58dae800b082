"""What a turn does to its session, in its own transactions: takes it, leaves what was said, and is told what was said before."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from interlock import inference
from interlock.agents.sessions import compacting, windowing
from interlock.agents.sessions.compacting import Compaction
from interlock.agents.sessions.errors import (
    AgentChanged,
    InvalidSession,
    SessionBusy,
    SessionFull,
    SessionNotFound,
    SessionWentOn,
)
from interlock.agents.sessions.keeping import bounded, settled
from interlock.agents.sessions.model import MAX_TURNS, Exchange, Fate, Place, Session, Summary
from interlock.agents.sessions.records import Records
from interlock.agents.sessions.windowing import Window
from interlock.agents.spec import Conversation, Spec
from interlock.kernel import Caller, Clock, IdSource, Store, Tx, is_id

FateOf: TypeAlias = Callable[[Tx, str, str], Fate]
"""What has become of the run of a tenant's turn. One that is over holds its session no longer."""

MAX_TITLE: Final = 200
_TRIES: Final = 5


class Turning:
    """Everything raises StoreError besides what it names; SessionNotFound also for those that the caller may not see."""

    def __init__(self, store: Store, records: Records, *, clock: Clock, ids: IdSource, fate: FateOf) -> None:
        self._store = store
        self._records = records
        self._clock = clock
        self._ids = ids
        self._fate = fate

    def fetch_in(self, tx: Tx, caller: Caller, session_id: str) -> Session:
        """As `fetch`."""
        found = self._records.find(tx, caller.tenant_id, session_id) if is_id(session_id, "ags") else None
        if found is None or not caller.sees(f"agent.{found.agent_id}", None):
            raise SessionNotFound(session_id)
        return found

    def begin(
        self, tx: Tx, caller: Caller, session_id: str, *, turn_id: str, spec: Spec, accept: bool = False
    ) -> Session:
        """Give a turn the session: no other one begins before it is over, and has left what was said in it. Asked again for the
        same turn, it says the same. A spec that is not the last turn's takes an `accept`. Raises SessionNotFound, SessionBusy
        (`details.ended`: of a turn that has only to leave what was said), SessionFull, AgentChanged, InvalidSession."""
        found = self.fetch_in(tx, caller, session_id)
        if found.open_turn == turn_id:
            return found
        check_agent(found, spec)
        self._check_free(tx, found, turn_id)
        if found.open_turn is not None and self._fate(tx, found.tenant_id, found.open_turn) is Fate.ENDED:
            raise busy(found, ended=True)
        if found.head >= MAX_TURNS:
            raise SessionFull(f"the session has {found.head} turns, as many as one may have")
        if found.fingerprint != spec.fingerprint and not accept:
            raise AgentChanged(
                f"the agent {spec.id} has changed since the session's last turn: {found.fingerprint}, now {spec.fingerprint}",
                details={"before": found.fingerprint, "now": spec.fingerprint},
            )
        after = self._next(replace(found, open_turn=turn_id, fingerprint=spec.fingerprint))
        if not self._records.replace(tx, found, after):
            raise busy(found)
        return after

    def end(
        self,
        tx: Tx,
        tenant_id: str,
        session_id: str,
        *,
        turn_id: str,
        said: Sequence[inference.Message],
        failure: str | None = None,
    ) -> bool:
        """Keep what the turn said, and let the next one begin. False if the session is not that turn's, or no more: then nothing
        is written."""
        found = self._records.find(tx, tenant_id, session_id)
        if found is None or found.open_turn != turn_id:
            return False
        kept = bounded(settled(said))
        # While it is open, others may change its title, and nothing else.
        after = self._replaced(tx, found, lambda before: _ended(before, kept))
        self._records.add_exchange(tx, _left(found, after, kept, failure))
        return True

    def leave(self, tx: Tx, session: Session, *, said: Sequence[inference.Message], failure: str | None) -> bool:
        """As `end`, for a turn that another hand has ended: False also if the session is not as it was read."""
        kept = bounded(settled(said))
        after = self._next(_ended(session, kept))
        if not self._records.replace(tx, session, after):
            return False
        self._records.add_exchange(tx, _left(session, after, kept, failure))
        return True

    def retake(self, tx: Tx, tenant_id: str, session_id: str, *, turn_id: str) -> None:
        """A turn that had ended is to go on: it has the session as before, unless that has gone on without it. Raises
        SessionNotFound, SessionWentOn, SessionBusy."""
        found = self._records.find(tx, tenant_id, session_id)
        if found is None:
            raise SessionNotFound(session_id)
        if found.open_turn != turn_id:
            raise SessionWentOn(
                f"{session_id} has gone on since {turn_id} ended",
                details={"open_turn": found.open_turn},
                run_id=turn_id,
            )
        if not self._records.replace(tx, found, self._next(found)):  # so that none begins at the same moment
            raise busy(found)

    def told(self, tx: Tx, tenant_id: str, place: Place, conversation: Conversation) -> Window:
        """What a turn at that place is told of those before it: always the same. Raises SessionNotFound."""
        summary = None
        if place.summed_up:
            summary = self._records.find_summary(tx, tenant_id, place.session_id, place.summed_up)
        turns, most = conversation.turns, conversation.tokens
        sizes = self._records.list_sizes(
            tx, tenant_id, place.session_id, after=place.summed_up, upto=place.head, limit=turns
        )
        if (place.head > place.summed_up and not sizes) or (place.summed_up and summary is None):
            raise SessionNotFound(place.session_id)
        numbers = [each.number for each in windowing.chosen(sizes, turns=turns, most=most)]
        exchanges = self._records.list_exchanges(
            tx, tenant_id, place.session_id, after=min(numbers, default=place.head + 1) - 1, upto=place.head
        )
        return windowing.window(exchanges, turns=turns, most=most, summary=summary)

    def due(self, tx: Tx, session: Session, conversation: Conversation) -> Compaction | None:
        """What is to be summed up before the next turn is told anything, if the agent has that done."""
        if not conversation.compact:
            return None
        tenant_id, session_id = session.tenant_id, session.session_id
        limit = 2 * conversation.turns
        sizes = self._records.list_sizes(
            tx, tenant_id, session_id, after=session.summed_up, upto=session.head, limit=limit
        )
        upto = compacting.due(sizes, turns=conversation.turns, most=conversation.tokens)
        if upto is None:
            return None
        exchanges = self._records.list_exchanges(
            tx, tenant_id, session_id, after=max(session.summed_up, sizes[-1].number - 1), upto=upto
        )
        before = self._records.find_summary(tx, tenant_id, session_id, session.summed_up) if session.summed_up else None
        return Compaction(session=session, before=before, exchanges=exchanges, upto=upto)

    def summarise(self, tx: Tx, compaction: Compaction, *, text: str, run_id: str) -> Session:
        """Keep a summary; the turns that it covers stay where they are, and are told no more. Raises SessionNotFound."""
        session = compaction.session
        made = Summary(
            session_id=session.session_id,
            tenant_id=session.tenant_id,
            upto=compaction.upto,
            text=text,
            run_id=run_id,
            at=self._clock.now(),
        )
        found = self._records.find(tx, session.tenant_id, session.session_id)
        if found is None:
            raise SessionNotFound(session.session_id)
        self._records.add_summary(tx, made)  # one that is there already was made of the same
        return self._replaced(tx, found, lambda each: replace(each, summed_up=max(each.summed_up, made.upto)))

    def _replaced(self, tx: Tx, before: Session, change: Callable[[Session], Session]) -> Session:
        for _ in range(_TRIES):
            after = self._next(change(before))
            if self._records.replace(tx, before, after):
                return after
            found = self._records.find(tx, before.tenant_id, before.session_id)
            if found is None:
                raise SessionNotFound(before.session_id)
            before = found
        raise busy(before)

    def _next(self, session: Session) -> Session:
        return replace(session, revision=session.revision + 1, updated_at=self._clock.now())

    def _check_free(self, tx: Tx, session: Session, turn_id: str | None) -> None:
        holder = session.open_turn
        if holder not in (None, turn_id) and self._fate(tx, session.tenant_id, holder) is Fate.OPEN:
            raise busy(session)


def check_agent(session: Session, spec: Spec) -> None:
    """Raises InvalidSession for a conversation with another agent."""
    if session.agent_id != spec.id:
        raise InvalidSession(f"the session is one with the agent {session.agent_id}, not {spec.id}")


def _ended(session: Session, said: Sequence[inference.Message]) -> Session:
    return replace(session, open_turn=None, head=session.head + 1, title=session.title or begun_with(said))


def _left(before: Session, after: Session, said: tuple[inference.Message, ...], failure: str | None) -> Exchange:
    assert before.open_turn is not None
    return Exchange(
        session_id=before.session_id,
        tenant_id=before.tenant_id,
        number=after.head,
        turn_id=before.open_turn,
        fingerprint=before.fingerprint,
        failure=failure,
        said=said,
        tokens=sum(map(windowing.tokens, said)),
        at=after.updated_at,
    )


def begun_with(said: Sequence[inference.Message]) -> str | None:
    """A title: what the user began with."""
    words = " ".join(said[0].text[: 2 * MAX_TITLE].split()) if said else ""
    shown = "".join(each if each.isprintable() else "?" for each in words)
    return shown[:80] or None


def busy(session: Session, *, ended: bool = False) -> SessionBusy:
    """The error that another turn is under way."""
    run = "" if session.open_turn is None else f": {session.open_turn}"
    details = {"run_id": session.open_turn, "ended": ended}
    return SessionBusy(f"another turn of {session.session_id} is under way{run}", details=details)
