"""A profile's paths, as a sandbox with a root of its own has them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock import plane

_MOUNTS: Final = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Bind:
    """What of the host is found at a path. What is not there cannot be read."""

    source: str
    path: str
    writable: bool


def binds(profile: plane.SandboxProfile) -> list[Bind]:
    """Parents before what is in them, so that no mount hides another. Raises LaneFailure for a path that brings the host's
    processes in: the sandbox has a /proc of its own, which stands over the host's where all of the host is read."""
    found = [Bind(os.path.realpath(path), path, writable=False) for path in profile.read if Path(path).exists()]
    found += [Bind(os.path.realpath(path), path, writable=True) for path in profile.write]
    points = list(_processes())
    for bind in found:
        covered = ["/proc"] if bind.path == bind.source == "/" else []
        _check(bind, [point for point in points if not any(point.is_relative_to(each) for each in covered)])
    return sorted(found, key=lambda bind: (bind.path.rstrip("/").count("/"), bind.writable))


def check_written(profile: plane.SandboxProfile) -> None:
    """For a sandbox in the host's own root: the settings of the kernel lie beside its processes, and are nobody's to write.
    Raises LaneFailure."""
    points = list(_processes())
    for path in profile.write:
        _check(Bind(os.path.realpath(path), path, writable=True), points)


def _check(bind: Bind, points: list[Path]) -> None:
    for point in points:
        if point.is_relative_to(bind.source) or Path(bind.source).is_relative_to(point):
            message = f"the path {bind.path[:200]!r} holds the host's processes, at {point}: leave it out"
            raise plane.LaneFailure(plane.FailureClass.SANDBOX_UNENFORCEABLE, message, code="path_refused")


def _processes() -> Iterator[Path]:
    """Where this host's processes can be seen."""
    for line in _MOUNTS.read_text().splitlines():
        fields, _, kind = line.partition(" - ")
        if kind.split()[0] == "proc":
            yield Path(fields.split()[4].encode().decode("unicode_escape"))
