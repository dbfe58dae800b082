"""Identifiers: a short prefix that names the kind, then a UUIDv7 (RFC 9562 §5.7), so that ids sort by time."""

import os
import re
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from interlock.kernel.clock import Clock, to_micros

PREFIXES = frozenset(
    {
        "run", "att", "snd", "evt", "art", "dec", "con", "crd", "lse", "ins", "apr", "own", "key", "exe", "bnd", "grt",
        "dlv", "rte", "trg", "sch", "tok", "ags", "mem", "ocl", "cev", "krt", "wrk", "sub", "msg", "arc", "cns",
    }
)  # fmt: skip
"""Every kind of id there is. A new kind is added here and nowhere else."""

_DRAWS = 64
_VARIANT = str.maketrans("0123456789abcdef", "89ab" * 4)
_SHAPE = re.compile(r"^([a-z]{3})_([0-9a-f]{32})\Z")


class IdSource(Protocol):
    """Where ids come from. `Uuid7Ids` in production, `testing.SequentialIds` in tests."""

    def new(self, prefix: str) -> str:
        """A fresh id such as `run_0193…`."""
        ...

    def several(self, prefix: str, count: int) -> list[str]:
        """That many, each larger than the one before; cheaper than one by one."""
        ...


class Uuid7Ids:
    """Time-ordered ids, strictly increasing within a process (RFC 9562 §6.2, method 3)."""

    def __init__(self, clock: Clock, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock
        self._random_bytes = random_bytes
        self._last = 0
        self._lock = threading.Lock()
        self._tails: list[str] = []
        self._drawn_by = 0

    def new(self, prefix: str) -> str:
        if prefix not in PREFIXES:
            raise ValueError(f"unknown id prefix {prefix!r}")
        now = _stamp(self._clock.now())
        with self._lock:
            self._last = stamp = now if now > self._last else self._last + 1
            if not self._tails or self._drawn_by != os.getpid():
                self._draw(1)
            tail = self._tails.pop()
        return f"{prefix}_{stamp >> 12 << 16 | 0x7000 | stamp & 0xFFF:016x}{tail}"

    def several(self, prefix: str, count: int) -> list[str]:
        if prefix not in PREFIXES:
            raise ValueError(f"unknown id prefix {prefix!r}")
        now = _stamp(self._clock.now())
        with self._lock:
            first = now if now > self._last else self._last + 1
            self._last = first + count - 1
            if len(self._tails) < count or self._drawn_by != os.getpid():
                self._draw(count)
            left = len(self._tails) - count
            tails = self._tails[left:]
            del self._tails[left:]
        return [
            f"{prefix}_{at >> 12 << 16 | 0x7000 | at & 0xFFF:016x}{tail}" for at, tail in enumerate(tails, start=first)
        ]

    def _draw(self, count: int) -> None:
        """The variant and 62 random bits, for many ids. The system gives many at once: asking for each would let go of
        the interpreter's lock, and under load a thread waits long to have it back. A forked child draws its own."""
        drawn = self._random_bytes(8 * (_DRAWS + count)).hex()
        starts = range(0, 16 * (_DRAWS + count), 16)
        self._tails = [drawn[at].translate(_VARIANT) + drawn[at + 1 : at + 16] for at in starts]
        self._drawn_by = os.getpid()


def _stamp(moment: datetime) -> int:
    """48 bits of milliseconds, then 12 bits for the fraction of that millisecond."""
    millis, micros = divmod(to_micros(moment), 1000)
    return millis << 12 | (micros << 12) // 1000


def is_id(text: str, prefix: str) -> bool:
    """Whether the text has the shape of an id of that kind (it may still name nothing)."""
    match = _SHAPE.match(text)
    return match is not None and match.group(1) == prefix
