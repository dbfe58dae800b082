"""Every example in the documentation does what the page says."""

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

import examples

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("README.md"), *ROOT.glob("docs/**/*.md")])


@pytest.fixture
def page_database(page: Path, empty_postgres_url: str) -> Iterator[str]:
    """A database, and afterwards a server without the roles that the page makes."""
    yield empty_postgres_url
    with psycopg.connect(empty_postgres_url, autocommit=True) as session:
        for role in re.findall(r"^CREATE ROLE (\w+)", page.read_text(), re.MULTILINE):
            session.execute(SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(Identifier(role)))


@pytest.mark.examples
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page(page: Path, warm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest):
    if "POSTGRES_URL" in page.read_text():
        monkeypatch.setenv("POSTGRES_URL", request.getfixturevalue("page_database"))
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("COLUMNS", "120")
    folder = tmp_path / "reader"
    folder.mkdir()
    examples.run_page(page, folder, programs=warm)
