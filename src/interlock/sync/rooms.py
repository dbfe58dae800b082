"""The rooms of the facade, whose methods wait."""

from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, Unpack

from interlock import app
from interlock.kernel import Secret
from interlock.sync.door import Door, Face, told_by, waiting

if TYPE_CHECKING:
    from interlock import agents


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


class Agents(Face[app.Agents]):
    """As `app.Agents`."""

    run = waiting(app.Agents.run)
    submit = waiting(app.Agents.submit)
    resume = waiting(app.Agents.resume)
    preview = waiting(app.Agents.preview)
    settle = waiting(app.Agents.settle)
    fetch = waiting(app.Agents.fetch)
    inspect = waiting(app.Agents.inspect)
    list = waiting(app.Agents.list)
    lines = waiting(app.Agents.lines)
    replay = waiting(app.Agents.replay)
    evaluate = waiting(app.Agents.evaluate)
    mcp_tools = waiting(app.Agents.mcp_tools)
    snapshot = waiting(app.Agents.snapshot)
    read_snapshot = waiting(app.Agents.read_snapshot)
    fork = waiting(app.Agents.fork)

    def offer(self, *operations: Callable[..., Any], controls: Iterable[Callable[..., Any]] = ()) -> None:
        """As `app.Agents.offer`."""
        self._room.offer(*operations, controls=controls)

    @property
    def registry(self) -> "agents.Registry":
        """What specs may name here."""
        return self._room.registry

    def stream(
        self, spec: "agents.Spec", text: str, **options: Unpack[app.TurnOptions]
    ) -> "Generator[agents.harness.Happening | agents.harness.Turn]":
        """As `app.Agents.stream`, with the same options: each step waits for what happens next."""
        return told_by(self._door, lambda: self._room.stream(spec, text, **options))

    def resume_stream(self, run_id: str) -> "Generator[agents.harness.Happening | agents.harness.Turn]":
        """As `app.Agents.resume_stream`."""
        return told_by(self._door, lambda: self._room.resume_stream(run_id))


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


class AgentSessions(Face[app.AgentSessions]):
    """As `app.AgentSessions`."""

    create = waiting(app.AgentSessions.create)
    list = waiting(app.AgentSessions.list)
    fetch = waiting(app.AgentSessions.fetch)
    turns = waiting(app.AgentSessions.turns)
    change = waiting(app.AgentSessions.change)
    fork = waiting(app.AgentSessions.fork)
    delete = waiting(app.AgentSessions.delete)


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
