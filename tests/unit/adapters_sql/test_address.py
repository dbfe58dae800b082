from pathlib import Path

import pytest

from interlock.adapters import sql
from interlock.adapters.sql.address import PostgresDatabase, SqliteFile, parse_address


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("store.db", Path("store.db")),
        ("/var/lib/x.db", Path("/var/lib/x.db")),
        ("sqlite:///store.db", Path("store.db")),
        ("sqlite:////var/lib/x.db", Path("/var/lib/x.db")),
        ("sqlite:///with space?and=question.db", Path("with space?and=question.db")),
        ("sqlite:///:memory:", None),
        (":memory:", None),
    ],
)
def test_sqlite(url: str, path: Path | None) -> None:
    assert parse_address(url) == SqliteFile(path)


@pytest.mark.parametrize("url", ["postgresql://me:s3cretword@db.example.test/x", "postgres://me:s3cretword@db/x"])
def test_postgres_hides_the_password(url: str) -> None:
    place = parse_address(url)
    assert isinstance(place, PostgresDatabase)
    assert place.url.password == "s3cretword"
    assert "s3cretword" not in f"{place} {place!r}"


@pytest.mark.parametrize(
    "url", ["", "mysql://x/y", "sqlite://store.db", "a\0b", "postgresql://host:port/x", "sqlite:///"]
)
def test_what_is_refused(url: str) -> None:
    with pytest.raises(sql.InvalidStoreUrl) as caught:
        parse_address(url)
    assert "sqlite:///" in caught.value.next_step
