"""What a model says leads to the same calls and the same transcript by our agents and by Pydantic AI's own: where it does not,
`DIFFERENCES` says how, and why, and so does the page about agents."""

from pathlib import Path

import pytest

from fix_app import World
from interlock.testing.models import Scripted
from same_scripts import CASES, DIFFERENCES, Ours, Told, theirs

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[2] / "docs" / "agent-measured.md"


def parted(ours: Told, theirs: Told) -> tuple[list[str], list[str]]:
    """What each says from where they part to where they meet again for good."""
    mine, its = list(ours.lines), list(theirs.lines)
    for end in (0, -1):
        while mine and its and mine[end] == its[end]:
            del mine[end], its[end]
    return mine, its


async def test_the_same_scripts_lead_to_the_same_transcripts(file_world: World):
    scripts: dict[str, Scripted] = {}
    async with file_world.process(models={"fake": scripts.__getitem__}) as process:
        mine = Ours(process.il, scripts)
        for name, case in CASES.items():
            one, other = await mine.take(case), await theirs(case)
            if (known := DIFFERENCES.get(name)) is None:
                assert one == other, name
                continue
            assert parted(one, other) == (known.ours, known.theirs), name


def test_every_difference_is_on_the_page():
    page = PAGE.read_text(encoding="utf-8")
    for name, each in DIFFERENCES.items():
        assert f"| {name} | {each.reason} |" in page
    assert page.count("| an operation that raises |") == 1
    assert DIFFERENCES.keys() <= CASES.keys()
