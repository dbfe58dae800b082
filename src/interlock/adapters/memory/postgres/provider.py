"""The provider `postgres`."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field

from interlock import memory
from interlock.adapters.memory.embedders import Choice, embedder_of
from interlock.adapters.memory.postgres.place import Place, Standing
from interlock.kernel import Clock, IdSource, Secret

_MODES = frozenset(memory.SearchMode)
_MISSING = "`pip install 'interlock[postgres]'`, or keep it in one file, with the provider `sqlite`."


def _secret(value: object) -> object:
    return Secret(value) if isinstance(value, str) else value


class Config(memory.Value):
    """How a memory in Postgres is opened. `url` is a `postgresql://` address, or words as libpq takes them. `isolation` says who
    is to keep scopes apart: the `storage`, and a role that row-level security does not hold is refused; or the `query`.
    `grant_to` names a role that may use the tables from now on; whoever opens it so has to own them."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    url: Annotated[Secret, BeforeValidator(_secret)]
    schema_name: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$", alias="schema")] = "interlock_memory"
    embedder: Choice = "hashed"
    dimensions: Annotated[int, Field(ge=16, le=4_096)] = 256
    isolation: Literal["storage", "query"] = "storage"
    grant_to: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    connections: Annotated[int, Field(ge=1, le=100)] = 4


class Postgres(memory.Keeper):
    """Records in tables of a Postgres database."""

    name: ClassVar[str] = "postgres"
    description: ClassVar[str] = "tables in Postgres; vectors by pgvector; scopes kept apart by row-level security"
    needs: ClassVar[Mapping[str, str]] = {"psycopg": "pip install 'interlock[postgres]'"}

    def __init__(
        self,
        shelf: memory.Shelf,
        embedder: memory.Embedder | None,
        *,
        place: Place,
        standing: Standing,
        clock: Clock,
        ids: IdSource,
    ) -> None:
        super().__init__(shelf, embedder, clock=clock, ids=ids)
        self._place = place
        self._standing = standing

    @classmethod
    def validate_config(cls, config: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            checked = Config.of(**config)
        except memory.InvalidInput as error:
            raise memory.InvalidConfig(error.message, details=error.details) from None
        _database(checked.url)
        embedder_of(checked.embedder, checked.dimensions)
        return checked.model_dump(by_alias=True)

    @classmethod
    async def open(cls, config: Mapping[str, Any], *, clock: Clock, ids: IdSource) -> Self:
        settings = Config.of(**config)
        embedder = embedder_of(settings.embedder, settings.dimensions)
        place = Place(
            address=settings.url,
            database=_database(settings.url),
            schema=settings.schema_name,
            embedder=embedder,
            grant_to=settings.grant_to,
            needs_row_security=settings.isolation == "storage",
        )
        from interlock.adapters.memory.postgres.shelf import PostgresShelf  # needs psycopg, which may be missing

        shelf = await PostgresShelf.open(place, size=settings.connections)
        return cls(shelf, embedder, place=place, standing=shelf.standing, clock=clock, ids=ids)

    @property
    def guarantees(self) -> memory.Guarantees:
        embedder = self._embedder
        return memory.Guarantees(
            durable=True,
            atomic_batch=True,
            read_your_writes=True,
            search_modes=_MODES if embedder is not None else frozenset({memory.SearchMode.TEXT}),
            isolation="storage" if self._standing.is_enforced else "query",
            vector_dimensions=None if embedder is None else embedder.dimensions,
            chosen_ids=True,
        )

    def info(self) -> memory.ProviderInfo:
        """Who it is, where, and whether row-level security holds the role that it is opened as."""
        standing = self._standing
        told: dict[str, object] = {
            "database": self._place.database,
            "schema": self._place.schema,
            "role": standing.role,
        }
        told["row_security"] = "holds this role" if standing.is_enforced else "does not hold this role"
        return super().info().changed(config=told)


def _database(url: Secret) -> str:
    """The database that an address names. Raises InvalidConfig."""
    try:
        from psycopg import ProgrammingError, conninfo
    except ImportError as error:
        raise memory.InvalidConfig(f"it speaks to Postgres by psycopg: {error}", next_step=_MISSING) from error
    try:
        told = conninfo.conninfo_to_dict(url.reveal())
    except ProgrammingError:  # which has the address in it
        message = "the url is no address that Postgres knows; is the password URL-escaped?"
        raise memory.InvalidConfig(message) from None
    return str(told.get("dbname") or "of its user")
