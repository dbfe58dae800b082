"""Keeping targets proved: they are probed again before their attestations end, and when one has ended after all."""

import logging
from collections.abc import Iterable
from datetime import timedelta
from math import inf
from typing import Final, Protocol, runtime_checkable

import anyio

from interlock.kernel import Clock, is_interruption
from interlock.plane.attestation import AttestationVerifier
from interlock.plane.targets import Attestation, Target

_log: Final = logging.getLogger(__name__)

RETRY: Final = timedelta(minutes=1)
"""After a probe that failed, the time before the next."""


@runtime_checkable
class ProvableTarget(Target, Protocol):
    """A target that a probe has to prove."""

    @property
    def target_class(self) -> str:
        """The class that it would prove."""
        ...

    async def attest(self, nonce: str | None = None) -> Attestation | None:
        """Probe it, and attest to what was shown, in answer to a challenge. None if that is not what its class stands for;
        `describe` then says why. Until then it says what it said before."""
        ...


class Renewal:
    """Probes the targets of one node, each once at a time."""

    def __init__(self, targets: Iterable[Target], verifier: AttestationVerifier, *, clock: Clock) -> None:
        self._targets: dict[ProvableTarget, anyio.Lock] = {}
        for target in targets:
            self.add(target)
        self._verifier = verifier
        self._clock = clock
        self._failed: dict[str, float] = {}
        self._asked: set[ProvableTarget] = set()
        self._more = anyio.Event()

    def add(self, target: Target) -> None:
        """One more, if it has to be proved."""
        if isinstance(target, ProvableTarget):
            self._targets[target] = anyio.Lock()

    @property
    def classes(self) -> frozenset[str]:
        """The classes that its targets would prove."""
        return frozenset(target.target_class for target in self._targets)

    async def run(self) -> None:
        """Go on until cancelled: probe each target that was probed before when a third of its attestation's time is left. One
        that nobody has asked for is left alone."""
        while True:
            await self._due()
            async with anyio.create_task_group() as tasks:
                for target in self._asked:
                    tasks.start_soon(self._prove, target)

    async def _due(self) -> None:
        """Wait until one is to be probed, also if that one is asked for only meanwhile."""
        while True:
            more, left = self._more, min(map(self._seconds_left, self._asked), default=inf)
            if left <= 0:
                return
            async with anyio.create_task_group() as either:
                if left < inf:
                    either.start_soon(self._sleep, left, either.cancel_scope)
                await more.wait()
                either.cancel_scope.cancel()

    async def _sleep(self, seconds: float, then: anyio.CancelScope) -> None:
        await self._clock.sleep(seconds)
        then.cancel()

    async def prove(self, target_class: str | None = None) -> None:
        """Probe the targets of that class, or all, that have no attestation which holds, unless that has just failed."""
        for target in tuple(self._targets):  # more may be added meanwhile
            if target_class in (None, target.target_class) and not self._holds(target):
                await self._prove(target)

    async def _prove(self, target: ProvableTarget) -> None:
        if target not in self._asked:
            self._asked.add(target)
            more, self._more = self._more, anyio.Event()
            more.set()
        async with self._targets[target]:
            if self._seconds_left(target) > 0:
                return
            reason = await self._ask(target)
            if reason is None:
                self._failed.pop(target.target_id, None)
            else:
                self._failed[target.target_id] = self._clock.monotonic()
                _log.warning("target %s takes no work: %s", target.target_id, reason)

    async def _ask(self, target: ProvableTarget) -> str | None:
        """Have it attest. Returns why it did not, if it did not."""
        try:
            attestation = await target.attest(self._verifier.challenge(target.target_id))
        except BaseException as error:
            if is_interruption(error):
                raise
            return f"the probe broke: {type(error).__name__}"
        if attestation is None:
            return target.describe().reason
        refused = self._verifier.accept(attestation)
        return None if refused is None else refused.message

    def _holds(self, target: ProvableTarget) -> bool:
        return self._verifier.holds(target.describe()) is None

    def _seconds_left(self, target: ProvableTarget) -> float:
        """Until it is to be probed."""
        if self._holds(target) and target.target_id not in self._failed:
            attestation = target.describe().attestation
            life = attestation.expires_at - attestation.attested_at
            return (attestation.expires_at - life / 3 - self._clock.now()).total_seconds()
        failed = self._failed.get(target.target_id)
        return 0.0 if failed is None else failed + RETRY.total_seconds() - self._clock.monotonic()
