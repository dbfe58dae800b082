"""The process lane's other half: commands that run somewhere else."""

from typing import Final

from interlock import plane
from interlock.adapters.lanes.places.far_streams import FarStreams
from interlock.adapters.lanes.places.link import Link, LinkLost
from interlock.adapters.lanes.places.place import LIMITS, RUN, SECRETS, TERMINAL, Place
from interlock.adapters.lanes.process.keepers import Ended, NotStarted
from interlock.adapters.lanes.process.limits import INHERITED, totals
from interlock.adapters.lanes.process.redeeming import redeemed
from interlock.adapters.lanes.process.run import Run, judge

_OWN: Final = frozenset({plane.Restraint.ENVIRONMENT, plane.Restraint.TIME})
_ENFORCES: Final = INHERITED | _OWN
_TOTALS: Final = frozenset({plane.Restraint.PROCESSES, plane.Restraint.TOTAL_MEMORY})
"""Where the far side may make control groups, which it says when it is reached."""


class PlacedLane:
    """Carries `plane.ProcessIntent` to one place, over a connection for each, whose end is the end of all that ran there. It
    confines nothing, and refuses whatever demands it. What the place may be given is as its attachment says."""

    def __init__(
        self, place: Place, *, credentials: plane.CredentialResolver, attachment: plane.Attachment, lane_id: str
    ) -> None:
        self._place = place
        self._credentials = credentials
        self._attachment = attachment
        self._lane_id = lane_id

    @property
    def lane_id(self) -> str:
        return self._lane_id

    @property
    def carries(self) -> type[plane.ProcessIntent]:
        return plane.ProcessIntent

    @property
    def enforces(self) -> frozenset[plane.Restraint]:
        """The most that it can enforce there."""
        return _ENFORCES | _TOTALS

    async def execute(self, intent: plane.ProcessIntent, exchange: plane.Exchange) -> None:
        self._check(intent, exchange)
        async with self._place.reach(exchange, _needs(intent)) as link:
            exchange.note("attached", self._attachment.note)
            self._enforceable(intent, _ENFORCES | link.offers)
            env, values = await redeemed(intent, self._credentials)
            order = {
                "argv": intent.argv,
                "env": env,
                "cwd": intent.cwd,
                "path": env.get("PATH", plane.DEFAULT_PATH),
                "terminal": None if intent.terminal is None else [intent.terminal.rows, intent.terminal.columns],
                "merged": intent.stderr == "merged",
                "limits": intent.effective_limits.rlimits,
                "totals": totals(intent.effective_limits),
                "secrets": values,
            }
            exchange.leave(sum(len(argument.encode()) for argument in intent.argv) + len(intent.stdin))
            link.order(order)
            ended = await _run(intent, exchange, link)
        exchange.answered = True
        judge(ended)

    async def check(self, exchange: plane.Exchange) -> frozenset[str]:
        """Reach it, have it prove who it is, and leave. What it offers: what can be enforced there, and capabilities.
        Raises LaneFailure."""
        async with self._place.reach(exchange, frozenset()) as link:
            offered = link.granted - {RUN, LIMITS}
            return offered | (_ENFORCES | link.offers if LIMITS in link.granted else _OWN)

    async def aclose(self) -> None:
        """There is nothing that it keeps."""

    def _enforceable(self, intent: plane.ProcessIntent, offered: frozenset[plane.Restraint]) -> None:
        profile = intent.sandbox
        demanded = intent.effective_limits.restraints | (
            frozenset[plane.Restraint]() if profile is None else profile.restraints
        )
        if refused := plane.unenforceable(demanded, offered, by=self._place.target_class):
            raise plane.LaneFailure(refused.failure_class, refused.message, code=refused.code)

    def _check(self, intent: plane.ProcessIntent, exchange: plane.Exchange) -> None:
        self._enforceable(intent, self.enforces)
        refused = self._attachment.refusal(intent, intent.handles, now=exchange.clock.now())
        if refused is not None:
            raise plane.LaneFailure(refused.failure_class, refused.message, code=refused.code)
        if intent.secrets and not self._place.private:
            message = f"whoever carries the connection to {self._place.url} could read the secrets of the command"
            raise plane.LaneFailure(plane.FailureClass.ATTACH_REFUSED, message, code="place_not_private")


async def _run(intent: plane.ProcessIntent, exchange: plane.Exchange, link: Link) -> Ended:
    streams = FarStreams(link, terminal=intent.terminal is not None)
    try:
        return await Run(intent, exchange, streams, link).go()
    except NotStarted as error:
        exchange.bytes_sent = 0
        exchange.facts.clear()
        raise plane.LaneFailure(plane.FailureClass.LAUNCH_FAILED, str(error), code=error.code) from error
    except LinkLost as error:
        raise error.failure from error


def _needs(intent: plane.ProcessIntent) -> frozenset[str]:
    asked = {
        RUN: True,
        TERMINAL: intent.terminal is not None,
        SECRETS: bool(intent.secrets),
        LIMITS: bool(intent.effective_limits.restraints),
    }
    return frozenset(name for name, is_asked in asked.items() if is_asked)
