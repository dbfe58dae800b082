"""The nearest of many vectors, by numpy."""

import sqlite3
import threading
from collections.abc import Sequence
from typing import Any, Final

from interlock import memory

_MOST: Final = 5_000


def has_numpy() -> bool:
    """Whether vectors can be searched here."""
    try:
        import numpy as np
    except ImportError:
        return False
    return bool(np)


class Matrix:
    """The vectors of a file, kept in memory as far as they were asked for. A revision's vector never changes, so what is here
    stays true. Many threads may use it."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self._place: dict[int, int] = {}
        self._rows: Any = None
        self._used = 0
        self._lock = threading.Lock()

    def drop(self, revision_ids: Sequence[int]) -> None:
        """Forget these, and what they looked like."""
        with self._lock:
            for revision_id in revision_ids:
                place = self._place.pop(revision_id, None)
                if place is not None:
                    self._rows[place] = 0

    def nearest(
        self, connection: sqlite3.Connection, rows: Sequence[tuple[int, str]], vector: Sequence[float], *, limit: int
    ) -> Sequence[memory.Found]:
        """The records among these rows (revision and record) whose vectors are nearest by cosine; all have length 1."""
        import numpy as np

        with self._lock:
            self._load(connection, [row[0] for row in rows if row[0] not in self._place])
            kept = [row for row in rows if row[0] in self._place]
            if not kept:
                return ()
            places = np.fromiter((self._place[row[0]] for row in kept), dtype=np.int64, count=len(kept))
            scores = self._rows[places] @ np.asarray(vector, dtype=np.float32)
        best = np.argpartition(-scores, limit - 1)[:limit] if limit < len(kept) else range(len(kept))
        return memory.ordered(memory.Found(record_id=kept[at][1], score=float(scores[at])) for at in best)

    def _load(self, connection: sqlite3.Connection, missing: Sequence[int]) -> None:
        import numpy as np

        for at in range(0, len(missing), _MOST):
            part = missing[at : at + _MOST]
            marks = ", ".join(map(str, part))
            found = connection.execute(
                f"SELECT revision_id, vector FROM vectors WHERE revision_id IN ({marks})"
            ).fetchall()
            end = self._used
            if self._rows is None or end + len(found) > len(self._rows):
                larger = np.zeros((max(1_024, 2 * (end + len(found))), self._dimensions), dtype=np.float32)
                if self._rows is not None:
                    larger[:end] = self._rows[:end]
                self._rows = larger
            for place, (revision_id, vector) in enumerate(found, start=end):
                self._rows[place] = np.frombuffer(vector, dtype=np.float32)
                self._place[revision_id] = place
            self._used = end + len(found)
