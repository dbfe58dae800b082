"""Where a suite works, and how long."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from bench import database
from bench.timing import Pace


@dataclass(frozen=True, slots=True)
class Place:
    """A folder, a Postgres server, and a pace."""

    folder: Path
    postgres: str
    pace: Pace
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def new(self) -> Path:
        """An empty folder."""
        path = self.folder / str(next(self._numbers))
        path.mkdir()
        return path

    @asynccontextmanager
    async def store(self, engine: str) -> AsyncGenerator[str]:
        """The URL of an empty store: a new SQLite file, or a new database that is dropped afterwards."""
        if engine == "sqlite":
            yield str(self.new() / "interlock.db")
            return
        with database.database(self.postgres) as url:
            yield url
