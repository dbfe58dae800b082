"""A tenant's sessions: begun, gone on with, listed, forked, deleted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from interlock import inference
from interlock.agents.sessions import compacting, windowing
from interlock.agents.sessions.compacting import Compaction
from interlock.agents.sessions.errors import AgentChanged, InvalidSession, SessionBusy, SessionFull, SessionNotFound
from interlock.agents.sessions.keeping import bounded, settled
from interlock.agents.sessions.model import MAX_TURNS, Exchange, Place, Session, Summary
from interlock.agents.sessions.records import Query, Records
from interlock.agents.sessions.windowing import Window
from interlock.agents.spec import Conversation, Spec
from interlock.kernel import JSON, Caller, Clock, IdSource, JsonLimits, RequestError, Store, Tx, check_json, is_id

IsOver: TypeAlias = Callable[[Tx, str, str], bool]
"""Whether the run of a tenant's turn has ended, or is no more: it holds its session no longer, though nobody could say so."""

MOST: Final = 500
MAX_TITLE: Final = 200
METADATA: Final = JsonLimits(max_bytes=16_384, max_depth=8, max_nodes=1000)
_TRIES: Final = 5


class Sessions:
    """Everything raises StoreError besides what it names; SessionNotFound also for those that the caller may not see."""

    def __init__(self, store: Store, records: Records, *, clock: Clock, ids: IdSource, is_over: IsOver) -> None:
        self._store = store
        self._records = records
        self._clock = clock
        self._ids = ids
        self._is_over = is_over

    async def create(
        self, caller: Caller, spec: Spec, *, title: str | None = None, metadata: Mapping[str, JSON] | None = None
    ) -> Session:
        """Begin a conversation with an agent. Raises InvalidSession, InvalidJson."""
        _check(title, metadata)
        now = self._clock.now()
        made = Session(
            session_id=self._ids.new("ags"),
            tenant_id=caller.tenant_id,
            agent_id=spec.id,
            fingerprint=spec.fingerprint,
            title=title,
            metadata=metadata or {},
            created_by=caller.actor,
            created_at=now,
            updated_at=now,
        )
        await self._store.write(lambda tx: self._records.insert(tx, made))
        return made

    async def fetch(self, caller: Caller, session_id: str) -> Session:
        """The session. Raises SessionNotFound."""
        return await self._store.read(lambda tx: self.fetch_in(tx, caller, session_id))

    async def list_sessions(
        self, caller: Caller, *, agent_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Sequence[Session]:
        """The tenant's, newest first, after the one whose id is `cursor`. Raises RequestError."""
        if not 1 <= limit <= MOST:
            raise RequestError(f"limit must be 1 to {MOST}, not {limit}")
        seen = _seen(caller)
        if agent_id is not None:
            seen = frozenset({agent_id}) if seen is None else seen & {agent_id}
        query = Query(tenant_id=caller.tenant_id, agent_ids=seen, cursor=cursor, limit=limit)
        return await self._store.read(lambda tx: self._records.list_sessions(tx, query))

    async def list_exchanges(
        self, caller: Caller, session_id: str, *, after: int = 0, limit: int = 50
    ) -> Sequence[Exchange]:
        """What the turns of a session left, in order, from the one after `after` on. Raises SessionNotFound, RequestError."""
        if not 1 <= limit <= MOST:
            raise RequestError(f"limit must be 1 to {MOST}, not {limit}")

        def read(tx: Tx) -> Sequence[Exchange]:
            found = self.fetch_in(tx, caller, session_id)
            upto = min(found.head, after + limit)
            return self._records.list_exchanges(tx, found.tenant_id, session_id, after=after, upto=upto)

        return await self._store.read(read)

    async def change(
        self, caller: Caller, session_id: str, *, title: str | None = None, metadata: Mapping[str, JSON] | None = None
    ) -> Session:
        """Give it another title or other metadata; None leaves them. Raises SessionNotFound, InvalidSession, InvalidJson."""
        _check(title, metadata)

        def changed(before: Session) -> Session:
            kept = before.metadata if metadata is None else metadata
            return replace(before, title=before.title if title is None else title, metadata=kept)

        return await self._store.write(lambda tx: self._replaced(tx, self.fetch_in(tx, caller, session_id), changed))

    async def fork(
        self, caller: Caller, session_id: str, *, at: int | None = None, title: str | None = None
    ) -> Session:
        """Another session that has gone the same way up to and with the turn `at` (None: the last that has ended), and goes its
        own from there. Raises SessionNotFound, InvalidSession."""
        _check(title, None)
        now = self._clock.now()
        new_id = self._ids.new("ags")

        def forked(tx: Tx) -> Session:
            found = self.fetch_in(tx, caller, session_id)
            head = found.head if at is None else at
            if not 0 <= head <= found.head:
                raise InvalidSession(f"the session has {found.head} turns; it cannot be forked at {head}")
            made = replace(
                found,
                session_id=new_id,
                title=found.title if title is None else title,
                head=head,
                summed_up=found.summed_up if found.summed_up <= head else 0,
                open_turn=None,
                revision=0,
                forked_from=found.session_id,
                forked_at=head,
                created_by=caller.actor,
                created_at=now,
                updated_at=now,
            )
            self._records.insert(tx, made)
            self._records.copy(tx, found, made)
            return made

        return await self._store.write(forked)

    async def begin_with(
        self,
        caller: Caller,
        *,
        agent_id: str,
        fingerprint: str,
        turn_id: str,
        said: Sequence[inference.Message],
        title: str | None = None,
    ) -> Session:
        """A session in which that was said already, in a turn that was another's. Raises InvalidSession."""
        _check(title, None)
        now, kept = self._clock.now(), bounded(settled(said))
        made = Session(
            session_id=self._ids.new("ags"),
            tenant_id=caller.tenant_id,
            agent_id=agent_id,
            fingerprint=fingerprint,
            title=title or _title(kept),
            metadata={},
            head=1,
            created_by=caller.actor,
            created_at=now,
            updated_at=now,
        )
        left = Exchange(
            session_id=made.session_id,
            tenant_id=caller.tenant_id,
            number=1,
            turn_id=turn_id,
            fingerprint=fingerprint,
            failure=None,
            said=kept,
            tokens=sum(map(windowing.tokens, kept)),
            at=now,
        )

        def begin(tx: Tx) -> None:
            self._records.insert(tx, made)
            self._records.add_exchange(tx, left)

        await self._store.write(begin)
        return made

    async def delete(self, caller: Caller, session_id: str) -> Session:
        """Keep it no more, nor what was said in it; the runs of its turns stay. Raises SessionNotFound, SessionBusy."""

        def delete(tx: Tx) -> Session:
            found = self.fetch_in(tx, caller, session_id)
            self._check_free(tx, found, None)
            if not self._records.delete(tx, found):
                raise _busy(found)
            return found

        return await self._store.write(delete)

    # What a turn does, in its own transactions.

    def fetch_in(self, tx: Tx, caller: Caller, session_id: str) -> Session:
        """As `fetch`."""
        found = self._records.find(tx, caller.tenant_id, session_id) if is_id(session_id, "ags") else None
        if found is None or not caller.sees(f"agent.{found.agent_id}", None):
            raise SessionNotFound(session_id)
        return found

    def begin(
        self, tx: Tx, caller: Caller, session_id: str, *, turn_id: str, spec: Spec, accept: bool = False
    ) -> Session:
        """Give a turn the session: no other one begins before it is over. Asked again for the same turn, it says the same. A spec
        that is not the last turn's takes an `accept`. Raises SessionNotFound, SessionBusy, SessionFull, AgentChanged,
        InvalidSession."""
        found = self.fetch_in(tx, caller, session_id)
        if found.open_turn == turn_id:
            return found
        if found.agent_id != spec.id:
            raise InvalidSession(f"the session is one with the agent {found.agent_id}, not {spec.id}")
        self._check_free(tx, found, turn_id)
        if found.head >= MAX_TURNS:
            raise SessionFull(f"the session has {found.head} turns, as many as one may have")
        if found.fingerprint != spec.fingerprint and not accept:
            raise AgentChanged(
                f"the agent {spec.id} has changed since the session's last turn: {found.fingerprint}, now {spec.fingerprint}",
                details={"before": found.fingerprint, "now": spec.fingerprint},
            )
        after = self._next(replace(found, open_turn=turn_id, fingerprint=spec.fingerprint))
        if not self._records.replace(tx, found, after):
            raise _busy(found)
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

        def ended(before: Session) -> Session:
            title = before.title or _title(kept)
            return replace(before, open_turn=None, head=before.head + 1, title=title)

        after = self._replaced(tx, found, ended)  # while it is open, others may change its title, and nothing else
        left = Exchange(
            session_id=session_id,
            tenant_id=tenant_id,
            number=after.head,
            turn_id=turn_id,
            fingerprint=found.fingerprint,
            failure=failure,
            said=kept,
            tokens=sum(map(windowing.tokens, kept)),
            at=after.updated_at,
        )
        self._records.add_exchange(tx, left)
        return True

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
        raise _busy(before)

    def _next(self, session: Session) -> Session:
        return replace(session, revision=session.revision + 1, updated_at=self._clock.now())

    def _check_free(self, tx: Tx, session: Session, turn_id: str | None) -> None:
        holder = session.open_turn
        if holder not in (None, turn_id) and not self._is_over(tx, session.tenant_id, holder):
            raise _busy(session)


def _busy(session: Session) -> SessionBusy:
    run = "" if session.open_turn is None else f": {session.open_turn}"
    return SessionBusy(f"another turn of {session.session_id} is under way{run}", details={"run_id": session.open_turn})


def _seen(caller: Caller) -> frozenset[str] | None:
    """The agents whose sessions a caller sees; None: all."""
    if caller.capabilities is None or "agent.*" in caller.capabilities:
        return None
    return frozenset(each.removeprefix("agent.") for each in caller.capabilities if each.startswith("agent."))


def _check(title: str | None, metadata: Mapping[str, JSON] | None) -> None:
    if title is not None and (not 0 < len(title) <= MAX_TITLE or not title.isprintable()):
        raise InvalidSession(f"a title is 1 to {MAX_TITLE} printable characters, not {title[:50]!r}")
    check_json(dict(metadata or {}), limits=METADATA, what="metadata")


def _title(said: Sequence[inference.Message]) -> str | None:
    """What the user began with."""
    words = " ".join(said[0].text[: 2 * MAX_TITLE].split()) if said else ""
    shown = "".join(each if each.isprintable() else "?" for each in words)
    return shown[:80] or None
