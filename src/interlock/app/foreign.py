"""Lanes and targets of installed packages, by their entry points. They run in this process and are trusted like it; what
makes them is called in a thread."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Final, Protocol, TypeAlias, cast

import anyio
import anyio.to_thread

from interlock import plane
from interlock.kernel import Clock, entry_points, is_interruption, package_of

LANES: Final = "interlock.lanes"
"""Entry points of lanes: `make(*, credentials, addresses) -> plane.Lane`. The name is the class of the target by which the
lane is reached, which is this very process."""

TARGETS: Final = "interlock.targets"
"""Entry points of targets: `make(*, clock, credentials, addresses) -> (plane.Target, plane.Lane)`. The name is the class that
the target attests to; the lane is the one that leads there."""

_log: Final = logging.getLogger(__name__)


class MakeLane(Protocol):
    """What an entry point of LANES names."""

    def __call__(self, *, credentials: plane.CredentialResolver, addresses: plane.AddressPolicy) -> plane.Lane: ...


class MakeTarget(Protocol):
    """What an entry point of TARGETS names."""

    def __call__(
        self, *, clock: Clock, credentials: plane.CredentialResolver, addresses: plane.AddressPolicy
    ) -> tuple[plane.Target, plane.Lane]: ...


Made: TypeAlias = tuple[plane.Target, plane.Lane]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A lane or a target that an installed package offers."""

    target_class: str
    group: str
    distribution: str
    entry: EntryPoint

    def load(self) -> object:
        """What the entry point names: the package's code runs from here on. Raises whatever that raises."""
        return self.entry.load()


def offers(*, taken: Iterable[str], entries: Iterable[EntryPoint] | None = None) -> Sequence[Offer]:
    """What is installed, sorted; a name that is taken, or offered twice, counts once. Nothing is loaded. `entries` replaces
    what is installed."""
    if entries is None:
        entries = (*entry_points(group=LANES), *entry_points(group=TARGETS))
    found: dict[str, Offer] = {}
    ours = frozenset(taken)
    for entry in sorted(entries, key=lambda each: (each.name, each.value)):
        if entry.name not in ours:
            distribution, _ = package_of(entry) or ("an unknown package", None)
            offer = Offer(target_class=entry.name, group=entry.group, distribution=distribution, entry=entry)
            found.setdefault(entry.name, offer)
    return tuple(found.values())


class Foreign:
    """`runs.OfferedTargets`: brings what is offered to a node, when its class is first asked for."""

    def __init__(
        self,
        node: plane.Node,
        offered: Iterable[Offer],
        *,
        credentials: plane.CredentialResolver,
        addresses: plane.AddressPolicy,
        clock: Clock,
    ) -> None:
        self._node = node
        self._waiting: dict[str, Offer] = {offer.target_class: offer for offer in offered}
        self._credentials = credentials
        self._addresses = addresses
        self._clock = clock
        self._turn = anyio.Lock()
        self.classes = frozenset(self._waiting)

    async def ready(self, target_class: str) -> None:
        """Have it on the node, if it is offered and works; why it does not goes to the log."""
        if target_class not in self._waiting:
            return
        async with self._turn:
            offer = self._waiting.get(target_class)
            if offer is None:
                return
            try:
                target, lane = await anyio.to_thread.run_sync(self._make, offer)
                self._node.register(target, lane)
            except BaseException as error:
                if is_interruption(error):
                    raise
                _log.warning(
                    "%s of %s cannot be used: %s: %s", target_class, offer.distribution, type(error).__name__, error
                )
            del self._waiting[target_class]  # not before: whoever asks meanwhile waits for it

    def _make(self, offer: Offer) -> Made:
        """In a thread: nobody knows how long foreign code takes."""
        loaded = offer.load()
        if offer.group == TARGETS:
            make = cast("MakeTarget", loaded)
            return make(clock=self._clock, credentials=self._credentials, addresses=self._addresses)
        lane = cast("MakeLane", loaded)(credentials=self._credentials, addresses=self._addresses)
        name = offer.target_class
        return plane.LocalTarget(name, target_class=name, lane_id=lane.lane_id, clock=self._clock), lane
