"""What workers work with: the queue of the store, what is due, and who carries out what."""

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from interlock import dispatch, runs, subscriptions
from interlock.adapters import handlers as hosts
from interlock.adapters import queues, sql
from interlock.app import conversations
from interlock.app.late import LateQueue
from interlock.app.settings import Settings
from interlock.kernel import Clock, IdSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Work that is done later, in this process or another."""

    queue: dispatch.Queue
    tasks: runs.Tasks
    docket: dispatch.Docket
    intake: dispatch.Dispatch
    claiming: dispatch.Claiming
    resuming: runs.Resuming
    letters: dispatch.Letters
    pausing: dispatch.Pausing
    sweeping: dispatch.Sweeping
    courier: subscriptions.Courier

    def worker(
        self,
        wiring: runs.Wiring,
        doors: runs.Doors,
        handlers: dispatch.Handlers,
        *,
        also: Iterable[dispatch.Executor] = (),
        beside: Iterable[Callable[[], Coroutine[Any, Any, None]]] = (),
        unpack: "dispatch.Unpack | None" = None,
    ) -> dispatch.Worker:
        """A worker of this process, with these handlers, and with what else carries out work (`also`); `beside` goes on for as
        long as it works, `unpack` makes payloads whole that say where their data is."""
        called = dispatch.CapabilityExecutor(self.claiming, wiring, self.resuming, self.tasks, self.docket)
        handled = dispatch.HandlerExecutor(
            self.claiming, wiring, self.tasks, self.docket, handlers, doors, unpack=unpack
        )
        others = list(also)
        keep = partial(self.sweeping.keep, frozenset[str]().union(*(each.lanes for each in [called, handled, *others])))
        return dispatch.Worker(
            self.queue,
            self.claiming,
            [called, handled, *others, self.courier],
            beside=[keep, handled.stopping.watch, self.courier.keep, *beside],
        )


def open_docket(settings: Settings, store: sql.SqlStore, clock: Clock, ids: IdSource) -> dispatch.Docket:
    """The list of what is due, with the store's queue."""

    def make() -> dispatch.Queue:
        return queues.make_queue(settings.store_url, store, sql.connection, clock=clock, ids=ids)

    return dispatch.Docket(store, sql.DispatchRecords(), LateQueue(make), clock)


def furnish(
    settings: Settings,
    wiring: runs.Wiring,
    reading: runs.Reading,
    execution: runs.Execution,
    invoker: runs.Invoker,
    docket: dispatch.Docket,
    courier: subscriptions.Courier,
) -> Workshop:
    """Put it together."""
    tasks, records = runs.Tasks(wiring), sql.DispatchRecords()
    pausing = dispatch.Pausing(wiring.store, records, docket, wiring.clock)
    return Workshop(
        queue=docket.queue,
        tasks=tasks,
        docket=docket,
        intake=dispatch.Dispatch(wiring, reading, invoker, tasks, docket, environment=settings.environment),
        claiming=dispatch.Claiming(wiring, records, docket, tasks),
        resuming=runs.Resuming(wiring, reading, execution),
        letters=dispatch.Letters(wiring, reading, records, docket, taken_up=partial(conversations.retake, wiring)),
        pausing=pausing,
        sweeping=dispatch.Sweeping(wiring, records, docket.queue, pausing),
        courier=courier,
    )


def collect_handlers(settings: Settings, functions: Iterable[Callable[..., Any]] = ()) -> dispatch.Handlers:
    """Those of the modules that the settings name, and these. Raises ModuleNotLoaded, InvalidHandlers."""
    return dispatch.Handlers(functions, modules=hosts.load_modules(settings.app.modules, folder=settings.folder))
