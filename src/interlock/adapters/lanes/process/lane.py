"""The process lane: one command, started once, under limits, and ended whole."""

import contextlib
import os
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Final

from interlock import plane
from interlock.adapters.lanes.egress import Egress
from interlock.adapters.lanes.process.gate import dialler_for, gated
from interlock.adapters.lanes.process.groups import Groups
from interlock.adapters.lanes.process.keepers import Ended, KeeperLost, Keepers, NotStarted, Order
from interlock.adapters.lanes.process.limits import INHERITED, totals
from interlock.adapters.lanes.process.redeeming import redeemed, secret_pipe
from interlock.adapters.lanes.process.run import Run, facts_of, judge
from interlock.adapters.lanes.process.streams import LocalStreams, pipes, terminal

_OWN: Final = frozenset({plane.Restraint.ENVIRONMENT, plane.Restraint.TIME})


class ProcessLane:
    """Carries `plane.ProcessIntent`. Without a `confiner` it confines nothing and refuses whatever demands it; with one,
    every command runs inside, and one without a sandbox profile is refused. Each confiner has a lane of its own."""

    def __init__(
        self,
        *,
        credentials: plane.CredentialResolver,
        confiner: plane.Confiner | None = None,
        egress: Egress | None = None,
        lane_id: str = "process",
    ) -> None:
        """`egress` is how commands get to the hosts that their sandbox lists; without it there are none."""
        self._credentials = credentials
        self._confiner = confiner
        self._egress = egress
        self._baits: dict[str, plane.AddressPolicy] = {}
        self._lane_id = lane_id
        self._keepers = Keepers()
        self._groups = Groups()

    @property
    def lane_id(self) -> str:
        return self._lane_id

    @property
    def carries(self) -> type[plane.ProcessIntent]:
        return plane.ProcessIntent

    @property
    def enforces(self) -> frozenset[plane.Restraint]:
        """What it can enforce on this host."""
        ours = INHERITED | {plane.Restraint(name) for name in self._groups.offered}
        if self._confiner is None:
            return _OWN | ours
        inherited = ours if self._confiner.inherits else frozenset[plane.Restraint]()
        unserved = frozenset({plane.Restraint.NETWORK_HOSTS} if self._egress is None else ())
        return _OWN | inherited | self._confiner.enforces - unserved

    @contextmanager
    def baited(self, host_port: str) -> Generator[None]:
        """While a probe of our own listens there: the operator's address policy does not speak of it."""
        self._baits[host_port] = plane.AddressPolicy(allow=(host_port,))
        try:
            yield
        finally:
            del self._baits[host_port]

    async def execute(self, intent: plane.ProcessIntent, exchange: plane.Exchange) -> None:
        self._check(intent)
        async with AsyncExitStack() as stack:
            env, fds = await self._secrets(intent, stack)
            command = plane.Command(
                argv=intent.argv,
                env=env,
                secret_env=frozenset(secret.env for secret in intent.secrets if secret.env is not None),
                cwd=intent.cwd,
                fds=tuple(fds),
                terminal=intent.terminal is not None,
            )
            confinement = await stack.enter_async_context(self._confined(command, intent))
            launch = confinement.launch if confinement is not None else None
            if launch is not None and launch.wrappers:
                stack.callback(exchange.facts.pop, "left_over", None)
            streams = stack.enter_context(_streams(intent))
            groups = stack.enter_context(self._limited(intent, launch))
            order = _order(intent, command, launch, streams, fds, groups, inherits=self._inherits)
            ended = await self._run(intent, exchange, order, streams, None if launch is None else launch.way_out)
            # A sandbox that was killed could not report whether the command had begun.
            failure = None if confinement is None or ended.signal is not None else confinement.not_started()
            if failure is not None:
                exchange.bytes_sent = 0
                exchange.facts.clear()
                raise plane.LaneFailure(failure.failure_class, failure.message, code=failure.code)
            exchange.answered = True
            if confinement is not None and confinement.launch.wrappers and ended.code is not None:
                ended = ended.below(confinement.wait_status(ended.code))
                exchange.facts |= facts_of(ended)
            judge(ended)

    async def aclose(self) -> None:
        await self._keepers.aclose()

    @property
    def _inherits(self) -> bool:
        return self._confiner is None or self._confiner.inherits

    def _check(self, intent: plane.ProcessIntent) -> None:
        confiner, profile = self._confiner, intent.sandbox
        by = "local-process" if confiner is None else confiner.target_class
        if confiner is not None:
            if confiner.unavailable is not None:
                raise plane.LaneFailure(plane.FailureClass.LAUNCH_FAILED, confiner.unavailable, code="no_sandbox")
            if profile is None:
                raise plane.LaneFailure(
                    plane.FailureClass.SANDBOX_UNENFORCEABLE,
                    f"{by} confines a command to a sandbox profile, and the intent has none",
                    code="profile_missing",
                )
        demanded = intent.effective_limits.restraints | (
            frozenset[plane.Restraint]() if profile is None else profile.restraints
        )
        if refused := plane.unenforceable(demanded, self.enforces, by=by):
            raise plane.LaneFailure(refused.failure_class, refused.message)

    async def _secrets(
        self, intent: plane.ProcessIntent, stack: AsyncExitStack
    ) -> tuple[dict[str, str], dict[int, int]]:
        """The environment, and descriptors from which secrets are read."""
        env, values = await redeemed(intent, self._credentials)
        fds = dict[int, int]()
        for number, value in values.items():
            fds[number] = secret_pipe(value.encode())
            stack.callback(os.close, fds[number])
        return env, fds

    @asynccontextmanager
    async def _confined(
        self, command: plane.Command, intent: plane.ProcessIntent
    ) -> AsyncGenerator[plane.Confinement | None]:
        if self._confiner is None or intent.sandbox is None:
            yield None
        else:
            async with self._confiner.confine(command, intent.sandbox, intent.effective_limits) as confinement:
                yield confinement

    @contextmanager
    def _limited(self, intent: plane.ProcessIntent, launch: plane.Launch | None) -> Generator[list[str]]:
        if not self._inherits:
            yield []
            return
        extra = 0 if launch is None else launch.wrappers
        with self._groups.limited(totals(intent.effective_limits, extra=extra)) as groups:
            yield list(groups)

    async def _run(
        self,
        intent: plane.ProcessIntent,
        exchange: plane.Exchange,
        order: Order,
        streams: LocalStreams,
        way_out: int | None,
    ) -> Ended:
        async def go() -> Ended:
            return await self._keep(intent, exchange, order, streams)

        if way_out is None:
            return await go()
        assert intent.sandbox is not None
        assert self._egress is not None
        return await gated(go, way_out, intent.sandbox.hosts, exchange, dialler_for(self._egress, self._baits))

    async def _keep(
        self, intent: plane.ProcessIntent, exchange: plane.Exchange, order: Order, streams: LocalStreams
    ) -> Ended:
        exchange.leave(sum(len(argument.encode()) for argument in intent.argv) + len(intent.stdin))
        try:
            keeper = self._keepers.start(order)
            run = Run(intent, exchange, streams, keeper)
            try:
                return await run.go()
            finally:
                if run.over:
                    self._keepers.give_back(keeper)
                else:
                    keeper.close()
        except NotStarted as error:
            exchange.bytes_sent = 0
            exchange.facts.clear()
            raise plane.LaneFailure(plane.FailureClass.LAUNCH_FAILED, str(error), code=error.code) from error
        except KeeperLost as error:
            raise plane.LaneFailure(plane.FailureClass.PEER_LOST, str(error), code="keeper_lost") from error


def _order(
    intent: plane.ProcessIntent,
    command: plane.Command,
    launch: plane.Launch | None,
    streams: LocalStreams,
    fds: Mapping[int, int],
    groups: list[str],
    *,
    inherits: bool,
) -> Order:
    return Order(
        argv=command.argv if launch is None else launch.argv,
        env=command.env if launch is None else launch.env,
        cwd=command.cwd if launch is None else launch.cwd,
        path=command.env.get("PATH", plane.DEFAULT_PATH),
        streams=streams.theirs,
        fds=dict(fds) if launch is None else {**fds, **launch.fds},
        terminal=intent.terminal is not None,
        wrapped=launch is not None and launch.wrappers > 0,
        rlimits=intent.effective_limits.rlimits if inherits else {},
        groups=groups,
    )


@contextmanager
def _streams(intent: plane.ProcessIntent) -> Generator[LocalStreams]:
    try:
        streams = pipes(intent) if intent.terminal is None else terminal(intent.terminal)
    except OSError as error:
        message = f"no streams for the command: {error.strerror}"
        raise plane.LaneFailure(plane.FailureClass.LAUNCH_FAILED, message, code="no_streams") from error
    with contextlib.closing(streams):
        yield streams
