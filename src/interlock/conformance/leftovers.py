"""What is there of processes, descriptors and temporary files: counted before and after."""

import os
import tempfile
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

_PROC: Final = Path("/proc")
SETTLES_WITHIN: Final = 5.0
"""Seconds that what is on its way out has to go."""

_LOOK_EVERY: Final = 0.1

COUNTABLE: Final = (_PROC / "self" / "fd").is_dir()
"""Whether this host shows processes and descriptors."""


@dataclass(frozen=True, slots=True)
class Presence:
    """How much there is of each sort."""

    counts: Mapping[str, int]

    def beyond(self, before: "Presence") -> str | None:
        """What there is more than before; None if nothing is."""
        more = {sort: count - before.counts.get(sort, 0) for sort, count in self.counts.items()}
        return ", ".join(f"{count} more {sort}" for sort, count in sorted(more.items()) if count > 0) or None


def present() -> Presence:
    """What is there now: temporary files, and where /proc is also our descendants and descriptors."""
    counts = Counter({"temporary files": len(os.listdir(tempfile.gettempdir()))})
    if COUNTABLE:
        counts["processes"] = len(_descendants())
        for name in os.listdir(_PROC / "self" / "fd"):
            try:
                counts[_sort(os.readlink(_PROC / "self" / "fd" / name))] += 1
            except FileNotFoundError:
                continue  # it was the one by which they were listed
    return Presence(counts)


async def left_beyond(before: Presence, *, within: float) -> str | None:
    """What there still is more than before, once what is on its way out has had so many seconds to go."""
    with anyio.move_on_after(within):
        while present().beyond(before) is not None:  # noqa: ASYNC110 - the kernel tells nobody
            await anyio.sleep(_LOOK_EVERY)
    return present().beyond(before)


def bearing(mark: str) -> list[int]:
    """The processes of this host, but us, that have the text among their arguments."""
    found: list[int] = []
    for each in _pids():
        try:
            if mark.encode() in (_PROC / str(each) / "cmdline").read_bytes():
                found.append(each)
        except OSError:
            continue  # it is gone, or none of ours
    return [pid for pid in found if pid != os.getpid()]


@contextmanager
def own_temporary_folder() -> Generator[Path]:
    """Meanwhile temporary files of this process are made where nobody else makes any."""
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix="interlock-conformance-") as folder:
        tempfile.tempdir = os.environ["TMPDIR"] = folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before[0]
            os.environ.pop("TMPDIR")
            if before[1] is not None:
                os.environ["TMPDIR"] = before[1]


def _sort(link: str) -> str:
    kind, colon, _ = link.partition(":")
    return {"socket": "sockets", "pipe": "pipes"}.get(kind if colon else "", "other descriptors")


def _pids() -> list[int]:
    return [int(name) for name in os.listdir(_PROC) if name.isdigit()] if COUNTABLE else []


def _descendants() -> set[int]:
    parents: dict[int, int] = {}
    for pid in _pids():
        try:
            stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
        except OSError:
            continue
        parents[pid] = int(stat.rpartition(")")[2].split()[1])
    found, grown = {os.getpid()}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        grown = bool(more)
        found |= more
    return found - {os.getpid()}
