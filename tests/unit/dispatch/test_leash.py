"""What does not end when it is cancelled is left behind, and never run again."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from interlock.dispatch.leash import LeftBehind, held

pytestmark = pytest.mark.anyio


async def until_cut(
    call: Callable[[], Coroutine[Any, Any, object]], *, grace: float = 0.0, busy: Callable[[], bool] | None = None
):
    """Cancel it once it has begun; what came of it."""
    came: list[object] = []

    async with anyio.create_task_group() as tasks:

        async def hold() -> None:
            try:
                came.append(await held(call(), grace=grace, is_busy=busy or (lambda: False)))
            except LeftBehind:
                came.append(LeftBehind)

        tasks.start_soon(hold)
        for _ in range(5):  # until it has begun
            await asyncio.sleep(0)
        tasks.cancel_scope.cancel()
    return came


async def test_what_ends_is_as_if_it_had_been_awaited():
    async def fine() -> int:
        await asyncio.sleep(0)
        return 7

    async def broken() -> int:
        await asyncio.sleep(0)
        raise ValueError("no")

    assert await held(fine(), grace=1, is_busy=lambda: False) == 7
    with pytest.raises(ValueError, match="no"):
        await held(broken(), grace=1, is_busy=lambda: False)


async def test_what_ends_when_it_is_cancelled_is_cancelled():
    cleaned: list[str] = []

    async def orderly() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
            cleaned.append("cleaned")

    assert await until_cut(orderly, grace=60) == []
    assert cleaned == ["cleaned"]


async def test_an_answer_that_comes_all_the_same_counts():
    async def late() -> str:
        try:
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            return "done"
        return "never"

    assert await until_cut(late, grace=60) == ["done"]


@pytest.mark.parametrize("swallows", [asyncio.CancelledError, BaseException])
@pytest.mark.parametrize("shielded", [False, True])
@pytest.mark.parametrize("scoped", [False, True])
async def test_what_goes_on_is_left_and_never_run_again(swallows: type[BaseException], shielded: bool, scoped: bool):
    rounds, left = 0, False

    async def stubborn() -> None:
        nonlocal rounds
        with anyio.CancelScope(shield=shielded and scoped):
            while True:
                try:
                    rounds += 1
                    await (asyncio.sleep(1000) if shielded else anyio.sleep(1000))
                except swallows as error:
                    if isinstance(error, GeneratorExit) and left:
                        return

    assert await until_cut(stubborn) == [LeftBehind]
    before = rounds
    for _ in range(50):
        await asyncio.sleep(0)
    assert rounds == before
    left = True


async def test_nothing_is_left_in_the_middle_of_what_has_to_be_ended():
    busy, told = True, anyio.Event()

    async def stubborn() -> str:
        nonlocal busy
        with anyio.CancelScope(shield=True):
            await told.wait()
        busy = False
        return "ended"

    async with anyio.create_task_group() as tasks:

        async def tell() -> None:
            await anyio.sleep(0.2)
            told.set()

        tasks.start_soon(tell)
        assert await until_cut(stubborn, busy=lambda: busy) == ["ended"]
