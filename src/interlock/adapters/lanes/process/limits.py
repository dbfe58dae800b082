"""How the limits of a command are enforced: those that each process hands on to its children (`ResourceLimits.rlimits`),
and those on all its processes together."""

from typing import Final

from interlock import plane
from interlock.adapters.lanes.process.groups import PROCESSES, TOTAL_MEMORY

INHERITED: Final = frozenset(
    {plane.Restraint.CPU, plane.Restraint.MEMORY, plane.Restraint.FILES, plane.Restraint.FILE_SIZE}
)
"""What is enforced by limits that processes hand on."""


def totals(limits: plane.ResourceLimits, *, extra: int = 0) -> dict[str, int]:
    """Those that are set, by what control groups limit. `extra` processes are not counted."""
    wanted = {
        PROCESSES: None if limits.processes is None else limits.processes + extra,
        TOTAL_MEMORY: limits.total_memory_bytes,
    }
    return {name: value for name, value in wanted.items() if value is not None}
