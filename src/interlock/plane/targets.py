"""Targets: where effects are carried out, and what was proved of them."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Final, Literal, Protocol, Self

from pydantic import Field, StringConstraints, model_validator

from interlock.kernel import Clock
from interlock.plane.classes import unproved
from interlock.plane.contract import Contract, Hex, Moment, Name

LOCAL_HTTP: Final = "local-http"
"""The class of HTTP effects from this very process."""

LOCAL_SCRIPT: Final = "local-script"
"""The class of scripts in an interpreter that this very process starts."""

SELF_ATTESTED: Final = "self"
"""`attested_by` of a host that speaks for itself: its word, and no more."""


Version = Annotated[str, StringConstraints(pattern=r"^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})$")]
"""A semantic version without pre-release."""


class Health(StrEnum):
    """Whether a target takes work."""

    READY = "ready"
    DRAINING = "draining"
    UNAVAILABLE = "unavailable"


class Attestation(Contract):
    """What was proved of a target, by whom, and until when it counts. A class cannot be claimed without the properties that
    it stands for. `nonce` is the challenge that it answers; `signature` is the attester's, over all the rest."""

    contract: Literal["interlock.attestation/v1"] = "interlock.attestation/v1"
    target_id: Name | None = None
    target_class: Name
    properties: tuple[Name, ...]
    attested_by: Name
    attested_at: Moment
    expires_at: Moment
    nonce: Hex | None = None
    signature: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]{86}==$")] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if missing := unproved(self.target_class, self.properties):
            raise ValueError(f"{self.target_class} stands for {', '.join(missing)}, too")
        return self


class TargetDescriptor(Contract):
    """A target as it is announced. It has no class of its own: a class is what the attestation proves. `reason` says why
    it is not ready; `schemas` are the contracts that it speaks."""

    contract: Literal["interlock.target/v1"] = "interlock.target/v1"
    target_id: Name
    lane_id: Name
    attestation: Attestation
    health: Health
    reason: str | None = None
    version: Version = "0.0.0"
    features: tuple[Name, ...] = Field(default=(), max_length=64)
    schemas: tuple[Name, ...] = Field(default=(), max_length=64)


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
