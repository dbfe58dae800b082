"""The agents of a server, and conversations with them."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import orjson
from pydantic import BaseModel

from interlock.client.errors import AnswerLost
from interlock.client.link import Link, members, part, reading, rows, value
from interlock.kernel import JSON, from_rfc3339, read_document

if TYPE_CHECKING:  # and late in the functions: whoever asks no agent needs none of it
    from interlock import agents


M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which agent of a server is meant: one that its settings name, or a spec of one's own as JSON, for which it takes an
    operator's token; `model` is asked instead of the spec's."""

    agent: str | None = None
    spec: Mapping[str, JSON] | None = None
    model: str | None = None

    def to_json(self) -> dict[str, JSON]:
        """As a request says it."""
        return {"agent": self.agent, "spec": self.spec, "model": self.model}


class Agents:
    """As `app.Agents`. Turns are taken at the server, and go on there if nobody listens any more."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def run(self, spec: Asked, text: str, **options: Any) -> "agents.harness.Turn":
        """As `app.Agents.run`."""
        async with aclosing(self.stream(spec, text, **options)) as told:
            return (await _last(told)).check()

    async def submit(self, spec: Asked, text: str, **options: Any) -> "agents.harness.Turn":
        """As `app.Agents.submit`."""
        asked, key = _said(spec, text, options)
        return _turn(await self._link.post("/agents/turns", {**asked, "later": True}, key=key))

    async def stream(
        self, spec: Asked, text: str, **options: Any
    ) -> "AsyncGenerator[agents.harness.Happening | agents.harness.Turn]":
        """As `app.Agents.stream`; whoever stops listening stops nothing."""
        asked, key = _said(spec, text, options)
        async with aclosing(_told(self._link, "/agents/turns/stream", asked, key=key)) as told:
            async for each in told:
                yield each

    async def resume(self, run_id: str) -> "agents.harness.Turn":
        """As `app.Agents.resume`."""
        async with aclosing(self.resume_stream(run_id)) as told:
            return (await _last(told)).check()

    async def resume_stream(self, run_id: str) -> "AsyncGenerator[agents.harness.Happening | agents.harness.Turn]":
        """As `app.Agents.resume_stream`."""
        async with aclosing(_told(self._link, f"/agents/turns/{part(run_id)}/resume/stream", {})) as told:
            async for each in told:
                yield each

    async def settle(
        self, run_id: str, call_id: str, *, happened: bool, text: str = "", note: str = ""
    ) -> "agents.harness.Turn":
        """As `app.Agents.settle`."""
        asked = {"call_id": call_id, "happened": happened, "text": text, "note": note}
        return _turn(await self._link.post(f"/agents/turns/{part(run_id)}/settle", asked))

    async def fetch(self, run_id: str) -> "agents.harness.Turn":
        """As `app.Agents.fetch`."""
        return _turn(await self._link.get(f"/agents/turns/{part(run_id)}"))

    async def inspect(self, run_id: str) -> "tuple[agents.harness.Turn, agents.turns.State | None]":
        """As `app.Agents.inspect`."""
        from interlock import agents

        told = members(await self._link.get(f"/agents/turns/{part(run_id)}/state"))
        with reading("state"):
            state = None if told["state"] is None else _read(agents.turns.State, told["state"])
            return _turn(told["turn"], is_guest=state is None), state

    async def list(
        self, *, agent_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> "Sequence[agents.harness.Glance]":
        """As `app.Agents.list`."""
        told = await self._link.get("/agents/turns", agent_id=agent_id, cursor=cursor, limit=limit)
        return [_glance(each) for each in rows(told, "turns")]

    async def lines(self, run_id: str) -> "Sequence[agents.harness.Line]":
        """As `app.Agents.lines`."""
        from interlock import agents

        told = await self._link.get(f"/agents/turns/{part(run_id)}/journal")
        return [value(agents.harness.Line, each) for each in rows(told, "lines")]

    async def snapshot(self, run_id: str, *, event: int | None = None) -> bytes:
        """As `app.Agents.snapshot`."""
        return await self._link.content(f"/agents/turns/{part(run_id)}/snapshot", event=event)

    async def fork(
        self, run_id: str, *, event: int | None = None, title: str | None = None
    ) -> "agents.sessions.Session":
        """As `app.Agents.fork`, of a turn of the server's."""
        asked = {"event": event, "title": title}
        return _session(await self._link.post(f"/agents/turns/{part(run_id)}/fork", asked))

    async def context_schema(self, agent: str) -> Mapping[str, JSON]:
        """What context an agent that the server's settings name is asked with."""
        told = members(await self._link.get(f"/agents/installed/{part(agent)}"))
        with reading("agent"):
            return dict(told["context_schema"] or {})


class AgentSessions:
    """As `app.AgentSessions`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def create(self, spec: Asked, *, title: str | None = None) -> "agents.sessions.Session":
        """As `app.AgentSessions.create`."""
        return _session(await self._link.post("/agents/sessions", {**spec.to_json(), "title": title}))

    async def fetch(self, session_id: str) -> "agents.sessions.Session":
        """As `app.AgentSessions.fetch`."""
        return _session(await self._link.get(f"/agents/sessions/{part(session_id)}"))

    async def list(
        self, *, agent_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> "Sequence[agents.sessions.Session]":
        """As `app.AgentSessions.list`."""
        told = await self._link.get("/agents/sessions", agent_id=agent_id, cursor=cursor, limit=limit)
        return [_session(each) for each in rows(told, "sessions")]

    async def turns(self, session_id: str, *, after: int = 0, limit: int = 50) -> "Sequence[agents.sessions.Exchange]":
        """As `app.AgentSessions.turns`, without whose and when they are."""
        told = await self._link.get(f"/agents/sessions/{part(session_id)}/turns", after=after, limit=limit)
        return [_exchange(session_id, each) for each in rows(told, "turns")]

    async def fork(
        self, session_id: str, *, turn: int | None = None, title: str | None = None
    ) -> "agents.sessions.Session":
        """As `app.AgentSessions.fork`."""
        asked = {"at": turn, "title": title}
        return _session(await self._link.post(f"/agents/sessions/{part(session_id)}/fork", asked))

    async def delete(self, session_id: str) -> "agents.sessions.Session":
        """As `app.AgentSessions.delete`."""
        return _session(await self._link.post(f"/agents/sessions/{part(session_id)}/delete", {}))


def _read(kind: type[M], told: object) -> M:
    """A value of the room of agents, of its JSON."""
    return kind.model_validate_json(orjson.dumps(told))


def _said(spec: Asked, text: str, options: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """What is asked for, and under which key."""
    told: dict[str, Any] = {**spec.to_json(), "text": text, **options}
    return told, told.pop("idempotency_key", None)


async def _last(told: "AsyncGenerator[agents.harness.Happening | agents.harness.Turn]") -> "agents.harness.Turn":
    from interlock import agents

    async for each in told:
        if isinstance(each, agents.harness.Turn):
            return each
    raise AnswerLost("the server ended its stream without the turn")


async def _told(
    link: Link, path: str, asked: Mapping[str, Any], *, key: str | None = None
) -> "AsyncGenerator[agents.harness.Happening | agents.harness.Turn]":
    """What happens, and the turn. Raises what the server says, and AnswerLost with the run if the stream breaks off."""
    from interlock import agents

    run_id: str | None = None
    try:
        async with aclosing(link.events(path, asked, key=key)) as events:
            async for name, data in events:
                if name == "turn":
                    yield _turn(data)
                    return
                happening = value(agents.harness.Happening, data)
                run_id = happening.run_id
                yield happening
        raise AnswerLost("the server ended its stream without the turn")
    except AnswerLost as error:
        if run_id is not None:
            error.run_id = run_id
            error.next_step = f"The turn goes on there: `interlock agent inspect {run_id}` shows how it stands."
        raise


def _turn(told: JSON, *, is_guest: bool = False) -> "agents.harness.Turn":
    """Raises NotInterlock."""
    from interlock import agents, inference, runs

    facts = members(told)
    with reading("turn"):
        failure = facts["failure"]
        return agents.harness.Turn(
            run_id=facts["run_id"],
            agent_id=facts["agent_id"],
            session_id=facts["session_id"],
            state=runs.State(facts["state"]),
            phase=agents.turns.Phase(facts["phase"]),
            answer=facts["answer"],
            result=facts["result"],
            result_json=facts["result"],
            failure=None if failure is None else _read(agents.turns.Failure, failure),
            waiting=tuple(read_document(agents.harness.Waiting, each) for each in facts["waiting"]),
            rounds=facts["rounds"],
            operations=facts["operations"],
            usage=_read(inference.Usage, facts["usage"]),
            worked_s=facts["worked_s"],
            error=facts["error"],
            is_guest=is_guest,
        )


def _glance(told: JSON) -> "agents.harness.Glance":
    """Raises NotInterlock."""
    from interlock import agents, inference

    facts = members(told)
    with reading("turn"):
        if facts["usage"] is not None:
            facts["usage"] = _read(inference.Usage, facts["usage"])
        return read_document(agents.harness.Glance, cast("JSON", facts))


def _session(told: JSON) -> "agents.sessions.Session":
    from interlock import agents

    return value(agents.sessions.Session, told)


def _exchange(session_id: str, told: JSON) -> "agents.sessions.Exchange":
    """Raises NotInterlock."""
    from interlock import agents, inference

    facts = members(told)
    with reading("turn"):
        return agents.sessions.Exchange(
            session_id=session_id,
            tenant_id="",
            number=facts["number"],
            turn_id=facts["turn_id"],
            fingerprint="",
            failure=facts["failure"],
            said=tuple(_read(inference.Message, each) for each in facts["said"]),
            tokens=facts["tokens"],
            at=from_rfc3339("1970-01-01T00:00:00Z"),
        )
