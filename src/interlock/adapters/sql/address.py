"""Where a store is: the URL or path that the operator gives, understood once."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from interlock.adapters.sql.errors import DriverMissing, InvalidStoreUrl

_MEMORY = ":memory:"
_SECRETS = ("password", "sslpassword")


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """One file; `path` None means in memory."""

    path: Path | None

    def __str__(self) -> str:
        return "the in-memory store" if self.path is None else f"the store {self.path}"

    @property
    def shown(self) -> str:
        """The address for people."""
        return _MEMORY if self.path is None else str(self.path)


@dataclass(frozen=True, slots=True)
class PostgresDatabase:
    """A database on a server. Printing it leaves the password out."""

    url: URL

    def __str__(self) -> str:
        return f"the store {self.shown}"

    @property
    def shown(self) -> str:
        """The address for people: without a password, also where libpq would read one from the query."""
        public = self.url.set(drivername="postgresql").difference_update_query(_SECRETS)
        return public.render_as_string(hide_password=True)


def parse_address(url: str) -> SqliteFile | PostgresDatabase:
    """Understands `sqlite:///path`, `sqlite:///:memory:`, `postgresql://…` and a plain path. Raises InvalidStoreUrl,
    or DriverMissing."""
    if not url or "\0" in url:
        raise InvalidStoreUrl("the store's address is empty or holds a NUL character")
    if "://" not in url:
        return SqliteFile(None if url == _MEMORY else Path(url))
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        if not rest.startswith("/") or rest == "/":
            raise InvalidStoreUrl(f"a SQLite address has three slashes, then the path; this one is {url!r}")
        path = rest[1:]
        return SqliteFile(None if path == _MEMORY else Path(path))
    if scheme in {"postgresql", "postgres"}:
        if find_spec("psycopg") is None:
            raise DriverMissing("a postgresql:// store needs the library psycopg, which is not installed")
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError) as error:
            raise InvalidStoreUrl("the postgresql:// address cannot be parsed; is the password URL-escaped?") from error
        return PostgresDatabase(parsed.set(drivername="postgresql+psycopg"))
    raise InvalidStoreUrl(f"no store speaks {scheme!r}; known are sqlite and postgresql")
