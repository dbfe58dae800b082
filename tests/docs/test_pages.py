"""The documentation agrees with what it speaks of: links, tests, settings, errors, contracts."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import errors
import examples
from interlock import app, sdk
from interlock.adapters.sql import tables
from interlock.connectors.github import connector
from vectors import VECTORS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md")])
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def prose(page: Path) -> str:
    """The page without its code."""
    return re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@EVERY_PAGE
def test_links_lead_somewhere(page: Path):
    broken: list[str] = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@EVERY_PAGE
def test_the_tests_that_a_page_names_are_there(page: Path):
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page.read_text())
    missing = [
        f"{path}::{test}"
        for path, test in named
        if not (ROOT / path).is_file() or (test and f"def {test}(" not in (ROOT / path).read_text())
    ]
    assert not missing


@EVERY_PAGE
def test_blocks_are_in_a_language_that_the_runner_knows_or_shows(page: Path):
    """A block in a misspelt language would be shown and never run."""
    known = {"", "console", "python", "sql", "toml", "yaml", "json", "text"}
    assert {block.language for block in examples.blocks(page.read_text())} <= known


def test_the_table_of_errors_is_what_the_tree_says():
    assert errors.PAGE.read_text() == errors.page(), "`python tools/errors.py --write` puts it in order"


def test_the_page_on_calls_says_the_times_that_hold():
    page = " ".join((ROOT / "docs" / "calls.md").read_text().split())
    usual = sdk.Operation.model_fields["timeout_seconds"].default
    assert sdk.Operation.model_fields["settle_seconds"].default is None  # then it is as long as the request may take
    [github] = {each.settled_after for each in connector.manifest.operations if each.effect is not sdk.Effect.READ}
    assert f"its own requests ({usual:g} seconds" in page
    assert f"`settle_seconds`: as long as its request may take, so {usual:g} seconds" in page
    assert f"{github:g} seconds for GitHub" in page


def test_architecture_names_the_contracts_that_hold():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    page = (ROOT / "docs" / "architecture.md").read_text().splitlines()
    assert not [contract["name"] for contract in contracts if f"- {contract['name']}" not in page]


def proven(name: str) -> str:
    """A scheme's row: by what, in which header, what tells deliveries apart, how old they may be, and who signed its vectors."""
    said = sdk.scheme(name)
    place = f"`{said.header}`" if said.header else f"`{said.pointer}` in the body"
    age = f"{said.timestamp.tolerance_seconds} s" if said.timestamp else "" if said.algorithm != "jwt" else "its `exp`"
    signers = dict.fromkeys(each.by for each in VECTORS if each.scheme == name)
    apart = "its id" if said.covers_id else "its content"
    return f"| `{name}` | {said.algorithm} | {place} | {apart} | {age} | {', '.join(signers)} |"


def test_the_table_of_schemes_is_what_they_say_and_what_tries_them():
    page = (ROOT / "docs" / "webhooks.md").read_text()
    assert re.findall(r"^\| `\w+` \| \w+ \|.*$", page, re.MULTILINE) == [proven(name) for name in sorted(sdk.schemes())]
    assert f"({len(sdk.schemes())} signature schemes)" in (ROOT / "README.md").read_text()


def settings(model: type[BaseModel], *, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The names of all settings and their defaults."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from settings(field.annotation, prefix=f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", "" if field.default_factory else field.default


def shown(default: object) -> str | None:
    """A default as the page writes it. None: in words."""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, frozenset):
        return ", ".join(f"`{each}`" for each in sorted(default))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(default, int | float):
        return f"`{default:g}`" if default < 1e6 else f"`{default}`"
    return f"`{default}`" if isinstance(default, str) and default else None


def test_every_setting_is_in_its_table():
    rows = re.findall(
        r"^\| `([\w.]+)` \| `(\w+)` \| (.+?) \|", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE
    )
    table = {name: (variable, default) for name, variable, default in rows}
    expected = dict(settings(app.Settings))
    assert table.keys() == expected.keys()
    for name, default in expected.items():
        variable, told = table[name]
        assert variable == f"INTERLOCK_{name.replace('.', '__').upper()}"
        assert told == shown(default) or (shown(default) is None and told.startswith("*")), name


def test_the_page_about_stores_says_what_bounds_every_table():
    page = (ROOT / "docs" / "stores.md").read_text()
    assert [name for name in tables.metadata.tables if f"`{name}`" not in page] == []
