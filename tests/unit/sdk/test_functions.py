import asyncio
import gc
import signal
from collections.abc import Mapping
from typing import Any

import anyio
import pytest

import fix_connector as fix
from interlock import sdk
from interlock.kernel import JSON, RequestError


class Echo:
    """A port that answers with the query."""

    async def request(self, request: sdk.HttpRequest) -> sdk.HttpResponse:
        return sdk.HttpResponse(status=200, body=request.query[0][1].encode())


def call(reference: str) -> JSON:
    async def run() -> JSON:
        return await sdk.call_handler(reference, {"text": "hello"}, Echo())

    return anyio.run(run)


async def _gives(value: Any) -> Any:
    return value


async def _refuses() -> Any:
    raise RequestError("not like this")


@pytest.fixture(autouse=True)
def _handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def gives_a_set(input: Mapping[str, JSON], http: sdk.Http) -> Any:  # noqa: A002
        return await _gives({1, 2})

    async def refuses(input: Mapping[str, JSON], http: sdk.Http) -> Any:  # noqa: A002
        return await _refuses()

    monkeypatch.setattr(fix, "gives_a_set", gives_a_set, raising=False)
    monkeypatch.setattr(fix, "refuses", refuses, raising=False)


def test_a_handler_sends_through_its_port() -> None:
    assert call("fix_connector:shout") == {"said": "HELLO"}
    assert fix.operation("shout").handler == "fix_connector:shout"


@pytest.mark.parametrize(
    ("reference", "words", "effect"),
    [
        ("fix_connector:stumble", "raised KeyError", "unknown"),
        ("fix_connector:gives_a_set", "not JSON", "unknown"),
        ("fix_connector:answer", "async def", "none"),
        ("fix_connector:NOW", "no function", "none"),
        ("fix_connector:nothing", "cannot be loaded", "none"),
        ("no_such_module:x", "cannot be loaded", "none"),
    ],
)
def test_what_goes_wrong_in_a_handler_stays_in_the_error_tree(reference: str, words: str, effect: str) -> None:
    with pytest.raises(sdk.HandlerFailed, match=words) as raised:
        call(reference)
    assert raised.value.effect == effect


def test_a_handlers_own_error_of_the_tree_passes() -> None:
    with pytest.raises(RequestError, match="not like this"):
        call("fix_connector:refuses")


def test_a_task_that_a_handler_left_ends_nothing_but_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[asyncio.Task[None]] = []
    told: list[str] = []

    async def leaves(input: Mapping[str, JSON], http: sdk.Http) -> JSON:  # noqa: A002
        async def exits() -> None:
            await over.wait()
            raise SystemExit(3)

        left.append(asyncio.get_running_loop().create_task(exits()))
        return {}

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(str(context["exception"])))
        await sdk.call_handler("fix_connector:leaves", {}, Echo())
        over.set()
        await asyncio.wait([left.pop()])
        gc.collect()

    over = asyncio.Event()
    monkeypatch.setattr(fix, "leaves", leaves, raising=False)
    asyncio.run(run())
    assert told == ["fix_connector:leaves raised SystemExit: 3 in a task that it started"]


def test_ctrl_c_in_a_task_of_a_handler_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    async def waits(input: Mapping[str, JSON], http: sdk.Http) -> JSON:  # noqa: A002
        async def interrupted() -> None:
            signal.raise_signal(signal.SIGINT)

        await asyncio.get_running_loop().create_task(interrupted())
        return {}

    monkeypatch.setattr(fix, "waits", waits, raising=False)
    loop = asyncio.new_event_loop()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    calling = loop.create_task(sdk.call_handler("fix_connector:waits", {}, Echo()))
    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(calling)
        with pytest.raises(KeyboardInterrupt):  # of the task that the call waits for
            loop.run_until_complete(calling)
        assert isinstance(calling.exception(), KeyboardInterrupt)
    finally:
        signal.signal(signal.SIGINT, before)
        loop.close()
