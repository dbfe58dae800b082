"""The synchronous twin: `with interlock.sync.Interlock.open() as il`. It runs the async one on a thread of its own."""

import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, Generic, NoReturn, ParamSpec, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from interlock import app, catalog
from interlock.kernel import Caller, OpenedHere, Secret

if TYPE_CHECKING:
    from interlock import subscriptions

P = ParamSpec("P")
T = TypeVar("T")
Room = TypeVar("Room")


class Door:
    """The way to the loop's thread, for as long as it is open."""

    def __init__(self, portal: BlockingPortal) -> None:
        self._portal = portal
        self.opened = OpenedHere("this Interlock")
        self.open = True

    def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """What the work answers. Raises Closed and Forked."""
        self.opened.check()
        try:
            return self._portal.call(work)
        except RuntimeError as error:
            if self.open:
                raise
            raise app.Closed("this Interlock is closed") from error

    @contextmanager
    def running(self, work: Callable[[], Awaitable[None]]) -> Generator[None]:
        """While the block lasts, the work goes on; then it is cancelled, and ends. Raises what it failed with, and Closed."""
        self.opened.check()
        ended = threading.Event()

        async def run() -> None:
            try:
                await work()
            finally:
                ended.set()

        try:
            going = self._portal.start_task_soon(run)
        except RuntimeError as error:
            raise app.Closed("this Interlock is closed") from error
        try:
            yield
        finally:
            if going.cancel():
                ended.wait()
        if not going.cancelled():
            going.result()

    def abandon(self) -> None:
        """In a forked child, whose loop stands still: what is left of it is let go of, and nobody waits."""
        vars(self._portal)["call"] = _refuse  # what ends the loop goes through it


def _refuse(*_: object) -> NoReturn:
    raise RuntimeError("the loop is another process's")


class Face(Generic[Room]):
    """A room of the facade whose methods wait instead of being awaited."""

    def __init__(self, door: Door, room: Room) -> None:
        self._door = door
        self._room = room


def waiting(
    method: Callable[Concatenate[Room, P], Awaitable[T]],
) -> Callable[Concatenate[Face[Room], P], T]:
    """The method, run on the portal's loop until it is done, with the same parameters and promises."""

    @wraps(method)
    def wait(self: Face[Room], *args: P.args, **kwargs: P.kwargs) -> T:
        return self._door.call(partial(method, self._room, *args, **kwargs))  # pyright: ignore[reportPrivateUsage] - a method

    return wait


class Runs(Face[app.Runs]):
    """As `app.Runs`."""

    fetch = waiting(app.Runs.fetch)
    list = waiting(app.Runs.list)
    history = waiting(app.Runs.history)
    events = waiting(app.Runs.events)
    outcome = waiting(app.Runs.outcome)
    artifact = waiting(app.Runs.artifact)
    cancel = waiting(app.Runs.cancel)
    settle = waiting(app.Runs.settle)
    recover = waiting(app.Runs.recover)
    packet = waiting(app.Runs.packet)


class Approvals(Face[app.Approvals]):
    """As `app.Approvals`."""

    list = waiting(app.Approvals.list)
    fetch = waiting(app.Approvals.fetch)
    approve = waiting(app.Approvals.approve)
    execute = waiting(app.Approvals.execute)
    deny = waiting(app.Approvals.deny)


class Dispatch(Face[app.Dispatch]):
    """As `app.Dispatch`."""

    submit = waiting(app.Dispatch.submit)
    invoke = waiting(app.Dispatch.invoke)
    wait = waiting(app.Dispatch.wait)
    list = waiting(app.Dispatch.list)
    fetch = waiting(app.Dispatch.fetch)
    stats = waiting(app.Dispatch.stats)
    replay = waiting(app.Dispatch.replay)
    replay_all = waiting(app.Dispatch.replay_all)
    dismiss = waiting(app.Dispatch.dismiss)
    dismiss_all = waiting(app.Dispatch.dismiss_all)
    compare = waiting(app.Dispatch.compare)
    pause = waiting(app.Dispatch.pause)
    resume = waiting(app.Dispatch.resume)
    pauses = waiting(app.Dispatch.pauses)


class Installs(Face[app.Installs]):
    """As `app.Installs`."""

    begin = waiting(app.Installs.begin)
    invite = waiting(app.Installs.invite)
    require_client = waiting(app.Installs.require_client)
    connect = waiting(app.Installs.connect)
    authorize = waiting(app.Installs.authorize)
    take_callback = waiting(app.Installs.take_callback)
    start_device = waiting(app.Installs.start_device)
    poll_device = waiting(app.Installs.poll_device)
    await_device = waiting(app.Installs.await_device)
    find_by_link = waiting(app.Installs.find_by_link)
    find_by_browser = waiting(app.Installs.find_by_browser)
    wait = waiting(app.Installs.wait)
    complete = waiting(app.Installs.complete)
    cancel = waiting(app.Installs.cancel)
    fetch = waiting(app.Installs.fetch)
    list = waiting(app.Installs.list)

    def new_browser(self) -> Secret:
        """As `app.Installs.new_browser`."""
        return self._room.new_browser()


class Leases(Face[app.Leases]):
    """As `app.Leases`."""

    request = waiting(app.Leases.request)
    renew = waiting(app.Leases.renew)
    redeem = waiting(app.Leases.redeem)
    revoke = waiting(app.Leases.revoke)
    list = waiting(app.Leases.list)


class Connections(Face[app.Connections]):
    """As `app.Connections`."""

    def __init__(self, door: Door, room: app.Connections) -> None:
        super().__init__(door, room)
        self.installs = Installs(door, room.installs)
        self.leases = Leases(door, room.leases)

    connect_token = waiting(app.Connections.connect_token)
    connect_from = waiting(app.Connections.connect_from)
    list = waiting(app.Connections.list)
    fetch = waiting(app.Connections.fetch)
    revoke = waiting(app.Connections.revoke)
    refresh = waiting(app.Connections.refresh)
    check = waiting(app.Connections.check)
    check_all = waiting(app.Connections.check_all)
    events = waiting(app.Connections.events)


class Providers(Face[app.Providers]):
    """As `app.Providers`."""

    import_catalogue = waiting(app.Providers.import_catalogue)
    remove = waiting(app.Providers.remove)
    list = waiting(app.Providers.list)
    fetch = waiting(app.Providers.fetch)


class Archives(Face[app.Archives]):
    """As `app.Archives`; `on_progress` is called on the thread of the loop."""

    plan = waiting(app.Archives.plan)
    write = waiting(app.Archives.write)
    list = waiting(app.Archives.list)


class Schedules(Face[app.Schedules]):
    """As `app.Schedules`."""

    create = waiting(app.Schedules.create)
    fetch = waiting(app.Schedules.fetch)
    list = waiting(app.Schedules.list)
    preview = waiting(app.Schedules.preview)
    pause = waiting(app.Schedules.pause)
    resume = waiting(app.Schedules.resume)
    delete = waiting(app.Schedules.delete)


class Polls(Face[app.Polls]):
    """As `app.Polls`."""

    create = waiting(app.Polls.create)
    fetch = waiting(app.Polls.fetch)
    list = waiting(app.Polls.list)
    pause = waiting(app.Polls.pause)
    resume = waiting(app.Polls.resume)
    delete = waiting(app.Polls.delete)


class Tokens(Face[app.Tokens]):
    """As `app.Tokens`."""

    create = waiting(app.Tokens.create)
    identify = waiting(app.Tokens.identify)
    list = waiting(app.Tokens.list)
    revoke = waiting(app.Tokens.revoke)


class Subscriptions(Face[app.Subscriptions]):
    """As `app.Subscriptions`."""

    create = waiting(app.Subscriptions.create)
    list = waiting(app.Subscriptions.list)
    fetch = waiting(app.Subscriptions.fetch)
    pause = waiting(app.Subscriptions.pause)
    resume = waiting(app.Subscriptions.resume)
    rotate = waiting(app.Subscriptions.rotate)
    delete = waiting(app.Subscriptions.delete)
    test = waiting(app.Subscriptions.test)
    deliveries = waiting(app.Subscriptions.deliveries)
    redeliver = waiting(app.Subscriptions.redeliver)
    cursor = waiting(app.Subscriptions.cursor)


class Routes(Face[app.Routes]):
    """As `app.Routes`."""

    create = waiting(app.Routes.create)
    join = waiting(app.Routes.join)
    list = waiting(app.Routes.list)
    fetch = waiting(app.Routes.fetch)
    rotate = waiting(app.Routes.rotate)
    disable = waiting(app.Routes.disable)
    enable = waiting(app.Routes.enable)
    revoke = waiting(app.Routes.revoke)


class Triggers(Face[app.Triggers]):
    """As `app.Triggers`."""

    list = waiting(app.Triggers.list)
    fetch = waiting(app.Triggers.fetch)
    enable = waiting(app.Triggers.enable)
    disable = waiting(app.Triggers.disable)
    test = waiting(app.Triggers.test)


class Deliveries(Face[app.Deliveries]):
    """As `app.Deliveries`."""

    list = waiting(app.Deliveries.list)
    fetch = waiting(app.Deliveries.fetch)
    replay = waiting(app.Deliveries.replay)


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
        interruption: KeyboardInterrupt | SystemExit | None = None
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal("asyncio"))
            door = Door(portal)
            opened = portal.wrap_async_context_manager(app.Interlock.open(url, **options))
            room = stack.enter_context(opened)
            try:
                yield cls(door, room)
            except (KeyboardInterrupt, SystemExit) as error:
                interruption = error  # kept out of the loop's tasks, which would wrap it in a group
            finally:
                door.open = False
                if door.opened.is_elsewhere:
                    door.abandon()
                    stack.pop_all()  # it is the parent's to close
        if interruption is not None:
            raise interruption

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
