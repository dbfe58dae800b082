"""What a program hands to the facade wrongly is told by an error of ours, from Python async and sync alike."""

import inspect
from datetime import UTC, datetime
from typing import Any

import pytest

from fix_app import World
from interlock import app, kernel
from interlock.app import arguments
from interlock.kernel import NotFoundError, RequestError
from interlock.sync import Interlock

FACES: tuple[Any, ...] = (app.Interlock.invoke, *(
    method
    for face in (app.Runs, app.Approvals, app.Connections)
    for name, method in vars(face).items()
    if inspect.iscoroutinefunction(method) and not name.startswith("_")
))  # fmt: skip


PARAMETERS = [(method, name) for method in FACES for name in list(inspect.signature(method).parameters)[1:]]


@pytest.mark.anyio
async def test_an_argument_of_the_wrong_kind_is_named():
    async with app.Interlock.open(":memory:") as il:
        rooms: dict[str, object] = {"Runs": il.runs, "Approvals": il.approvals, "Connections": il.connections}
        wrongs: tuple[object, ...] = (object(), b"x", [b""], True)
        for method, name in PARAMETERS:
            needed = [each for each in inspect.signature(method).parameters.values() if each.default is each.empty][1:]
            room = rooms.get(method.__qualname__.partition(".")[0], il)
            for wrong in wrongs[:-1] if name == "at_provider" else wrongs:
                given: dict[str, object] = {**{each.name: "x" for each in needed}, name: wrong}
                with pytest.raises(RequestError, match=rf"{name} must be .*, not {type(wrong).__name__}$") as caught:
                    await method(room, **given)
                assert caught.value.fault is kernel.Fault.CALLER
        assert await il.runs.list() == []


def test_every_parameter_has_a_kind():
    assert {name for _, name in PARAMETERS} <= arguments.KINDS.keys()


ODD: tuple[tuple[dict[str, Any], str], ...] = (
    ({"idempotency_key": "k" * 201}, "idempotency_key must be 1 to 200 printable characters; this has 201"),
    ({"idempotency_key": ""}, "this has 0"),
    ({"idempotency_key": "a\nb"}, r"this holds U\+000A"),
    ({"idempotency_key": " a"}, "this begins or ends with a blank"),
    ({"environment": ""}, "environment must be 1 to 200 printable characters; this has 0"),
    ({"allowed_operations": "acme.issue.create"}, "allowed_operations must be a list of texts, not str"),
    ({"cost": {"usd": 1.5}}, "cost: 'usd' must be a name, and its amount a whole number from 0"),
    ({"cost": {"usd": True}}, "cost: 'usd' must be"),
    ({"cost": {5: 5}}, "cost: '5' must be"),
    ({"input": {"repo": 2**53}}, r"input \$\.repo: 9007199254740992 is beyond ±\(2⁵³−1\), where not every"),
)


@pytest.mark.anyio
async def test_what_is_asked_for_oddly_is_told():
    async with app.Interlock.open(":memory:") as il:
        for wrong, told in ODD:
            with pytest.raises(RequestError, match=told):
                await il.invoke("github.repo.fetch", **wrong)
        assert await il.runs.list() == []


@pytest.mark.anyio
async def test_a_time_has_a_zone():
    async with app.Interlock.open(":memory:") as il:
        wrongs: tuple[dict[str, Any], ...] = ({"since": datetime(2026, 3, 1)}, {"until": "2026-03-01"})
        for wrong in wrongs:
            with pytest.raises(RequestError, match="must be a datetime with a time zone"):
                await il.runs.list(**wrong)
        assert await il.runs.list(since=datetime(2026, 3, 1, tzinfo=UTC)) == []


@pytest.mark.anyio
async def test_a_number_that_is_too_small_is_told_as_it_is():
    async with app.Interlock.open(":memory:") as il:
        with pytest.raises(RequestError, match="limit must be a whole number above 0, not -1"):
            await il.runs.list(limit=-1)
    nobody: dict[str, Any] = {"tenant_id": None, "actor": "a"}
    with pytest.raises(RequestError, match="tenant_id must be 1 to 200 printable characters, not NoneType"):
        kernel.Caller(**nobody)


@pytest.mark.anyio
async def test_what_was_closed_says_so():
    async with app.Interlock.open(":memory:") as il:
        pass
    for use in (il.runs.list, il.connections.list, il.approvals.list, il.runs.recover):
        with pytest.raises(kernel.InterlockError, match="is closed") as caught:
            await use()
        assert (caught.value.fault, caught.value.retry) == (kernel.Fault.CALLER, kernel.Retry.NEVER)


def test_what_was_closed_says_so_without_a_loop_too():
    with Interlock.open(":memory:") as il:
        other = il.as_caller(kernel.Caller(actor="other"))
    for use in (il.runs.list, other.connections.list, lambda: il.invoke("github.repo.fetch")):
        with pytest.raises(app.Closed, match="is closed"):
            use()


@pytest.mark.anyio
async def test_what_goes_on_record_is_a_text_that_can_be_read():
    async with app.Interlock.open(":memory:") as il:
        for remark in ("a\x1b[31m", "a\0b", "x" * 2001, "\ud800"):
            for say in (il.runs.cancel, il.approvals.deny, il.connections.revoke):
                with pytest.raises(RequestError, match="reason must be a text of at most 2000 characters"):
                    await say("x", reason=remark)
            with pytest.raises(RequestError, match="note must be a text"):
                await il.runs.settle("x", note=remark)
        with pytest.raises(RequestError, match="a denial needs a reason"):
            await il.approvals.deny("x", reason=" ")
        with pytest.raises(NotFoundError):
            await il.runs.cancel("x", reason="wrong repository,\nnaïve 😀")


UNFIT = ("run_\udcff", "run_\0", "x", "")
"""Texts that name nothing, of which databases refuse some."""


@pytest.mark.anyio
async def test_a_text_that_no_store_takes_names_nothing(world: World):
    async with world.process() as process:
        il = process.il
        asks = (
            *(il.runs.fetch, il.runs.history, il.runs.events, il.runs.outcome, il.runs.cancel, il.runs.settle),
            *(il.runs.packet, il.runs.artifact, il.connections.fetch),
            *(il.approvals.fetch, il.approvals.approve, il.approvals.execute),
        )
        for text in UNFIT:
            for ask in asks:
                with pytest.raises(NotFoundError):
                    await ask(text)
            with pytest.raises(NotFoundError):
                await il.approvals.deny(text, reason="no")
            for listed in (il.runs.list, il.approvals.list, il.connections.list):
                with pytest.raises(RequestError, match=r"cursor is not an? (run|approval|connection) id"):
                    await listed(cursor=text)
        for text in UNFIT[:2]:
            for name in ("capability", "connection_id", "actor", "trace_id", "parent_run_id"):
                given: dict[str, Any] = {name: text}
                with pytest.raises(RequestError, match=f"{name} must be a text of printable characters, not 'run_"):
                    await il.runs.list(**given)
            with pytest.raises(RequestError, match="connector must be a text of printable characters"):
                await il.connections.list(connector=text)


@pytest.mark.anyio
async def test_the_catalog_and_opening_say_what_they_expect():
    async with app.Interlock.open(":memory:") as il:
        catalog: Any = il.catalog
        for ask in (catalog.fetch, catalog.find, catalog.find_connector, catalog.search):
            for wrong in (5, None, ["x"]):
                with pytest.raises(RequestError, match=f"must be a text, not {type(wrong).__name__}"):
                    ask(wrong)
        with pytest.raises(RequestError, match="cursor must be a text, not int"):
            catalog.list_capabilities(cursor=5)
        with pytest.raises(RequestError, match="filter must be a Filter, not str"):
            catalog.list_capabilities("github")
    wrongs: dict[str, object] = {
        "url": 5,
        "settings": {},
        "file": "x.toml",
        "policy": "allow",
        "connectors": ["github"],
    }
    for name, wrong in wrongs.items():
        given: dict[str, Any] = {name: wrong}
        with pytest.raises(RequestError, match=f"{name} must be "):
            async with app.Interlock.open(**given):
                pass
