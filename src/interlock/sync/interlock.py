"""The facade, whose methods wait."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from interlock import app, catalog
from interlock.kernel import Caller
from interlock.sync.door import Door, Face, through_door, waiting
from interlock.sync.memories import Memories
from interlock.sync.rooms import (
    Agents,
    AgentSessions,
    Approvals,
    Archives,
    Connections,
    Deliveries,
    Dispatch,
    Polls,
    Providers,
    Routes,
    Runs,
    Schedules,
    Subscriptions,
    Tokens,
    Triggers,
)

if TYPE_CHECKING:
    from interlock import subscriptions


class Interlock(Face[app.Interlock]):
    """As `app.Interlock`, for programs without an event loop. Its methods may be called from any thread."""

    def __init__(self, door: Door, room: app.Interlock) -> None:
        super().__init__(door, room)
        self.runs = Runs(door, room.runs)
        self.approvals = Approvals(door, room.approvals)
        self.dispatch = Dispatch(door, room.dispatch)
        self.connections = Connections(door, room.connections)
        self.providers = Providers(door, room.providers)
        self.routes = Routes(door, room.routes)
        self.triggers = Triggers(door, room.triggers)
        self.deliveries = Deliveries(door, room.deliveries)
        self.archives = Archives(door, room.archives)
        self.schedules = Schedules(door, room.schedules)
        self.polls = Polls(door, room.polls)
        self.tokens = Tokens(door, room.tokens)
        self.subscriptions = Subscriptions(door, room.subscriptions)
        self.agent_sessions = AgentSessions(door, room.agent_sessions)
        self.memory = Memories(door, room.memory)
        self.agents = Agents(door, room.agents)
        self.catalog: catalog.Catalog = room.catalog
        self.caller = room.caller

    invoke = waiting(app.Interlock.invoke)
    proxy = waiting(app.Interlock.proxy)
    proxy_pages = waiting(app.Interlock.proxy_pages)
    paging = waiting(app.Interlock.paging)
    evidence = waiting(app.Interlock.evidence)
    backlog = waiting(app.Interlock.backlog)
    trust = waiting(app.Interlock.trust)

    @contextmanager
    def worker(self, *handlers: Callable[..., Any], at_once: int = 16) -> Generator[None]:
        """As `app.Interlock.worker`, at work beside the block: `with il.worker(): …`. At its end, what is begun ends first."""
        made = self._room.worker(*handlers)
        with self._door.running(partial(made.run, at_once=at_once)):
            yield

    def events(self, *args: Any, **options: Any) -> "Generator[subscriptions.Event]":
        """As `app.Interlock.events`, with the same arguments: each step waits for the next event."""
        told = self._room.events(*args, **options)
        try:
            while True:
                yield self._door.call(told.__anext__)
        finally:
            self._door.call(told.aclose)

    @classmethod
    @contextmanager
    def open(cls, url: str | None = None, **options: Any) -> Generator["Interlock"]:
        """As `app.Interlock.open`, with the same options and errors."""
        with through_door("this Interlock", lambda: app.Interlock.open(url, **options)) as (door, room):
            yield cls(door, room)

    def as_caller(self, caller: Caller) -> "Interlock":
        """The same Interlock, acting for somebody else."""
        return Interlock(self._door, self._room.as_caller(caller))

    @property
    def settings(self) -> app.Settings:
        """What is in force."""
        return self._room.settings

    @property
    def discovery(self) -> catalog.Discovery:
        """The connectors that are installed, and those that are broken."""
        return self._room.discovery
