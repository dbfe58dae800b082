"""A target of this host: announced with what its probe showed, or with the reason why it takes no work."""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from interlock import plane
from interlock.adapters.targets.probing import ProbedLane, ProbeFailed, probe
from interlock.kernel import VERSION, Clock

LIFE: Final = timedelta(minutes=15)
"""How long an attestation counts before the target has to be probed again."""


class LocalSandbox:
    """A place where this host runs processes: `local-process` without a confiner, else the confiner's class. Until it is
    probed it is unproven and unavailable. It attests with the signer's key; without one it gives its bare word."""

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
        self._target_id = target_id
        self._lane = lane
        self._clock = clock
        self._confiner = confiner
        self._signer = signer
        self._life = life
        self._random_bytes = random_bytes
        self._attestation: plane.Attestation | None = None
        self._reason = "it was not probed yet"

    @property
    def target_id(self) -> str:
        return self._target_id

    @property
    def target_class(self) -> str:
        """The class that it would prove."""
        return plane.LOCAL_PROCESS if self._confiner is None else self._confiner.target_class

    async def attest(self, nonce: str | None = None) -> plane.Attestation | None:
        """Probe it, and attest to what was shown, in answer to a challenge. None if that is not what its class stands
        for; `describe` then says why. Until then it says what it said before."""
        try:
            shown = await self._probe()
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

    async def _probe(self) -> frozenset[plane.Property]:
        """What it was shown to have, which is no less than its class stands for. Raises ProbeFailed."""
        if self._confiner is not None and self._confiner.unavailable is not None:
            raise ProbeFailed(self._confiner.unavailable)
        mark = self._random_bytes(8).hex()
        try:
            shown = await probe(self._lane, confined=self._confiner is not None, clock=self._clock, nonce=mark)
        except ProbeFailed as error:
            raise ProbeFailed(f"the probe failed: {error}") from error
        if missing := plane.unproved(self.target_class, shown):
            raise ProbeFailed(f"the probe did not show {', '.join(missing)}")
        return shown

    def describe(self) -> plane.TargetDescriptor:
        attestation = self._attestation
        return plane.TargetDescriptor(
            target_id=self._target_id,
            lane_id=self._lane.lane_id,
            attestation=attestation or self._nothing(),
            health=plane.Health.UNAVAILABLE if attestation is None else plane.Health.READY,
            reason=self._reason if attestation is None else None,
            version=VERSION,
            features=tuple(sorted(self._lane.enforces)),
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
