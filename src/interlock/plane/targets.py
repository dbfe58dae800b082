"""Targets: where effects are carried out, and what was proved of them."""

from datetime import timedelta
from enum import StrEnum
from typing import Final, Literal, Protocol

from interlock.kernel import Clock
from interlock.plane.contract import Contract, Moment, Name

LOCAL_HTTP: Final = "local-http"
"""The class of HTTP effects from this very process."""

SELF_ATTESTED: Final = "self"
"""`attested_by` of a host that speaks for itself: its word, and no more."""


class Health(StrEnum):
    """Whether a target takes work."""

    READY = "ready"
    DRAINING = "draining"
    UNAVAILABLE = "unavailable"


class Attestation(Contract):
    """What was proved of a target, by whom, and until when it counts."""

    contract: Literal["interlock.attestation/v1"] = "interlock.attestation/v1"
    target_class: Name
    properties: tuple[Name, ...]
    attested_by: Name
    attested_at: Moment
    expires_at: Moment


class TargetDescriptor(Contract):
    """A target as it is announced. It has no class of its own: a class is what the attestation proves."""

    contract: Literal["interlock.target/v1"] = "interlock.target/v1"
    target_id: Name
    lane_id: Name
    attestation: Attestation
    health: Health


class Target(Protocol):
    """Something that can be described now; the node asks at every admission."""

    @property
    def target_id(self) -> str:
        """Its name, unique within the node."""
        ...

    def describe(self) -> TargetDescriptor:
        """Its present description. Quick, and without I/O."""
        ...


class LocalTarget:
    """This process as a target. It attests itself, says so, and claims only that work stays in the process."""

    _LIFE: Final = timedelta(minutes=5)

    def __init__(self, target_id: str, *, target_class: str, lane_id: str, clock: Clock) -> None:
        self._target_id = target_id
        self._target_class = target_class
        self._lane_id = lane_id
        self._clock = clock
        self._descriptor = self._attest()

    @property
    def target_id(self) -> str:
        return self._target_id

    def describe(self) -> TargetDescriptor:
        attestation = self._descriptor.attestation
        if not attestation.attested_at <= self._clock.now() < attestation.expires_at:
            self._descriptor = self._attest()
        return self._descriptor

    def _attest(self) -> TargetDescriptor:
        now = self._clock.now()
        attestation = Attestation(
            target_class=self._target_class,
            properties=("in-process",),
            attested_by=SELF_ATTESTED,
            attested_at=now,
            expires_at=now + self._LIFE,
        )
        return TargetDescriptor(
            target_id=self._target_id, lane_id=self._lane_id, attestation=attestation, health=Health.READY
        )
