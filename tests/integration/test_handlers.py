"""Connectors' Python code, in this process and in a child process: every request of theirs is committed and settled."""

import signal
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import update

from fix_app import LEASE, IssueCreate, Process, Told, World, connector, operations
from interlock import plane, runs, sdk
from interlock.adapters import sql
from interlock.adapters.sql import tables
from interlock.app.settings import ConnectorSettings
from interlock.kernel import InterlockError, Retry, StoreError, UnknownOutcome

pytestmark = [pytest.mark.anyio, pytest.mark.faults]
VALUE = {"repo": "acme/rocket", "title": "Door"}
CHILD = "handlers_for_tests"

CODE = """
import json

from interlock import sdk

async def file_issue(input, http):
    path = f"/repos/{input['repo']}/issues"
    made = await http.request(sdk.HttpRequest(method="POST", path=path, json_body={"title": input["title"]}))
    read = await http.request(sdk.HttpRequest(method="GET", path=f"{path}/{json.loads(made.body)['number']}"))
    return {"number": json.loads(read.body)["number"]}

async def break_after(input, http):
    await http.request(sdk.HttpRequest(method="POST", path=f"/repos/{input['repo']}/issues", json_body={"title": "x"}))
    raise KeyError("oops")

async def deny_after(input, http):
    await http.request(sdk.HttpRequest(method="POST", path=f"/repos/{input['repo']}/issues", json_body={"title": "x"}))
    raise sdk.ProviderUnavailable("nothing happened, try again", effect="none")

async def break_before(input, http):
    raise KeyError("oops")

async def surrogate_before(input, http):
    raise ValueError(b"\\xff name \\0".decode("utf-8", "surrogateescape"))

async def surrogate_after(input, http):
    await http.request(sdk.HttpRequest(method="POST", path=f"/repos/{input['repo']}/issues", json_body={"title": "x"}))
    raise sdk.ProviderUnavailable("\\udcff name")

async def unfit_details(input, http):
    raise sdk.ProviderUnavailable("x", details={"when": 2**60, "what": "\\udcff"}, retry_after=float("inf"))

async def say_and_die(input, http):
    import os, sys
    print("a handler prints", flush=True)
    os._exit(3) if input["title"] == "exit" else os.kill(os.getpid(), 11)

class Word(str):
    pass

async def tell_words(input, http):
    return {Word("number"): 1}

async def leave(input, http):
    import sys
    if input.get("body") == "after":
        await http.request(sdk.HttpRequest(method="POST", path=f"/repos/{input['repo']}/issues", json_body={"title": "x"}))
    sys.exit(3)

async def interrupt(input, http):
    raise KeyboardInterrupt

async def close(input, http):
    raise GeneratorExit

async def cancel(input, http):
    import asyncio
    raise asyncio.CancelledError

async def await_cancelled(input, http):
    import asyncio
    task = asyncio.ensure_future(asyncio.sleep(60))
    task.cancel()
    await task

async def group(input, http):
    raise BaseExceptionGroup("two", [SystemExit(3), KeyError("x")])

async def leave_in_a_task(input, http):
    import asyncio
    async def leave():
        import sys
        sys.exit(3)
    task = asyncio.create_task(leave())
    if input.get("body") == "awaited":
        await task
    await asyncio.sleep(0)
    if input.get("body") == "returned":
        return {"number": 1}
    await asyncio.Event().wait()

async def leave_in_a_group(input, http):
    import anyio, sys
    async def leave():
        await http.request(sdk.HttpRequest(method="POST", path=f"/repos/{input['repo']}/issues", json_body={"title": "x"}))
        sys.exit(3)
    async with anyio.create_task_group() as group:
        group.start_soon(leave)
        group.start_soon(anyio.sleep_forever)

async def leave_in_a_tasks_task(input, http):
    import asyncio
    async def start():
        async with asyncio.TaskGroup() as group:
            group.create_task(leave({}, http))
    try:
        await asyncio.create_task(start())
    except Exception:
        return {"number": 1}

async def cancel_a_task(input, http):
    import asyncio
    task = asyncio.create_task(leave({}, http))
    task.cancel()
    return {"number": 1}

async def complain_before(input, http):
    raise sdk.ResourceNotFound("no such thing")

async def swallow(input, http):
    try:
        await http.request(sdk.HttpRequest(method="POST", path=f"/repos/{input['repo']}/issues", json_body={"title": "x"}))
    except Exception:
        raise sdk.ProviderUnavailable("it did not work", effect="none") from None
    return {"number": 1}

async def wrong_shape(input, http):
    return {"number": "one"}

async def pretend_to_read(input, http):
    purpose = sdk.Purpose(input.get("body") or "effect")
    await http.request(sdk.HttpRequest(
        method="POST", path=f"/repos/{input['repo']}/issues", json_body={"title": "x"}, purpose=purpose))
    return {"number": 1}

async def no_json(input, http):
    return {"number": 2**60}

left = []

async def leave_a_task(input, http):
    import asyncio
    async def later():
        await asyncio.sleep(0.05)
        try:
            await http.request(sdk.HttpRequest(method="POST", path=f"/repos/{input['repo']}/issues", json_body={"title": "x"}))
        except Exception as error:
            left.append(error)
    left.append(asyncio.ensure_future(later()))
    return {"number": 1}

async def at_once(input, http):
    import anyio
    async def one(index):
        await http.request(sdk.HttpRequest(
            method="POST", path=f"/repos/{input['repo']}/issues", json_body={"title": f"x{index}"}))
    async with anyio.create_task_group() as group:
        for index in range(4):
            group.start_soon(one, index)
    return {"number": 4}
"""


@pytest.fixture(params=["here", "child"])
def isolated(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """The handlers as an importable module, run in this process and in a child."""
    import sys

    (tmp_path / f"{CHILD}.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delitem(sys.modules, CHILD, raising=False)
    return ("acme",) if request.param == "child" else ()


async def call(world: World, process: Process, name: str = "") -> runs.Outcome:
    return await process.il.invoke("acme.issue.file", VALUE)


def process_with(world: World, isolated: tuple[str, ...], name: str):
    return world.process(
        manifest=connector(operations=operations(f"{CHILD}:{name}")), connectors=ConnectorSettings(isolated=isolated)
    )


async def test_each_request_is_a_send(file_world: World, isolated: tuple[str, ...]):
    async with process_with(file_world, isolated, "file_issue") as process:
        await process.connect(file_world.server.url)
        outcome = await call(file_world, process)
        assert outcome.output == {"number": 1}
        assert file_world.server.effects("issues/create") == 1
        history = await process.last()
        assert [send.delivery.value for send in history.sends] == ["responded", "responded"]
        assert [send.number for send in history.sends] == [1, 2]


@pytest.mark.parametrize("name", ["break_after", "deny_after"])
async def test_what_was_sent_counts_and_not_what_the_handler_says(
    file_world: World, isolated: tuple[str, ...], name: str
):
    async with process_with(file_world, isolated, name) as process:
        await process.connect(file_world.server.url)
        with pytest.raises(InterlockError) as raised:
            await call(file_world, process)
        assert raised.value.run_id is not None
        assert (raised.value.details["effect"], raised.value.retry) == ("happened", Retry.NEVER)
        history = await process.last()
        assert len(history.attempts) == 1
        assert [send.delivery.value for send in history.sends] == ["responded"]
        assert file_world.server.effects("issues/create") == 1


@pytest.mark.parametrize("fault", ["cut_before", "status:503"])
async def test_an_error_after_the_effect_is_no_reason_to_ask_again(
    file_world: World, isolated: tuple[str, ...], fault: str
):
    async with process_with(file_world, isolated, "file_issue") as process:
        await process.connect(file_world.server.url)
        file_world.server.fault(fault, match="GET *", times=9)
        with pytest.raises(InterlockError) as raised:
            await call(file_world, process)
        run = (await process.last()).run
        assert (run.state, run.error) == (runs.State.FAILED, raised.value.to_json())
        assert (raised.value.details["effect"], raised.value.retry) == ("happened", Retry.NEVER)
        assert "once more" in raised.value.next_step or raised.value.code == "handler_failed"
        assert file_world.server.effects("issues/create") == 1


@pytest.mark.parametrize(
    ("name", "told", "effects"),
    [
        ("surrogate_before", "\\udcff name", 0),
        ("surrogate_after", "\\udcff name", 1),
        ("unfit_details", "x", 0),
    ],
)
async def test_an_error_that_has_no_text_form_ends_the_run(
    every_world: World, isolated: tuple[str, ...], name: str, told: str, effects: int
):
    async with process_with(every_world, isolated, name) as process:
        await process.connect(every_world.server.url)
        with pytest.raises(sdk.OperationFailed) as raised:
            await process.il.invoke("acme.issue.file", VALUE, max_attempts=1)
        assert told in raised.value.message
        run = (await process.last()).run
        assert (run.state, run.error) == (runs.State.FAILED, raised.value.to_json())
        assert every_world.server.effects("issues/create") == effects


@pytest.mark.parametrize("name", ["leave", "interrupt", "close", "cancel", "await_cancelled", "group"])
async def test_a_handler_ends_no_more_than_its_call(
    file_world: World, isolated: tuple[str, ...], name: str, monkeypatch: pytest.MonkeyPatch
):
    # As under a runner of asyncio's, where Ctrl-C comes as a cancellation; the tests' own runner leaves it to Python.
    monkeypatch.setattr(signal, "getsignal", str)
    async with process_with(file_world, isolated, name) as process:
        await process.connect(file_world.server.url)
        with pytest.raises(sdk.HandlerFailed) as raised:
            await call(file_world, process)
        run = (await process.last()).run
        assert (run.state, run.error) == (runs.State.FAILED, raised.value.to_json())
        assert raised.value.effect == "none"


async def test_a_handler_that_exits_after_its_effect_has_had_it(file_world: World, isolated: tuple[str, ...]):
    async with process_with(file_world, isolated, "leave") as process:
        await process.connect(file_world.server.url)
        with pytest.raises(sdk.HandlerFailed, match=r"^handlers_for_tests:leave raised SystemExit: 3") as raised:
            await process.il.invoke("acme.issue.file", {**VALUE, "body": "after"})
        assert (raised.value.effect, raised.value.retry) == ("happened", Retry.NEVER)


@pytest.mark.parametrize(
    ("isolated", "name", "body"),
    [
        ("here", "leave_in_a_task", "awaited"),
        ("here", "leave_in_a_task", "returned"),
        ("here", "leave_in_a_task", "waits"),
        ("here", "leave_in_a_tasks_task", ""),
        ("here", "leave_in_a_group", ""),
        ("child", "leave_in_a_group", ""),
    ],
    indirect=["isolated"],
)
async def test_a_task_of_a_handler_that_exits_ends_no_more_than_the_call(
    file_world: World, isolated: tuple[str, ...], name: str, body: str
):
    effect = "happened" if name == "leave_in_a_group" else "none"
    async with process_with(file_world, isolated, name) as process:
        await process.connect(file_world.server.url)
        with pytest.raises(sdk.HandlerFailed, match=rf"handlers_for_tests:{name} .*3") as raised:
            await process.il.invoke("acme.issue.file", {**VALUE, "body": body})
        run = (await process.last()).run
        assert (run.state, run.error) == (runs.State.FAILED, raised.value.to_json())
        assert raised.value.effect == effect


@pytest.mark.parametrize("isolated", ["here"], indirect=True)
async def test_a_task_that_is_cancelled_before_it_began_does_not_begin(file_world: World, isolated: tuple[str, ...]):
    async with process_with(file_world, isolated, "cancel_a_task") as process:
        await process.connect(file_world.server.url)
        assert (await call(file_world, process)).output == {"number": 1}


@pytest.mark.parametrize(("title", "how"), [("exit", "exit code 3"), ("crash", "by SIGSEGV")])
async def test_a_child_that_dies_is_told_with_how_and_with_what_it_said(
    file_world: World, isolated: tuple[str, ...], capfd: pytest.CaptureFixture[str], title: str, how: str
):
    if not isolated:
        return  # it would be this process
    async with process_with(file_world, isolated, "say_and_die") as process:
        await process.connect(file_world.server.url)
        with pytest.raises(sdk.HandlerFailed, match=rf"ended without a result \({how}\)"):
            await process.il.invoke("acme.issue.file", {**VALUE, "title": title})
        assert capfd.readouterr().err == "a handler prints\n"


async def test_no_handler_ends_recovery(file_world: World, isolated: tuple[str, ...], monkeypatch: pytest.MonkeyPatch):
    changes: dict[str, Any] = {
        "manifest": connector(operations=operations(f"{CHILD}:leave")),
        "connectors": ConnectorSettings(isolated=isolated),
    }
    async with file_world.process(**changes) as process:
        await process.connect(file_world.server.url)
    async with file_world.doomed(**changes) as doomed:

        async def die(*_: object) -> None:
            doomed.parts.store.close()

        monkeypatch.setattr(doomed.parts.wiring.handlers, "call", die)
        with pytest.raises((StoreError, runs.OutcomeUnsaved)):
            await call(file_world, doomed)
    file_world.advance(LEASE + 1)
    async with file_world.process(**changes) as process:
        [recovered] = await process.il.runs.recover()
        assert recovered.error is not None
        assert (recovered.state, recovered.error.code) == (runs.State.FAILED, "handler_failed")


async def test_what_the_plane_refuses_is_told_as_it_is(file_world: World, isolated: tuple[str, ...]):
    async with process_with(file_world, isolated, "file_issue") as process:
        await process.connect(file_world.server.url)
    changes: dict[str, Any] = {
        "manifest": connector(operations=operations(f"{CHILD}:file_issue")),
        "connectors": ConnectorSettings(isolated=isolated),
        "execution": {"egress_allow": ()},
    }
    async with file_world.process(**changes) as process:
        with pytest.raises(
            plane.EffectFailed, match=f"{file_world.host} are refused: 127.0.0.1 is a loopback"
        ) as raised:
            await call(file_world, process)
        assert raised.value.details["failure_code"] == "address_refused"
        assert "egress_allow" in raised.value.next_step
        assert "{" not in raised.value.message


@pytest.mark.parametrize("name", ["break_before", "complain_before"])
async def test_nothing_sent_is_nothing_done(file_world: World, isolated: tuple[str, ...], name: str):
    async with process_with(file_world, isolated, name) as process:
        await process.connect(file_world.server.url)
        with pytest.raises(sdk.OperationFailed):
            await call(file_world, process)
        history = await process.last()
        assert history.run.state is runs.State.FAILED
        assert not history.sends


@pytest.mark.parametrize("fault", ["cut_before", "status:500"])
async def test_a_write_in_doubt_waits_whatever_the_handler_says(
    file_world: World, isolated: tuple[str, ...], fault: str
):
    async with process_with(file_world, isolated, "deny_after" if fault == "status:500" else "swallow") as process:
        await process.connect(file_world.server.url)
        file_world.server.fault(fault, match="issues/create", apply=True)
        with pytest.raises(UnknownOutcome):
            await call(file_world, process)
        assert (await process.last()).run.state is runs.State.WAITING
        assert file_world.server.effects("issues/create") == 1


@pytest.mark.parametrize(("effect", "purpose"), [("read", "effect"), ("create", "reconcile")])
async def test_what_is_there_to_read_cannot_write(
    file_world: World, isolated: tuple[str, ...], effect: str, purpose: str
):
    if isolated and purpose == "reconcile":
        return  # what a child asks for is the effect
    peek = sdk.handler(
        "issue.peek", f"{CHILD}:pretend_to_read", effect=effect, input=IssueCreate, output=Told, scopes=["repo"]
    )
    manifest = connector(operations=[peek])
    async with file_world.process(manifest=manifest, connectors=ConnectorSettings(isolated=isolated)) as process:
        await process.connect(file_world.server.url)
        with pytest.raises(sdk.OperationFailed, match="a read does not POST"):
            await process.il.invoke("acme.issue.peek", {**VALUE, "body": purpose})
        history = await process.last()
        assert (history.run.state, history.sends) == (runs.State.FAILED, [])
        assert file_world.server.requests("issues/create") == []


async def test_a_text_of_a_class_of_its_own_is_a_text(file_world: World, isolated: tuple[str, ...]):
    class Word(StrEnum):
        REPO = "repo"
        ROCKET = "acme/rocket"
        DOOR = "Door"

    async with process_with(file_world, isolated, "tell_words") as process:
        await process.connect(file_world.server.url)
        value = {Word.REPO: Word.ROCKET, "title": Word.DOOR}
        outcome = await process.il.invoke("acme.issue.file", value)
        assert outcome.output == {"number": 1}
        assert (await process.last()).run.input_json == '{"repo":"acme/rocket","title":"Door"}'


@pytest.mark.parametrize("name", ["wrong_shape", "no_json"])
async def test_a_wrong_result_fails_the_run(file_world: World, isolated: tuple[str, ...], name: str):
    async with process_with(file_world, isolated, name) as process:
        await process.connect(file_world.server.url)
        with pytest.raises(InterlockError) as raised:
            await call(file_world, process)
        assert raised.value.code in ("invalid_output", "handler_failed")
        assert (await process.last()).run.state is runs.State.FAILED


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("times", [1, 2])
async def test_what_is_known_of_a_send_outlasts_a_commit_that_fails(
    world: World, monkeypatch: pytest.MonkeyPatch, applied: bool, times: int
):
    async with world.process() as process:
        await process.connect(world.server.url)
        ledger = process.parts.wiring.ledger
        apply, commits = ledger.apply, 0

        async def lose(change: runs.Change) -> None:
            nonlocal commits
            commits += 1
            lost = 1 < commits <= 1 + times  # the first is for the POST, the second for the GET, the third ends the run
            if applied or not lost:
                await apply(change)
            if lost:
                raise StoreError("the connection to the database broke")

        monkeypatch.setattr(ledger, "apply", lose)
        with pytest.raises((StoreError, runs.OutcomeUnsaved)) as raised:
            await call(world, process)
        monkeypatch.undo()
        if times == 2:
            await process.il.runs.recover()
        history = await process.last()
        if times == 1:
            assert (raised.value.details["effect"], raised.value.retry) == ("happened", Retry.NEVER)
            assert history.run.state is runs.State.FAILED
        deliveries = [send.delivery.value for send in history.sends]
        assert deliveries == ["unknown" if times == 2 and not applied else "responded", *["not_sent"] * applied]
        assert world.server.effects("issues/create") == 1


async def test_requests_at_once_go_one_after_the_other(file_world: World, isolated: tuple[str, ...]):
    async with process_with(file_world, isolated, "at_once") as process:
        await process.connect(file_world.server.url)
        await call(file_world, process)
        history = await process.last()
        assert [send.delivery.value for send in history.sends] == ["responded"] * 4
        assert file_world.server.effects("issues/create") == 4


@pytest.mark.parametrize(
    ("ended", "code"),
    [("lease", "lease_revoked"), ("lapsed", "lease_expired"), ("connection", "connection_revoked")],
)
async def test_what_ends_between_two_sends_stops_the_second(
    file_world: World, isolated: tuple[str, ...], ended: str, code: str
):
    async with process_with(file_world, isolated, "file_issue") as process:
        connection = await process.connect(file_world.server.url)
        file_world.server.fault("hold", match="issues/create")
        raised: list[InterlockError] = []

        async def file() -> None:
            with pytest.raises(InterlockError) as error:
                await call(file_world, process)
            raised.append(error.value)

        async with anyio.create_task_group() as group:
            group.start_soon(file)
            await anyio.to_thread.run_sync(file_world.server.wait_held)
            if ended == "connection":
                await process.il.connections.revoke(connection.connection_id)
            else:
                leases, past = tables.leases, file_world.clock.now() - timedelta(seconds=1)
                change = update(leases).values({"revoked_at" if ended == "lease" else "expires_at": past})
                await process.parts.store.write(lambda tx: sql.connection(tx).execute(change) and None)
            file_world.server.release()
        history = await process.last()
        assert [send.delivery.value for send in history.sends] == ["responded", "not_sent"]
        assert code in (history.sends[1].receipt_json or "")
        assert raised[0].details["failure_code"] == code
        assert len(file_world.server.requests("issues/*")) == 1


async def test_a_task_left_behind_sends_nothing(file_world: World, isolated: tuple[str, ...]):
    if isolated:
        return  # a child is gone when its call is over
    async with process_with(file_world, isolated, "leave_a_task") as process:
        await process.connect(file_world.server.url)
        await call(file_world, process)
        import importlib

        left: list[Any] = importlib.import_module(CHILD).left
        await left[0]
        assert left[1].code == "attempt_over"
        assert file_world.server.effects("issues/create") == 0


async def test_cancelled_meanwhile(file_world: World, isolated: tuple[str, ...]):
    async with process_with(file_world, isolated, "swallow") as process:
        await process.connect(file_world.server.url)
        file_world.server.fault("hold", match="issues/create")
        async with anyio.create_task_group() as group:
            group.start_soon(call, file_world, process)
            await anyio.to_thread.run_sync(file_world.server.wait_held)
            group.cancel_scope.cancel()
        file_world.server.release()
        assert (await process.last()).run.state is runs.State.WAITING
