"""A target for processes: announced with what its probe showed, or with the reason why it takes no work."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import timedelta
from typing import Final, Protocol

from interlock import plane
from interlock.adapters.targets.probing import ProbedLane, ProbeFailed, probe
from interlock.kernel import VERSION, Clock

LIFE: Final = timedelta(minutes=15)
"""How long an attestation counts before the target has to be probed again."""


class ProbedTarget(ABC):
    """Until it is probed it is unproven and unavailable. It attests with the signer's key; without one it gives its bare
    word."""

    def __init__(
        self,
        target_id: str,
        *,
        target_class: str,
        lane_id: str,
        clock: Clock,
        signer: plane.Signer | None = None,
        life: timedelta = LIFE,
    ) -> None:
        self._target_id = target_id
        self._target_class = target_class
        self._lane_id = lane_id
        self._clock = clock
        self._signer = signer
        self._life = life
        self._attestation: plane.Attestation | None = None
        self._reason = "it was not probed yet"

    @property
    def target_id(self) -> str:
        return self._target_id

    @property
    def target_class(self) -> str:
        """The class that it would prove."""
        return self._target_class

    @abstractmethod
    async def _probe(self) -> frozenset[plane.Property]:
        """What it was shown to have. Raises ProbeFailed."""

    @abstractmethod
    def _features(self) -> frozenset[str]:
        """What it can do, as it was last found."""

    async def attest(self, nonce: str | None = None) -> plane.Attestation | None:
        """Probe it, and attest to what was shown, in answer to a challenge. None if that is not what its class stands
        for; `describe` then says why. Until then it says what it said before."""
        try:
            shown = await self._probe()
            if missing := plane.unproved(self.target_class, shown):
                raise ProbeFailed(f"the probe did not show {', '.join(missing)}")
        except ProbeFailed as error:
            self._attestation, self._reason = None, str(error)
            return None
        self._attestation = plane.mint(
            self._signer,
            target_id=self._target_id,
            target_class=self.target_class,
            shown=shown,
            nonce=nonce,
            now=self._clock.now(),
            life=self._life,
        )
        return self._attestation

    def describe(self) -> plane.TargetDescriptor:
        attestation = self._attestation
        return plane.TargetDescriptor(
            target_id=self._target_id,
            lane_id=self._lane_id,
            attestation=attestation or self._nothing(),
            health=plane.Health.UNAVAILABLE if attestation is None else plane.Health.READY,
            reason=self._reason if attestation is None else None,
            version=VERSION,
            features=tuple(sorted(self._features())),
            schemas=("interlock.process-intent/v1", "interlock.sandbox/v1"),
        )

    def _nothing(self) -> plane.Attestation:
        now = self._clock.now()
        return plane.Attestation(
            target_id=self._target_id,
            target_class=plane.UNPROVEN,
            properties=(),
            attested_by=plane.SELF_ATTESTED,
            attested_at=now,
            expires_at=now,
        )


class LocalSandbox(ProbedTarget):
    """A target on this host for processes: `local-process` without a confiner, else the confiner's class."""

    def __init__(
        self,
        target_id: str,
        *,
        lane: ProbedLane,
        clock: Clock,
        confiner: plane.Confiner | None = None,
        signer: plane.Signer | None = None,
        life: timedelta = LIFE,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """`confiner` is the one that the lane uses."""
        target_class = plane.LOCAL_PROCESS if confiner is None else confiner.target_class
        super().__init__(
            target_id, target_class=target_class, lane_id=lane.lane_id, clock=clock, signer=signer, life=life
        )
        self._lane = lane
        self._confiner = confiner
        self._random_bytes = random_bytes

    async def _probe(self) -> frozenset[plane.Property]:
        if self._confiner is not None and self._confiner.unavailable is not None:
            raise ProbeFailed(self._confiner.unavailable)
        mark = self._random_bytes(8).hex()
        try:
            return await probe(self._lane, confined=self._confiner is not None, clock=self._clock, nonce=mark)
        except ProbeFailed as error:
            raise ProbeFailed(f"the probe failed: {error}") from error

    def _features(self) -> frozenset[str]:
        shown = self._attestation is not None and plane.Property.NETWORK_HOSTS in self._attestation.properties
        return frozenset(self._lane.enforces) - (frozenset() if shown else {plane.Restraint.NETWORK_HOSTS})


class PlacedLane(plane.Lane, Protocol):
    """A lane to a place that is somewhere else."""

    async def check(self, exchange: plane.Exchange) -> frozenset[str]:
        """Reach it, have it prove who it is, and leave. What it offers. Raises LaneFailure."""
        ...


class PlacedTarget(ProbedTarget):
    """A place that is somewhere else. All that is shown of it is that whoever answers there is the one that was pinned,
    which is shown again with each execution."""

    def __init__(
        self,
        target_id: str,
        *,
        target_class: str,
        lane: PlacedLane,
        clock: Clock,
        signer: plane.Signer | None = None,
        life: timedelta = LIFE,
    ) -> None:
        super().__init__(
            target_id, target_class=target_class, lane_id=lane.lane_id, clock=clock, signer=signer, life=life
        )
        self._lane = lane
        self._offered = frozenset[str]()
        self.failure: plane.Failure | None = None
        """What kept the last probe from reaching it."""

    async def _probe(self) -> frozenset[plane.Property]:
        self.failure = None
        try:
            self._offered = await self._lane.check(plane.Exchange(self._clock))
        except plane.LaneFailure as error:
            self.failure = error.failure
            raise ProbeFailed(f"{error.failure.code}: {error.failure.message}") from error
        return frozenset({plane.Property.PEER_PROVED})

    def _features(self) -> frozenset[str]:
        return self._offered
