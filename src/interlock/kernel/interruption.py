"""What ends a task or the process, told from what code of others raises by itself."""

import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


def is_interruption(error: BaseException) -> bool:
    """Whether an exception out of code that is not ours ends this task, or the process, from outside: a cancellation that
    somebody asked for, Ctrl-C, a coroutine that is closed. Of all else (`sys.exit()` in a handler, a CancelledError that it
    raises itself) that code is the cause, and it must end no more than the call.
    """
    import asyncio  # only once something has gone wrong: to load it takes longer than `interlock --help` does

    match error:
        case asyncio.CancelledError():
            task = _current_task()
            return task is not None and task.cancelling() > 0
        case GeneratorExit():
            return _current_task() is None
        case KeyboardInterrupt():
            # Where a runner of asyncio's listens, Ctrl-C comes as a cancellation; to other threads it never comes.
            here = threading.current_thread() is threading.main_thread()
            return here and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        case BaseExceptionGroup():
            return any(map(is_interruption, error.exceptions))
        case _:
            return False


def _current_task() -> "asyncio.Task[object] | None":
    import asyncio

    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
