"""Lanes and places that are made when they are first needed: most programs need few of them, and making one takes time."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread

from interlock import plane
from interlock.app.foreign import Foreign
from interlock.kernel import Clock

if TYPE_CHECKING:
    from interlock.adapters import targets

COMMAND_CLASSES: Final = tuple(plane.CLASSES)
"""The classes of places for commands that a host may have."""

_MARGIN: Final = timedelta(minutes=2)
"""A place is probed again this long before its attestation ends."""


class LateLane:
    """A lane that is made for its first intent, in a thread: to load it takes longer than most commands."""

    def __init__(self, lane_id: str, carries: type[plane.Intent], make: Callable[[], plane.Lane]) -> None:
        self.lane_id = lane_id
        self.carries = carries
        self._make = make
        self._lane: plane.Lane | None = None
        self._making = anyio.Lock()
        self._closed = False

    async def execute(self, intent: Any, exchange: plane.Exchange) -> None:
        lane = self._lane or await self._load()
        await lane.execute(intent, exchange)

    async def aclose(self) -> None:
        self._closed = True
        if self._lane is not None:
            await self._lane.aclose()

    async def _load(self) -> plane.Lane:
        async with self._making:
            if self._lane is None:
                self._lane = await anyio.to_thread.run_sync(self._make)
                if self._closed:
                    await self._lane.aclose()
            return self._lane


class LatePlace:
    """A place for commands on this host, `plane.Target` and lane, that is probed when it is first needed."""

    def __init__(
        self,
        target_class: str,
        *,
        credentials: plane.CredentialResolver,
        attestations: plane.AttestationVerifier,
        clock: Clock,
    ) -> None:
        self.target_class = target_class
        self.lane = LateLane(target_class, plane.ProcessIntent, self._make_lane)
        self._credentials = credentials
        self._attestations = attestations
        self._clock = clock
        self._sandbox: targets.LocalSandbox | None = None
        self._lane: plane.Lane | None = None
        self._turn = anyio.Lock()
        now = clock.now()
        self._descriptor = plane.TargetDescriptor(
            target_id=target_class,
            lane_id=target_class,
            attestation=plane.Attestation(
                target_class=plane.UNPROVEN,
                properties=(),
                attested_by=plane.SELF_ATTESTED,
                attested_at=now,
                expires_at=now,
            ),
            health=plane.Health.UNAVAILABLE,
            reason="it was not probed yet",
        )

    @property
    def target_id(self) -> str:
        return self.target_class

    def describe(self) -> plane.TargetDescriptor:
        return self._descriptor

    async def ready(self) -> None:
        """Have it proven."""
        async with self._turn:
            if self._descriptor.attestation.expires_at > self._clock.now() + _MARGIN:
                return
            place = self._open()
            attestation = await place.attest(self._attestations.challenge(place.target_id))
            if attestation is not None:
                self._attestations.accept(attestation)
            self._descriptor = place.describe()

    def _open(self) -> "targets.LocalSandbox":
        if self._sandbox is None:
            from interlock.app.local_plane import local_sandboxes

            made = local_sandboxes(self._clock, [self.target_class], credentials=self._credentials)
            [(self._sandbox, self._lane)] = made.items()
        return self._sandbox

    def _make_lane(self) -> plane.Lane:
        self._open()
        assert self._lane is not None
        return self._lane


class LatePlaces:
    """`runs.Places`: those of this host, and those that installed packages offer."""

    def __init__(self, places: Iterable[LatePlace], foreign: Foreign) -> None:
        self._places = {place.target_class: place for place in places}
        self._foreign = foreign

    @property
    def classes(self) -> frozenset[str]:
        return self._foreign.classes | self._places.keys()

    async def ready(self, target_class: str) -> None:
        """See to it that the place of that class is proven, if it can be."""
        if target_class in self._places:
            await self._places[target_class].ready()
        else:
            self._foreign.ready(target_class)
