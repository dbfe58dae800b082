"""The synchronous twin does the same, from any thread, with its background at work."""

import inspect
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from fix_app import ALLOW, TOKEN, World
from fix_forks import in_a_fork
from interlock import app, dispatch, runs, sync
from interlock.kernel import JSON, RequestError, SystemClock
from interlock.sync import Interlock


def test_a_whole_life(file_world: World):
    file_world.clock = SystemClock()
    with Interlock.open(settings=file_world.settings(), policy=ALLOW, connectors=[file_world.manifest]) as il:
        il.connections.connect_token("acme", TOKEN, base_url=file_world.server.url)
        outcome = il.invoke("acme.issue.create", {"repo": "acme/rocket", "title": "Door"})
        assert outcome.state is runs.State.COMPLETED
        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(il.invoke, "acme.account.fetch") for _ in range(8)]
            read = [call.result().output for call in calls]
        assert read == [{"login": "octo-agent"}] * 8
        verdict = runs.verify.verify(il.runs.packet(outcome.run_id), trust=runs.Trust.parse(il.trust()))
        assert verdict.ok
        with pytest.raises(RequestError):
            il.invoke("acme.issue.creat")
        assert len(il.runs.list()) == 9
    assert file_world.server.effects("issues/create") == 1


AWAITS = {"Agents": {"take_guest"}}
"""What is told an awaited function itself: for adapters to other frameworks."""


@pytest.mark.parametrize("name", [each for each in app.__all__ if hasattr(sync, each)])
def test_whatever_can_be_awaited_can_be_waited_for(name: str):
    awaited: type[object] = getattr(app, name)
    waited: type[object] = getattr(sync, name)
    methods = {each for each, what in vars(awaited).items() if inspect.iscoroutinefunction(what) and each[0] != "_"}
    assert methods - vars(waited).keys() == AWAITS.get(name, set())


def test_a_worker_beside_the_block(file_world: World):
    @dispatch.handler("echo")
    def echo(event: dispatch.Event, context: dispatch.BlockingContext) -> JSON:
        return event.payload["word"]

    file_world.clock = SystemClock()
    with Interlock.open(settings=file_world.settings(), connectors=[file_world.manifest]) as il:
        with il.worker(echo):
            outcome = il.dispatch.submit("echo", {"word": "hello"})
            assert il.dispatch.wait(outcome.run_id).output == "hello"
        later = il.dispatch.submit("echo", {"word": "later"})
        assert il.dispatch.wait(later.run_id, timeout=0).state is runs.State.QUEUED


def test_events_are_followed(file_world: World):
    file_world.clock = SystemClock()
    with Interlock.open(settings=file_world.settings(), policy=ALLOW, connectors=[file_world.manifest]) as il:
        start = il.subscriptions.cursor()
        il.connections.connect_token("acme", TOKEN, base_url=file_world.server.url)
        outcome = il.invoke("acme.account.fetch")
        with closing(il.events(["run.completed", "connection.*"], after=start)) as events:
            told = [next(events), next(events)]
    assert [each.type for each in told] == ["connection.connected", "run.completed"]
    assert told[1].data["run_id"] == outcome.run_id


def test_an_error_in_the_block_comes_out_as_it_is(file_world: World):
    file_world.clock = SystemClock()
    with pytest.raises(KeyError), Interlock.open(settings=file_world.settings(), connectors=[file_world.manifest]):
        raise KeyError("mine")


def test_a_forked_child_is_told_at_once_and_its_parent_goes_on(file_world: World):
    file_world.clock = SystemClock()

    def leave() -> str:
        il.invoke("acme.account.fetch")
        raise AssertionError("it answered")

    opening = Interlock.open(settings=file_world.settings(), policy=ALLOW, connectors=[file_world.manifest])
    with opening as il:
        il.connections.connect_token("acme", TOKEN, base_url=file_world.server.url)
        told = in_a_fork(leave)
        assert told.startswith("Forked: this Interlock was opened by process"), told
        assert in_a_fork(lambda: repr(opening.__exit__(None, None, None))) == "False"  # its block is left there, too
        assert il.invoke("acme.account.fetch").output == {"login": "octo-agent"}
