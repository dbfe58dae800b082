"""The same search, written by hand: one table, FTS5, a numpy matrix, reciprocal rank fusion."""

import json
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from interlock import memory

_CANDIDATES: Final = 100
_TABLES: Final = """
CREATE TABLE notes (id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, user TEXT NOT NULL, expires_at INTEGER, note TEXT NOT NULL);
CREATE INDEX notes_by_user ON notes (tenant, user);
CREATE TABLE vectors (id INTEGER PRIMARY KEY, vector BLOB NOT NULL);
CREATE VIRTUAL TABLE words USING fts5 (text);
"""


class ByHand:
    """What somebody writes who needs this once, and knows how: no revisions, no times, no reasons, one scope."""

    def __init__(self, path: Path, embedder: memory.HashedEmbedder) -> None:
        self.path = path
        self._embedder = embedder
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA cache_size = -65536")
        self._connection.executescript(_TABLES)
        self._matrix: Any = None

    def keep(self, texts: Sequence[str]) -> None:
        vectors = np.array([self._embedder.vector(text) for text in texts], dtype=np.float32)
        rows = [(number, "acme", "ana", None, json.dumps({"text": text})) for number, text in enumerate(texts)]
        with self._connection as write:
            write.execute("BEGIN")
            write.executemany("INSERT INTO notes VALUES (?, ?, ?, ?, ?)", rows)
            write.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", enumerate(texts))
            write.executemany(
                "INSERT INTO vectors VALUES (?, ?)", ((at, each.tobytes()) for at, each in enumerate(vectors))
            )
        self._matrix = vectors

    def search(self, asked: str, mode: str, limit: int) -> list[int]:
        """The numbers of the best notes."""
        lists = [self._by_words(asked)] if mode != "semantic" else []
        lists += [self._by_vectors(asked)] if mode != "text" else []
        scores: dict[int, float] = {}
        for each in lists:
            for rank, number in enumerate(each, start=1):
                scores[number] = scores.get(number, 0.0) + 1 / (60 + rank)
        best = sorted(scores, key=lambda number: (-scores[number], number))[:limit]
        marks = ", ".join("?" * len(best))
        told = dict(self._connection.execute(f"SELECT id, note FROM notes WHERE id IN ({marks})", best))
        return [number for number in best if json.loads(told[number])["text"]]

    def close(self) -> None:
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def _by_words(self, asked: str) -> list[int]:
        match = " OR ".join(f'"{word}"' for word in re.findall(r"\w+", asked.lower()))
        query = f"""SELECT n.id FROM words JOIN notes n ON n.id = words.rowid WHERE words MATCH ? AND {_SEEN}
            ORDER BY words.rank LIMIT ?"""
        return [row[0] for row in self._connection.execute(query, (match, "acme", "ana", 1, _CANDIDATES))]

    def _by_vectors(self, asked: str) -> list[int]:
        scores = np.vecdot(self._matrix, np.asarray(self._embedder.vector(asked), dtype=np.float32))
        most = min(_CANDIDATES, len(scores) - 1)
        best = np.argpartition(-scores, most)[:most]
        ranked = best[np.argsort(-scores[best])].tolist()
        query = f"SELECT n.id FROM notes n WHERE n.id IN ({', '.join(map(str, ranked))}) AND {_SEEN}"
        seen = {row[0] for row in self._connection.execute(query, ("acme", "ana", 1))}
        return [number for number in ranked if number in seen]


_SEEN: Final = "+n.tenant = ? AND +n.user = ? AND (n.expires_at IS NULL OR n.expires_at > ?)"
