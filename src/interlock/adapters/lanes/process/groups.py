"""Control groups: limits on all processes of a command together, where whoever runs it may make groups. It also runs at the
far side of a placement, with the standard library alone."""

import contextlib
import fcntl
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
    """What this host offers. It is asked once, by making a group and taking it away; those that somebody who was killed has
    left behind are taken away as well."""

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
                    folders[group.parent] = stack.enter_context(_made(group.parent))
                (folders[group.parent] / group.limit).write_text(str(value))
            yield [str(folder / "cgroup.procs") for folder in folders.values()]


def _can_limit(group: Group) -> bool:
    if not (group.parent / "cgroup.procs").exists():
        return False
    _sweep(group.parent)
    try:
        with _made(group.parent) as folder:
            return (folder / group.limit).exists()
    except OSError:
        return False


@contextlib.contextmanager
def _made(parent: Path) -> "Generator[Path, None, None]":
    """A group, for as long as the block lasts. It is locked by whoever made it, so that others see that it is in use."""
    with contextlib.ExitStack() as stack:
        while True:
            folder = Path(tempfile.mkdtemp(prefix=f"interlock-{os.getpid()}-", dir=parent))
            stack.callback(_remove, folder)
            with contextlib.suppress(FileNotFoundError):  # another's sweep was there before the lock
                stack.enter_context(_locked(folder, fcntl.LOCK_SH))
            if folder.exists():
                break
        yield folder


def _sweep(parent: Path) -> None:
    for folder in parent.glob("interlock-[0-9]*-*"):
        with contextlib.suppress(OSError), _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):  # in use, or just gone
            folder.rmdir()


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):  # a process that cannot be killed now keeps it; the kernel empties it later
        folder.rmdir()


@contextlib.contextmanager
def _locked(folder: Path, how: int) -> "Generator[None, None, None]":
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, how)
        yield
    finally:
        os.close(fd)
