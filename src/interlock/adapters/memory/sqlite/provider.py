"""The provider `sqlite`."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from anyio import to_thread
from pydantic import Field

from interlock import memory
from interlock.adapters.memory.embedders import Choice, embedder_of
from interlock.adapters.memory.sqlite.shelf import SqliteShelf
from interlock.adapters.memory.vectors import has_numpy
from interlock.kernel import Clock, IdSource

_MODES = frozenset(memory.SearchMode)


class Config(memory.Value):
    """How a memory file is opened. `dimensions` is the length of its vectors; with `embedder` none it is searched by words
    alone."""

    path: Annotated[str, Field(min_length=1)]
    embedder: Choice = "hashed"
    dimensions: Annotated[int, Field(ge=16, le=4_096)] = 256


class Sqlite(memory.Keeper):
    """Records in one SQLite file."""

    name: ClassVar[str] = "sqlite"
    description: ClassVar[str] = "one file; words by FTS5, vectors by numpy; no server, no key, no model"

    @classmethod
    def validate_config(cls, config: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            checked = Config.of(**config)
        except memory.InvalidInput as error:
            raise memory.InvalidConfig(error.message, details=error.details) from None
        if checked.embedder != "none" and not has_numpy():
            raise memory.InvalidConfig(
                "vectors are searched by numpy, which is not installed",
                next_step="`pip install 'interlock[memory]'`, or open it with embedder = \"none\" and search by words.",
            )
        embedder_of(checked.embedder, checked.dimensions)
        return checked.model_dump()

    @classmethod
    async def open(cls, config: Mapping[str, Any], *, clock: Clock, ids: IdSource) -> Self:
        settings = Config.of(**config)
        embedder = embedder_of(settings.embedder, settings.dimensions)
        name = "none" if embedder is None else embedder.name
        opening = partial(SqliteShelf.open, Path(settings.path), embedder=name, dimensions=settings.dimensions)
        return cls(await to_thread.run_sync(opening), embedder, clock=clock, ids=ids)

    @property
    def guarantees(self) -> memory.Guarantees:
        embedder = self._embedder
        return memory.Guarantees(
            durable=True,
            atomic_batch=True,
            read_your_writes=True,
            search_modes=_MODES if embedder is not None else frozenset({memory.SearchMode.TEXT}),
            isolation="query",
            vector_dimensions=None if embedder is None else embedder.dimensions,
            chosen_ids=True,
        )
