"""Where a memory is."""

from dataclasses import dataclass

from interlock import memory
from interlock.kernel import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A schema of a Postgres database, and how it is to be opened."""

    address: Secret
    database: str
    schema: str
    embedder: memory.Embedder | None
    """Who makes the vectors; None: there are none."""
    grant_to: str | None = None
    """A role that may use the tables from now on."""
    needs_row_security: bool = True
    """Whether a role is refused that row-level security does not hold."""

    @property
    def has_vectors(self) -> bool:
        return self.embedder is not None

    @property
    def embedder_name(self) -> str:
        """As it is kept beside the vectors, for the next who opens it."""
        return "none" if self.embedder is None else self.embedder.name

    def __str__(self) -> str:
        return f"the memory {self.schema} in the Postgres database {self.database}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What was found there."""

    role: str
    is_enforced: bool
    """Whether row-level security holds this role."""
    path: str
    """Where names of tables, types and operators are looked for: in the schema, where the extension `vector` is, and last
    among temporary tables, which anybody may make."""
