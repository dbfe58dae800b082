"""`il.agent_sessions`: conversations with agents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.app.arguments import checked
from interlock.app.conversations import furnish
from interlock.kernel import JSON, Caller

if TYPE_CHECKING:  # and late in the functions: most commands need none of them
    from interlock import agents, runs
    from interlock.app.assembly import Parts


@dataclass(frozen=True, kw_only=True)
class _Looks:
    """What it takes to look at turns, without what it takes to take them."""

    wiring: "runs.Wiring"
    reading: "runs.Reading"
    sessions: "agents.sessions.Sessions"


class AgentSessions:
    """Conversations of this tenant with agents."""

    def __init__(self, parts: "Parts", caller: Caller) -> None:
        self._parts = parts
        self._caller = caller

    @property
    def _room(self) -> "agents.sessions.Sessions":
        return furnish(self._parts.wiring)

    async def _catch_up(self, session_id: str) -> None:
        """What a turn said that was ended while nobody was at it is found in its journal."""
        from interlock import agents

        looks = _Looks(wiring=self._parts.wiring, reading=self._parts.reading, sessions=self._room)
        await agents.harness.catch_up(looks, self._caller, session_id)

    @checked
    async def create(
        self, spec: "agents.Spec", *, title: str | None = None, metadata: Mapping[str, JSON] | None = None
    ) -> "agents.sessions.Session":
        """Begin a conversation with an agent. Raises InvalidSession."""
        return await self._room.create(self._caller, spec, title=title, metadata=metadata)

    @checked
    async def fetch(self, session_id: str) -> "agents.sessions.Session":
        """One session. Raises SessionNotFound."""
        await self._catch_up(session_id)
        return await self._room.fetch(self._caller, session_id)

    @checked
    async def list(
        self, *, agent_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> "Sequence[agents.sessions.Session]":
        """Sessions of this tenant, newest first, of all agents or of one; go on with `cursor` = the last one's id."""
        return await self._room.list_sessions(self._caller, agent_id=agent_id, cursor=cursor, limit=limit)

    @checked
    async def turns(self, session_id: str, *, after: int = 0, limit: int = 50) -> "Sequence[agents.sessions.Exchange]":
        """What the turns of a session left, in order; go on with `after` = the last one's number. Raises SessionNotFound."""
        await self._catch_up(session_id)
        return await self._room.list_exchanges(self._caller, session_id, after=after, limit=limit)

    @checked
    async def change(
        self, session_id: str, *, title: str | None = None, metadata: Mapping[str, JSON] | None = None
    ) -> "agents.sessions.Session":
        """Give it another title or other metadata; None leaves them. Raises SessionNotFound, InvalidSession."""
        return await self._room.change(self._caller, session_id, title=title, metadata=metadata)

    @checked
    async def fork(
        self, session_id: str, *, turn: int | None = None, title: str | None = None
    ) -> "agents.sessions.Session":
        """Another session that has gone the same way up to and with that turn (None: the last that has ended). Raises
        SessionNotFound, InvalidSession."""
        await self._catch_up(session_id)
        return await self._room.fork(self._caller, session_id, at=turn, title=title)

    @checked
    async def delete(self, session_id: str) -> "agents.sessions.Session":
        """Keep it no more, nor what was said in it; the runs of its turns stay. Raises SessionNotFound, SessionBusy."""
        return await self._room.delete(self._caller, session_id)
