"""The nearest of many vectors, by numpy."""

import sqlite3
import threading
from collections.abc import Sequence
from typing import Any, Final

from interlock import memory

_MOST: Final = 5_000
_GROUP: Final = 64


def has_numpy() -> bool:
    """Whether vectors can be searched here."""
    try:
        import numpy as np
    except ImportError:
        return False
    return bool(np)


class Matrix:
    """The vectors of a file, kept in memory as far as they were asked for. A revision's vector never changes, so what is here
    stays true; what is no longer in the file is found and not seen. Many threads may use it."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self._place: dict[int, int] = {}
        """Where a revision's vector is; -1 if it has none, or one of zeros, which is near to nothing."""
        self._rows: Any = None
        self._ids: Any = None
        self._room = 0
        self._used = 0
        self._whole_to = 0
        """Up to this revision all of the file is here."""
        self._lock = threading.Lock()

    def drop(self, revision_ids: Sequence[int]) -> None:
        """Forget these, and what they looked like."""
        with self._lock:
            for revision_id in revision_ids:
                place = self._place.pop(revision_id, -1)
                if place >= 0:
                    self._rows[place] = 0
                    self._ids[place] = -1

    def nearest(
        self, connection: sqlite3.Connection, revision_ids: Sequence[int], vector: Sequence[float], *, limit: int
    ) -> Sequence[tuple[int, float]]:
        """Which of these revisions have the nearest vectors, by their places in the list, and their cosines; all vectors have
        length 1."""
        import numpy as np

        with self._lock:
            self._load(connection, [each for each in revision_ids if each not in self._place])
            kept = [at for at, each in enumerate(revision_ids) if self._place[each] >= 0]
            if not kept:
                return ()
            places = np.fromiter((self._place[revision_ids[at]] for at in kept), dtype=np.int64, count=len(kept))
            scores = _cosines(self._rows[places], vector)
        best: list[int] = highest(scores, limit).tolist()
        return [(kept[at], float(scores[at])) for at in best]

    def nearest_of_all(
        self, connection: sqlite3.Connection, vector: Sequence[float], most: int
    ) -> tuple[dict[int, float], bool]:
        """The revisions of the whole file whose vectors are nearest, with their cosines, and whether these are all. Some may be
        gone by now."""
        with self._lock:
            self._load_rest(connection)
            if not self._used:
                return {}, True
            scores = _cosines(self._rows[: self._used], vector)
            ids = self._ids[: self._used]
            best = highest(scores, most)
            return dict(zip(ids[best].tolist(), scores[best].tolist(), strict=True)), most >= len(ids)

    def _load(self, connection: sqlite3.Connection, missing: Sequence[int]) -> None:
        for at in range(0, len(missing), _MOST):
            part = missing[at : at + _MOST]
            marks = ", ".join(map(str, part))
            query = f"SELECT revision_id, vector FROM vectors WHERE revision_id IN ({marks})"
            self._add(connection.execute(query).fetchall())
            for revision_id in part:
                self._place.setdefault(revision_id, -1)

    def _load_rest(self, connection: sqlite3.Connection) -> None:
        query = "SELECT revision_id, vector FROM vectors WHERE revision_id > ? ORDER BY revision_id LIMIT ?"
        while found := connection.execute(query, (self._whole_to, _MOST)).fetchall():
            self._add([row for row in found if row[0] not in self._place])
            self._whole_to = found[-1][0]

    def _add(self, found: Sequence[tuple[int, bytes]]) -> None:
        import numpy as np

        size = 4 * self._dimensions
        if any(len(row[1]) != size for row in found):
            step = "Restore it from a copy, or export it and import it into a new file."
            raise memory.ProviderUnavailable("the file is damaged: a vector in it has another length", next_step=step)
        vectors = np.frombuffer(b"".join(row[1] for row in found), dtype=np.float32).reshape(-1, self._dimensions)
        has_any = vectors.any(axis=1)
        ids = np.fromiter((row[0] for row in found), dtype=np.int64, count=len(found))
        self._place.update(dict.fromkeys(ids[~has_any].tolist(), -1))
        ids, vectors = ids[has_any], vectors[has_any]
        begin, end = self._used, self._used + len(ids)
        if end > self._room:
            self._grow(max(1_024, end + end // 2))
        self._rows[begin:end], self._ids[begin:end] = vectors, ids
        self._place.update(zip(ids.tolist(), range(begin, end), strict=True))
        self._used = end

    def _grow(self, size: int) -> None:
        import numpy as np

        rows, ids = np.zeros((size, self._dimensions), dtype=np.float32), np.full(size, -1, dtype=np.int64)
        if self._used:
            rows[: self._used], ids[: self._used] = self._rows[: self._used], self._ids[: self._used]
        self._rows, self._ids, self._room = rows, ids, size


def highest(scores: Any, most: int) -> Any:
    """The places of the highest so many, in no order. Of many scores most are left out at one look: what is below the best of so
    many groups is none of them."""
    import numpy as np

    if most >= len(scores):
        return np.arange(len(scores))
    count = len(scores) // _GROUP
    if count <= most:
        return np.argpartition(-scores, most - 1)[:most]
    best = scores[: _GROUP * count].reshape(_GROUP, count).max(axis=0)
    least = np.partition(best, count - most)[count - most]
    there = np.flatnonzero(~(scores < least))
    return there[np.argpartition(-scores[there], most - 1)[:most]]


def _cosines(rows: Any, vector: Sequence[float]) -> Any:
    """Row by row, on this thread: a product of the whole matrix wakes a thread on each core, which then spin for longer than
    all of it takes."""
    import numpy as np

    return np.vecdot(rows, np.asarray(vector, dtype=np.float32))
