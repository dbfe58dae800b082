"""Polls of a GitHub-shaped service: what is new starts its handler once."""

import json
from datetime import timedelta
from functools import cache, partial
from typing import Any

import anyio
import pytest

from fix_app import TOKEN, Process, World
from fix_dispatch import work
from interlock import dispatch, runs, sdk, testing
from interlock.connectors import github
from interlock.kernel import Caller
from interlock.triggers import polling, webhooks

pytestmark = pytest.mark.anyio

REPO = "acme/rocket"
OTHER = Caller(tenant_id="other", actor="eve")
PER_PAGE = 5
HANDLED: list[Any] = []


@dispatch.handler("incident")
async def incident(event: dispatch.Event, context: dispatch.Context) -> None:
    HANDLED.append(event.payload)


@cache
def leafing() -> sdk.Manifest:
    """The connector, with pages that are quickly full."""
    raw: Any = github.connector.manifest.to_json()
    raw["connector_id"] = "hub"  # the other one is installed
    [polled] = [each for each in raw["triggers"] if "polling" in each]
    polled["polling"]["listing"]["input"]["per_page"] = PER_PAGE
    return sdk.load_manifest(json.dumps(raw), source="test")


def with_hub(world: World) -> World:
    world.manifest = leafing()
    HANDLED.clear()
    return world


@pytest.fixture(name="world")
def _world(world: World) -> World:
    return with_hub(world)


@pytest.fixture(name="file_world")
def _file_world(file_world: World) -> World:
    return with_hub(file_world)


async def made(process: Process, world: World, name: str = "issues", **more: Any) -> polling.Poll:
    await process.il.connections.connect_token("hub", TOKEN, base_url=world.server.url)
    return await process.il.polls.create(name, "hub.issue_updated", handler="incident", config={"repo": REPO}, **more)


async def poll(process: Process, world: World) -> polling.Poll:
    """The one poll, once it was asked again."""
    world.advance(3600)
    await process.parts.timed.poller.poll_due()
    [found] = await process.il.polls.list()
    return found


async def titles(process: Process) -> list[str]:
    """Of the items that were handed to the handler, in that order."""
    await work(process, incident)
    return [each["signal"]["data"]["title"] for each in HANDLED]


def open_issue(world: World, title: str) -> None:
    world.server.add_issues(REPO, 1, title=title)


async def test_what_is_new_starts_the_handler_and_what_was_there_does_not(world: World):
    open_issue(world, "Before")
    async with world.process() as process:
        kept = await made(process, world)
        await process.parts.timed.poller.poll_due()
        assert await titles(process) == []
        open_issue(world, "After")
        await poll(process, world)
        await poll(process, world)
        assert await titles(process) == ["After 1"]
        [payload] = HANDLED
        assert (payload["trigger"], payload["poll"]) == ("hub.issue_updated", "issues")
        assert payload["config"] == {"repo": REPO}
        signal = payload["signal"]
        assert (signal["type"], signal["source"]) == ("hub.issue_updated", "hub")
        assert signal["id"] == f"{signal['data']['number']}@{signal['at'].replace('.000000', '')}"
        [run] = await process.il.runs.list(capability="handler.incident")
        assert (run.origin, run.actor) == (runs.Origin.TRIGGER, "agent")
        found = await process.il.polls.fetch("issues")
        assert (found.found, found.failures, found.trigger_id) == (1, 0, kept.trigger_id)


async def test_the_next_look_is_spread_over_the_jitters_share_of_the_pause(file_world: World):
    async with file_world.process() as process:
        await made(process, file_world)
        [declared] = [each for each in file_world.manifest.triggers if each.polling is not None]
        assert declared.polling is not None
        assert declared.polling.jitter > 0
        shares: set[float] = set()
        for _ in range(6):
            found = await poll(process, file_world)
            assert found.next_at is not None
            assert found.last_polled_at is not None
            pause = found.next_at - found.last_polled_at
            assert found.pace <= pause <= found.pace * (1 + declared.polling.jitter)
            shares.add(pause / found.pace)
        assert len(shares) > 1


async def test_since_a_moment_and_to_the_end_of_the_list(file_world: World):
    file_world.server.add_issues(REPO, 13)
    async with file_world.process() as process:
        await made(process, file_world, since=file_world.clock.now() - timedelta(days=7))
        assert (await poll(process, file_world)).found == 13
        assert len(file_world.server.requests("issues/list-for-repo")) >= 3
        assert (await poll(process, file_world)).found == 13
        assert len(await process.il.runs.list(capability="handler.incident", limit=500)) == 13


async def test_the_work_of_an_item_is_tried_as_the_poll_says(file_world: World):
    async with file_world.process() as process:
        await made(process, file_world, retry=sdk.Retries(max_attempts=2, deadline_seconds=60))
        open_issue(file_world, "Door")
        await poll(process, file_world)
        [waiting] = await process.il.dispatch.list()
        due = waiting.due
        assert due.retry.max_attempts == 2
        assert due.deadline_at == file_world.clock.now() + timedelta(seconds=60)


async def test_what_changes_again_is_new_again(file_world: World):
    async with file_world.process() as process:
        await made(process, file_world)
        open_issue(file_world, "Leak")
        await poll(process, file_world)
        await process.il.invoke("hub.issue.close", {"repo": REPO, "issue_number": 1})
        await poll(process, file_world)
        await titles(process)
        assert [each["signal"]["data"]["state"] for each in HANDLED] in (["open", "closed"], ["closed"])


async def test_a_page_that_fails_loses_nothing_and_repeats_nothing(world: World, monkeypatch: pytest.MonkeyPatch):
    async with world.process() as process:
        await made(process, world)
        world.server.add_issues(REPO, 8)
        page = process.parts.timed.poller.asking.page
        asked = 0

        async def page_once(*given: Any) -> polling.Read:
            nonlocal asked
            asked += 1
            if asked == 2:
                raise polling.PollFailed("the service is gone", retry_after=7200)
            return await page(*given)

        monkeypatch.setattr(process.parts.timed.poller.asking, "page", page_once)
        found = await poll(process, world)
        assert (found.found, found.failures, found.problem) == (5, 1, "poll_failed: the service is gone")
        assert found.next_at == world.clock.now() + timedelta(hours=2)
        assert (await poll(process, world)).found == 5
        assert (await process.il.polls.resume("issues")).next_at == world.clock.now()
        found = await poll(process, world)
        assert (found.found, found.failures, found.problem) == (8, 0, None)
        assert len(await process.il.runs.list(capability="handler.incident", limit=500)) == 8


@pytest.mark.parametrize("whose", ["signal", "output"])
async def test_what_is_not_as_declared_is_kept_with_the_reason_and_stops_nothing(file_world: World, whose: str):
    raw: Any = file_world.manifest.to_json()
    [polled] = [each for each in raw["triggers"] if "polling" in each]
    [listing] = [each for each in raw["operations"] if each["operation_id"] == "issue.list"]
    shape = polled["signal_schema"] if whose == "signal" else listing["output_schema"]["$defs"]["Issue"]
    shape["properties"]["title"] = {"type": "string", "maxLength": 20}
    file_world.manifest = sdk.load_manifest(json.dumps(raw), source="test")
    async with file_world.process() as process:
        await made(process, file_world)
        for title in ("first", "a title that is longer than the declaration says", "last"):
            open_issue(file_world, title)
        found = await poll(process, file_world)
        assert (found.failures, found.problem) == (0, None)
        assert sorted(await titles(process)) == ["first 1", "last 1"]
        await poll(process, file_world)
        [kept] = await process.il.deliveries.list(route_id=found.trigger_id)
        assert (kept.state.value, kept.reason, kept.facts["poll"]) == ("rejected", "unfit", "issues")
        assert "20" in str(kept.facts["why"])
        whole = await process.il.deliveries.fetch(kept.delivery_id)
        assert b"longer than the declaration says" in (whole.body or b"")
        assert await process.il.as_caller(OTHER).deliveries.list() == []
        if whose == "signal":
            with pytest.raises(webhooks.NotReplayable, match="is no hub"):
                await process.il.deliveries.replay(kept.delivery_id)


async def test_what_did_not_fit_is_handed_on_once_the_connector_knows_better(file_world: World):
    right: Any = file_world.manifest.to_json()
    wrong = json.loads(json.dumps(right))
    [polled] = [each for each in wrong["triggers"] if "polling" in each]
    polled["signal_schema"]["properties"]["title"] = {"type": "integer"}
    file_world.manifest = sdk.load_manifest(json.dumps(wrong), source="test")
    async with file_world.process() as process:
        await made(process, file_world)
        open_issue(file_world, "Door")
        await poll(process, file_world)
        [kept] = await process.il.deliveries.list()
    file_world.manifest = sdk.load_manifest(json.dumps(right), source="test")
    async with file_world.process() as process:
        done = await process.il.deliveries.replay(kept.delivery_id)
        assert await titles(process) == ["Door 1"]
        replays: Any = done.facts["replays"]
        assert [each["runs"][0]["trigger"] for each in replays] == ["hub.issue_updated"]


async def test_a_poll_that_breaks_keeps_no_other_waiting(file_world: World, monkeypatch: pytest.MonkeyPatch):
    async with file_world.process() as process:
        await made(process, file_world, "issues")
        await process.il.polls.create("others", "hub.issue_updated", handler="incident", config={"repo": REPO})
        open_issue(file_world, "Door")
        page = process.parts.timed.poller.asking.page

        async def broken(poll: polling.Poll, *given: Any) -> polling.Read:
            if poll.name == "issues":
                raise ZeroDivisionError
            return await page(poll, *given)

        monkeypatch.setattr(process.parts.timed.poller.asking, "page", broken)
        file_world.advance(3600)
        await process.parts.timed.poller.poll_due()
        first, second = await process.il.polls.list()
        assert (first.problem, first.failures) == ("internal_error: ZeroDivisionError", 1)
        assert (second.found, second.problem) == (1, None)


async def test_a_poll_that_is_slow_holds_up_no_other(file_world: World, monkeypatch: pytest.MonkeyPatch):
    file_world.clock = testing.ManualClock(autojump=False)
    async with file_world.process() as process:
        await made(process, file_world, "issues")
        await process.il.polls.create("others", "hub.issue_updated", handler="incident", config={"repo": REPO})
        poller = process.parts.timed.poller
        page, asked = poller.asking.page, {"issues": 0, "others": 0}

        async def slow(poll: polling.Poll, *given: Any) -> polling.Read:
            asked[poll.name] += 1
            if poll.name == "issues":
                await anyio.sleep_forever()
            return await page(poll, *given)

        monkeypatch.setattr(poller.asking, "page", slow)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(poller.keep, every=1.0))
            with anyio.fail_after(30):
                while asked["others"] < 2:
                    file_world.advance(600)
                    await anyio.sleep(0.02)
            tasks.cancel_scope.cancel()
        assert asked["issues"] == 1


async def test_a_service_that_is_over_its_limit_is_left_alone_for_as_long_as_it_says(file_world: World):
    async with file_world.process() as process:
        await made(process, file_world, every=60)
        open_issue(file_world, "Leak")
        file_world.server.limit(remaining=0, reset_in=3600 + 900)
        found = await poll(process, file_world)
        assert found.failures == 1
        assert "rate_limited" in (found.problem or "")
        assert found.next_at is not None
        assert found.next_at - file_world.clock.now() >= timedelta(seconds=900)


async def test_of_many_that_look_at_once_one_asks(world: World):
    async with world.process() as process, world.process() as other:
        await made(process, world)
        open_issue(world, "Leak")
        world.advance(3600)
        before = len(world.server.requests("issues/list-for-repo"))
        async with anyio.create_task_group() as tasks:
            for each in (process, other, process, other):
                tasks.start_soon(each.parts.timed.poller.poll_due)
        assert len(world.server.requests("issues/list-for-repo")) == before + 1
        assert await titles(process) == ["Leak 1"]


async def test_who_lost_its_poll_while_it_was_asking_starts_nothing(world: World, monkeypatch: pytest.MonkeyPatch):
    async with world.process() as process:
        await made(process, world)
        open_issue(world, "Leak")
        page = process.parts.timed.poller.asking.page

        async def slow(*given: Any) -> polling.Read:
            read = await page(*given)
            await process.il.polls.pause("issues")
            return read

        monkeypatch.setattr(process.parts.timed.poller.asking, "page", slow)
        found = await poll(process, world)
        assert (found.state, found.found) == (polling.State.PAUSED, 0)
        assert await titles(process) == []
        monkeypatch.undo()
        await process.il.polls.resume("issues")
        assert (await poll(process, world)).found == 1


async def test_while_there_is_news_it_is_asked_more_often(file_world: World):
    async with file_world.process() as process:
        await made(process, file_world, every=80)
        paces: list[float] = []
        for news in (True, True, True, True, False, False):
            if news:
                open_issue(file_world, "Leak")
            found = await poll(process, file_world)
            assert found.next_at is not None
            pause = (found.next_at - file_world.clock.now()).total_seconds()
            assert found.pace.total_seconds() <= pause <= found.pace.total_seconds() * 1.1
            paces.append(found.pace.total_seconds())
        assert paces == [40, 20, 10, 10, 15, 22.5]


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"trigger": "hub.nothing"}, "there are: hub.issue_updated"),
        ({"trigger": "hub.issue_updated", "config": {}}, "repo"),
        ({"name": "No Name"}, "a name is"),
        ({"every": 1}, "10 to 86400 seconds"),
        ({"handler": "NO"}, "a handler's name"),
    ],
)
async def test_what_cannot_be_meant_is_refused(file_world: World, given: dict[str, Any], match: str):
    async with file_world.process() as process:
        usual: dict[str, Any] = {
            "name": "issues",
            "trigger": "hub.issue_updated",
            "handler": "incident",
            "config": {"repo": REPO},
        }
        with pytest.raises(Exception, match=match):
            await process.il.polls.create(**{**usual, **given})
        assert await process.il.polls.list() == []


async def test_what_the_first_look_fails_with_is_told_and_nothing_is_kept(file_world: World):
    async with file_world.process() as process:
        await process.il.connections.connect_token("hub", TOKEN, base_url=file_world.server.url)
        with pytest.raises(sdk.ResourceNotFound):
            await process.il.polls.create(
                "issues", "hub.issue_updated", handler="incident", config={"repo": "acme/nowhere"}
            )
        assert await process.il.polls.list() == []
        await made(process, file_world)
        with pytest.raises(polling.PollExists):
            await made(process, file_world)
        await process.il.polls.delete("issues")
        with pytest.raises(polling.PollNotFound):
            await process.il.polls.fetch("issues")
