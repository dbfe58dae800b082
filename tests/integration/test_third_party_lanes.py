"""Lanes and targets of other packages carry governed calls; they are loaded when they are asked for, and not before."""

import sys
import threading
from contextlib import suppress
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from fix_app import World, shown
from interlock import app, plane, runs
from interlock.app import foreign
from interlock.kernel import InterlockError

pytestmark = pytest.mark.anyio

PACKAGE = '''
import threading
from datetime import timedelta

from interlock import plane

LOADED_BY, MADE_BY = threading.get_ident(), []


class Parrot:
    """Answers every request by itself."""

    carries = plane.HttpIntent

    def __init__(self, lane_id):
        self.lane_id = lane_id
        self.closed = False

    async def execute(self, intent, exchange):
        exchange.leave(len(intent.url))
        body = b'{"number": 7, "title": "by parrot", "state": "open", "user": {"login": "parrot"}}'
        exchange.body, exchange.status, exchange.answered = body, 201, True

    async def aclose(self):
        self.closed = True


class Loser(Parrot):
    """Lets the request go, and says only then that it was not there."""

    async def execute(self, intent, exchange):
        exchange.leave(len(intent.url))
        raise plane.LaneFailure(plane.FailureClass.LANE_UNAVAILABLE, "the line fell")


def loser(*, credentials, addresses):
    return Loser("loser")


def lane(*, credentials, addresses):
    MADE_BY.append(threading.get_ident())
    return Parrot("parrot")


def target(*, clock, credentials, addresses):
    MADE_BY.append(threading.get_ident())
    return plane.LocalTarget("far", target_class="moon-base", lane_id="rocket", clock=clock), Parrot("rocket")


def broken(*, credentials, addresses):
    raise RuntimeError("no parrot today")
'''


@pytest.fixture
def entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """Those of a package that is installed."""
    (tmp_path / "acme_parrot.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "acme_parrot", raising=False)
    found = [
        EntryPoint("parrot", "acme_parrot:lane", foreign.LANES),
        EntryPoint("loser", "acme_parrot:loser", foreign.LANES),
        EntryPoint("broken", "acme_parrot:broken", foreign.LANES),
        EntryPoint("absent", "no_such_module:lane", foreign.LANES),
        EntryPoint("moon-base", "acme_parrot:target", foreign.TARGETS),
        EntryPoint("local-http", "acme_parrot:lane", foreign.LANES),
    ]

    def listed(*, group: str) -> list[EntryPoint]:
        return [each for each in found if each.group == group]

    monkeypatch.setattr(foreign, "entry_points", listed)
    return found


@pytest.mark.parametrize(("target_class", "lane"), [("parrot", "parrot"), ("moon-base", "rocket")])
async def test_it_carries_a_call(file_world: World, entries: list[EntryPoint], target_class: str, lane: str):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        assert "acme_parrot" not in sys.modules
        outcome = await process.create(target=target_class)
        assert shown(outcome)["title"] == "by parrot"
        [send] = (await process.last()).sends
        assert send.target_class == target_class
        assert send.receipt_json is not None
        assert plane.Receipt.model_validate_json(send.receipt_json).lane_id == lane
        loaded = sys.modules["acme_parrot"]  # by other threads: others' calls go on meanwhile
        assert threading.get_ident() not in {loaded.LOADED_BY, *loaded.MADE_BY}
        assert len(loaded.MADE_BY) == 1
        assert file_world.server.effects("issues/create") == 0


@pytest.mark.parametrize("target_class", ["broken", "absent"])
async def test_one_that_does_not_work_is_passed_by(file_world: World, entries: list[EntryPoint], target_class: str):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        outcome = await process.create(target=[target_class, "local-http"])
        assert outcome.state is runs.State.COMPLETED
        sends = (await process.last()).sends
        assert [(send.target_class, send.delivery.value) for send in sends] == [
            (target_class, "not_sent"),
            ("local-http", "responded"),
        ]
        with pytest.raises(InterlockError) as raised:
            await process.create(target=target_class, max_attempts=1)
        assert raised.value.details["failure_class"] == "target_unavailable"


async def test_none_takes_the_place_of_ours(file_world: World, entries: list[EntryPoint]):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        await process.create()
        assert file_world.server.effects("issues/create") == 1
        assert "acme_parrot" not in sys.modules


async def test_the_doctor_names_them(tmp_path: Path, entries: list[EntryPoint]):
    checks = {check.name: check for check in await app.examine(None, {"store": str(tmp_path / "none.db")})}
    assert checks["target parrot"].found == "of an unknown package; is trusted inside this process"
    assert checks["target absent"].health is app.Health.WARN
    assert "target local-http" not in checks


async def test_a_node_has_each_name_once(file_world: World):
    async with file_world.process() as process:
        node = process.parts.wiring.node
        target = plane.LocalTarget("local-http", target_class="x", lane_id="http", clock=file_world.clock)
        with pytest.raises(ValueError, match="local-http"):
            node.register(target, plane.simulate('{"contract": "interlock.scenario/v1", "name": "x", "rules": []}'))


async def test_what_may_have_left_does_not_fall_back(file_world: World, entries: list[EntryPoint]):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        with suppress(InterlockError):
            await process.create(target=["loser", "local-http"])
        history = await process.last()
        writes = [send for send in history.sends if send.purpose is runs.Purpose.EFFECT]
        assert [(send.target_class, send.delivery.value) for send in writes] == [("loser", "unknown")]
        assert file_world.server.effects("issues/create") == 0
