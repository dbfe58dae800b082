"""What ends a task or the process, told from what code of others raises by itself."""

import asyncio
import signal
import types
from collections.abc import Generator

import anyio
import pytest

from interlock.kernel import is_interruption

OWN = [SystemExit(1), GeneratorExit(), asyncio.CancelledError(), ValueError(), BaseExceptionGroup("", [SystemExit()])]


@pytest.mark.anyio
@pytest.mark.parametrize("error", OWN, ids=repr)
async def test_what_nobody_asked_for_is_its_own(error: BaseException):
    assert not is_interruption(error)


@pytest.mark.anyio
async def test_a_cancellation_is_none_of_its_own():
    seen: list[bool] = []

    async def look() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as error:
            seen.append(is_interruption(error))
            raise

    with anyio.move_on_after(0):
        await look()
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await look()
    task.uncancel()
    assert seen == [True, True]


def test_a_coroutine_that_is_closed():
    @types.coroutine
    def pause() -> Generator[None]:
        yield

    async def wait(seen: list[bool]) -> None:
        try:
            await pause()
        except BaseException as error:
            seen.append(is_interruption(error))
            raise

    seen: list[bool] = []
    work = wait(seen)
    work.send(None)
    work.close()
    assert seen == [True]


@pytest.mark.parametrize("heard", [signal.default_int_handler, signal.SIG_IGN])
def test_ctrl_c_is_real_unless_a_runner_makes_it_a_cancellation(heard: object, monkeypatch: pytest.MonkeyPatch):
    def getsignal(_: int) -> object:
        return heard

    monkeypatch.setattr(signal, "getsignal", getsignal)
    real = heard is signal.default_int_handler
    assert is_interruption(KeyboardInterrupt()) is real
    assert is_interruption(BaseExceptionGroup("", [KeyError(), KeyboardInterrupt()])) is real
