"""Control groups: limits on all processes of a command together, where whoever runs it may make groups. It also runs at the
far side of a placement, with the standard library alone."""

import contextlib
import os
import tempfile
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROCESSES: Final = "processes"
TOTAL_MEMORY: Final = "total-memory"

_ROOT: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Group:
    """Below `parent` a group can be made, in which the file `limit` bounds one thing."""

    parent: Path
    limit: str


class Groups:
    """What this host offers. It is asked once, by making a group and taking it away."""

    def __init__(self, root: Path = _ROOT) -> None:
        self._found: dict[str, Group] = {}
        for restraint, controller, old, new in (
            (PROCESSES, "pids", "pids.max", "pids.max"),
            (TOTAL_MEMORY, "memory", "memory.limit_in_bytes", "memory.max"),
        ):
            for group in (Group(root / controller, old), Group(root, new)):
                if _can_limit(group):
                    self._found[restraint] = group
                    break

    @property
    def offered(self) -> "frozenset[str]":
        """What can be limited: PROCESSES, TOTAL_MEMORY."""
        return frozenset(self._found)

    @contextlib.contextmanager
    def limited(self, limits: Mapping[str, int]) -> "Generator[Sequence[str], None, None]":
        """Groups with these limits, as the files by which a process joins them. The groups are removed at the end, when
        nothing may be left in them. KeyError for what is not offered."""
        folders: dict[Path, Path] = {}
        with contextlib.ExitStack() as stack:
            for restraint, value in limits.items():
                group = self._found[restraint]
                if group.parent not in folders:
                    folders[group.parent] = _make(group.parent)
                    stack.callback(_remove, folders[group.parent])
                (folders[group.parent] / group.limit).write_text(str(value))
            yield [str(folder / "cgroup.procs") for folder in folders.values()]


def _can_limit(group: Group) -> bool:
    if not (group.parent / "cgroup.procs").exists():
        return False
    try:
        folder = _make(group.parent)
    except OSError:
        return False
    try:
        return (folder / group.limit).exists()
    finally:
        _remove(folder)


def _make(parent: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"interlock-{os.getpid()}-", dir=parent))


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):  # a process that cannot be killed now keeps it; the kernel empties it later
        folder.rmdir()
