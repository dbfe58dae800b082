"""The interpreter's process: where its binary is, what it took, and its certain end."""

import os
import signal
import sys
import sysconfig
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import anyio.to_thread

from interlock import plane
from interlock.adapters.lanes.process.groups import PROCESSES, Groups
from interlock.adapters.lanes.script.wall import Entrance, entrance, hold

if TYPE_CHECKING:
    import pydantic_monty

T = TypeVar("T")

MAX_LOOKUPS: Final = 1_000
"""How often a script may look for a name that there is not, beside its actions."""

_BINARY: Final = "monty.exe" if sys.platform == "win32" else "monty"

_GRACE_SECONDS: Final = 0.25
"""How long after its `run_ms` a program that does not notice is killed."""


def installed() -> "tuple[Any, Path]":
    """The interpreter's library and its binary, which neither the environment nor the search path chooses. Raises
    LaneFailure."""
    try:
        import pydantic_monty
    except ImportError:
        binary = None
    else:
        schemes = (sysconfig.get_default_scheme(), f"{os.name}_user")
        folders = [Path(sysconfig.get_path("scripts", scheme)) for scheme in schemes]
        binary = next((folder / _BINARY for folder in folders if (folder / _BINARY).is_file()), None)
        if binary is not None:
            return pydantic_monty, binary
    raise plane.LaneFailure(
        plane.FailureClass.LANE_UNAVAILABLE,
        'scripts need an interpreter that is not installed: pip install "interlock[script]"',
        code="interpreter_missing",
    )


class Worker:
    """A process of its own for one script. It is talked to by calls that block, on threads: the library's own coroutines
    leave threads of it behind that abort this process, now and then, when the interpreter ends."""

    def __init__(self, session: "pydantic_monty.MontySession", limiter: anyio.CapacityLimiter) -> None:
        self.session = session
        self._limiter = limiter
        self._pid: int | None = None
        self._handle: int | None = None

    def begun(self) -> None:
        """The process is there. Its number is kept, since the library does not tell it while a call is open."""
        self._pid = self.session.worker_pid
        if self._pid is not None and sys.platform == "linux":
            self._handle = os.pidfd_open(self._pid)  # stands for this process, also when its number is given to another

    async def call(self, go: Callable[[], T]) -> T:
        """What `go` returns, or raises. A cancellation kills the process, which ends the call, before it goes on."""
        done, results, errors = anyio.Event(), list[T](), list[Exception]()

        async def run() -> None:
            try:
                results.append(await anyio.to_thread.run_sync(go, limiter=self._limiter))
            except Exception as error:  # noqa: BLE001 - raised below, outside the group
                errors.append(error)
            finally:
                done.set()

        async with anyio.create_task_group() as group:
            group.start_soon(run)
            try:
                await done.wait()
            finally:
                if not done.is_set():
                    self.kill()
        for error in errors:
            raise error
        return results[0]

    def kill(self) -> None:
        """End the process now. From any thread; again is harmless."""
        with suppress(ProcessLookupError):
            if self._handle is not None:
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            elif self._pid is not None:
                os.kill(self._pid, signal.SIGKILL)

    def end(self) -> None:
        """End the process for good."""
        self.kill()
        handle, self._handle, self._pid = self._handle, None, None
        if handle is not None:
            os.close(handle)


@asynccontextmanager
async def worker_for(
    intent: plane.ScriptIntent,
    exchange: plane.Exchange,
    limiter: anyio.CapacityLimiter,
    *,
    confiner: plane.Confiner | None,
    groups: Groups,
) -> AsyncGenerator[Worker]:
    """A worker that has begun, held as well as this host can. It is gone afterwards, also when the script still runs. Raises
    LaneFailure."""
    monty, binary = installed()
    with groups.limited({PROCESSES: 0} if PROCESSES in groups.offered else {}) as joined:
        async with entrance(binary, confiner) as through, _begun(intent, exchange, limiter, monty, through) as worker:
            exchange.facts["confined_by"] = hold(worker.session.worker_pid, through, intent.limits, joined)
            try:
                yield worker
            finally:
                exchange.facts["memory_bytes"] = _peak_memory(worker.session.worker_pid)


@asynccontextmanager
async def _begun(
    intent: plane.ScriptIntent, exchange: plane.Exchange, limiter: anyio.CapacityLimiter, monty: Any, through: Entrance
) -> AsyncGenerator[Worker]:
    limits = intent.limits
    pool = monty.Monty(
        binary_path=through.path, min_processes=0, max_processes=1, feed_duration_limit_grace=_GRACE_SECONDS
    )
    session = pool.checkout(
        script_name="script.py",
        limits={
            "max_feed_duration_secs": limits.run_ms / 1000,
            "max_memory": limits.memory_bytes,
            "max_recursion_depth": limits.recursion,
            "max_suspensions": limits.max_actions + MAX_LOOKUPS,
        },
        # One moment, and chance that follows from the intent: the same script does the same again.
        os_policy={
            "datetime": intent.moment or exchange.clock.now(),
            "sleep": "call_host",
            "random_start": {"seed": intent.seed or intent.digest},
        },
    )
    worker, entered = Worker(session, limiter), ExitStack()

    def begin() -> None:
        entered.enter_context(pool)
        entered.enter_context(session)
        worker.begun()
        entered.callback(worker.end)  # comes first, so that what the library then waits for is over

    try:
        try:
            await anyio.to_thread.run_sync(begin, limiter=limiter)
        except (OSError, monty.MontyError) as error:
            message = f"no interpreter could be started: {type(error).__name__}{through.why_not()}"
            raise plane.LaneFailure(plane.FailureClass.LANE_UNAVAILABLE, message, code="interpreter_lost") from error
        exchange.facts["interpreter"] = f"monty {monty.__version__}"
        yield worker
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(entered.close, limiter=limiter)


def _peak_memory(pid: int | None) -> int | None:
    """The most bytes of memory that the live process has taken, the interpreter's own included; None where the system does
    not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
