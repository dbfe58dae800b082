"""Ids that are the same in every run of a test."""

import itertools

from interlock.kernel import PREFIXES


class SequentialIds:
    """A `kernel.IdSource` that counts: each id is larger than the one before, whatever its kind."""

    def __init__(self) -> None:
        self._count = itertools.count(1)

    def new(self, prefix: str) -> str:
        """The next id, in the shape of a UUIDv7. Raises ValueError for a prefix that does not exist."""
        if prefix not in PREFIXES:
            raise ValueError(f"unknown id prefix {prefix!r}")
        return f"{prefix}_{0x7 << 76 | 0b10 << 62 | next(self._count):032x}"

    def several(self, prefix: str, count: int) -> list[str]:
        """The next ids. Raises as `new`."""
        return [self.new(prefix) for _ in range(count)]
