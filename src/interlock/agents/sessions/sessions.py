"""A tenant's sessions: begun, gone on with, listed, forked, deleted."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from interlock import inference
from interlock.agents.sessions import windowing
from interlock.agents.sessions.errors import InvalidSession
from interlock.agents.sessions.keeping import bounded, settled
from interlock.agents.sessions.model import Exchange, Session
from interlock.agents.sessions.records import Query
from interlock.agents.sessions.turning import MAX_TITLE, Turning, begun_with, busy
from interlock.agents.spec import Spec
from interlock.kernel import JSON, Caller, JsonLimits, RequestError, Tx, check_json

MOST: Final = 500
METADATA: Final = JsonLimits(max_bytes=16_384, max_depth=8, max_nodes=1000)


class Sessions(Turning):
    """Everything raises StoreError besides what it names; SessionNotFound also for those that the caller may not see."""

    async def create(
        self, caller: Caller, spec: Spec, *, title: str | None = None, metadata: Mapping[str, JSON] | None = None
    ) -> Session:
        """Begin a conversation with an agent. Raises InvalidSession, InvalidJson, and RequestError for who may not ask it."""
        _check(title, metadata)
        _check_may_ask(caller, spec.id)
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
        """A session in which that was said already, in a turn that was another's. Raises InvalidSession, RequestError."""
        _check(title, None)
        _check_may_ask(caller, agent_id)
        now, kept = self._clock.now(), bounded(settled(said))
        made = Session(
            session_id=self._ids.new("ags"),
            tenant_id=caller.tenant_id,
            agent_id=agent_id,
            fingerprint=fingerprint,
            title=title or begun_with(kept),
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
                raise busy(found)
            return found

        return await self._store.write(delete)


def _seen(caller: Caller) -> frozenset[str] | None:
    """The agents whose sessions a caller sees; None: all."""
    if caller.capabilities is None or "agent.*" in caller.capabilities:
        return None
    return frozenset(each.removeprefix("agent.") for each in caller.capabilities if each.startswith("agent."))


def _check_may_ask(caller: Caller, agent_id: str) -> None:
    if not caller.sees(f"agent.{agent_id}", None):
        raise RequestError(f"{caller.actor} may not ask for agent.{agent_id}", next_step="Use a token that allows it.")


def _check(title: str | None, metadata: Mapping[str, JSON] | None) -> None:
    if title is not None and (not 0 < len(title) <= MAX_TITLE or not title.isprintable()):
        raise InvalidSession(f"a title is 1 to {MAX_TITLE} printable characters, not {title[:50]!r}")
    check_json(dict(metadata or {}), limits=METADATA, what="metadata")
