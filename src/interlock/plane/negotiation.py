"""Matching a target with what is asked of it, by what it announces. Pure."""

import re
from functools import lru_cache
from typing import Final, Literal

from pydantic import Field

from interlock.plane.classes import SANDBOX_LEVELS
from interlock.plane.contract import Contract, Name
from interlock.plane.failures import Failure, FailureClass
from interlock.plane.targets import Health, TargetDescriptor, Version

_VERSION: Final = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})")


class TargetRequirement(Contract):
    """What is asked of a target besides its class. `version` is the least; a higher one of the same major will do (of the
    same minor while the major is 0). `schemas` are contracts that it must speak, `properties` what its attestation must have
    shown."""

    contract: Literal["interlock.target-requirement/v1"] = "interlock.target-requirement/v1"
    version: Version | None = None
    features: tuple[Name, ...] = Field(default=(), max_length=64)
    schemas: tuple[Name, ...] = Field(default=(), max_length=64)
    properties: tuple[Name, ...] = Field(default=(), max_length=64)


@lru_cache
def sandboxed(level: str) -> TargetRequirement:
    """What a level of `SANDBOX_LEVELS` asks of a target."""
    return TargetRequirement(properties=tuple(sorted(SANDBOX_LEVELS[level])))


def unfit(target: TargetDescriptor, requirement: TargetRequirement) -> Failure | None:
    """Why the target does not do; None if it does. Its class and attestation are judged elsewhere (`plan`)."""
    name = target.target_id
    if target.health is not Health.READY:
        return _unfit("target_unhealthy", f"target {name} is {target.health}: {target.reason or 'no reason given'}")
    if requirement.version is not None and not _is_compatible(target.version, requirement.version):
        return _unfit("target_version", f"target {name} is version {target.version}, not {requirement.version}")
    if missing := sorted(set(requirement.features) - set(target.features)):
        return _unfit("target_features", f"target {name} does not offer {', '.join(missing)}")
    if missing := sorted(set(requirement.schemas) - set(target.schemas)):
        return _unfit("target_schemas", f"target {name} does not speak {', '.join(missing)}")
    if missing := sorted(set(requirement.properties) - set(target.attestation.properties)):
        return _unfit("target_properties", f"target {name} was not shown to have {', '.join(missing)}")
    return None


def _is_compatible(offered: str, least: str) -> bool:
    have, want = _parts(offered), _parts(least)
    fixed = 1 if want[0] else 2
    return have[:fixed] == want[:fixed] and have >= want


def _parts(version: str) -> tuple[int, int, int]:
    match = _VERSION.fullmatch(version)
    assert match is not None, "contracts hold only versions"
    major, minor, patch = match.groups()
    return int(major), int(minor), int(patch)


def _unfit(code: str, message: str) -> Failure:
    return Failure.of(FailureClass.TARGET_UNAVAILABLE, message, code=code)
