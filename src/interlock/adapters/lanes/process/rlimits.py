"""The limits that a process hands on to its children: which they are, and what the system calls them."""

from collections.abc import Mapping
from typing import Final

from interlock import plane

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
