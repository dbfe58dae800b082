"""The limits of a command, as those who enforce them call them: those that a process hands on to its children, and those on
all its processes together."""

from collections.abc import Mapping
from typing import Final

from interlock import plane
from interlock.adapters.lanes.process.groups import PROCESSES, TOTAL_MEMORY

_NAMES: Final[Mapping[str, str]] = {
    "cpu_seconds": "RLIMIT_CPU",
    "files": "RLIMIT_NOFILE",
    "file_bytes": "RLIMIT_FSIZE",
    "memory_bytes": "RLIMIT_AS",
}

INHERITED: Final = frozenset(
    {plane.Restraint.CPU, plane.Restraint.MEMORY, plane.Restraint.FILES, plane.Restraint.FILE_SIZE}
)
"""What is enforced by them."""


def rlimits(limits: plane.ResourceLimits) -> dict[str, int]:
    """Those that are set, by the system's names."""
    return {_NAMES[name]: value for name, value in limits.model_dump(exclude_none=True).items() if name in _NAMES}


def totals(limits: plane.ResourceLimits, *, extra: int = 0) -> dict[str, int]:
    """Those that are set, by what control groups limit. `extra` processes are not counted."""
    wanted = {
        PROCESSES: None if limits.processes is None else limits.processes + extra,
        TOTAL_MEMORY: limits.total_memory_bytes,
    }
    return {name: value for name, value in wanted.items() if value is not None}
