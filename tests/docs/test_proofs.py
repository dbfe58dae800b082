"""The table of what each sandbox stops says what the classes stand for, and what the escapes of the conformance kit try."""

import re
from pathlib import Path

import pytest

from interlock import plane
from interlock.conformance.escapes import ESCAPES

PAGE = Path(__file__).parents[2] / "docs" / "plane-proofs.md"


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not set(line) <= set("|-")]


HEAD, *ROWS = rows()
TABLE = {row[0].strip("`"): dict(zip(HEAD[2:], row[2:], strict=True)) for row in ROWS}


def test_the_table_has_every_class_and_every_property() -> None:
    assert set(HEAD[2:]) == plane.CLASSES.keys() - plane.PLACED
    assert TABLE.keys() == {each.value for each in plane.Property} - {plane.Property.PEER_PROVED}


@pytest.mark.parametrize("target_class", HEAD[2:])
def test_stopped_is_what_a_class_stands_for(target_class: str) -> None:
    stopped = {name for name, row in TABLE.items() if row[target_class] == "stopped"}
    assert stopped == {each.value for each in plane.CLASSES[target_class]}


def test_whoever_stands_for_no_more_than_a_name_is_said_to() -> None:
    for placed in plane.PLACED:
        assert plane.CLASSES[placed] == {plane.Property.PEER_PROVED}
        assert re.search(rf"`{placed}`.* stand for `peer-proved` alone", PAGE.read_text())


@pytest.mark.parametrize("name", sorted(each.value for each in ESCAPES))
def test_what_the_kit_tries_is_stopped_or_escapes(name: str) -> None:
    assert set(TABLE[name].values()) <= {"stopped", "**escapes**"}
