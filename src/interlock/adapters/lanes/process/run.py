"""One command as it goes: its output out, its input in, and its end, all of it bounded."""

import signal
from typing import Final, Protocol

import anyio

from interlock import plane
from interlock.adapters.lanes.process.keepers import Ended, KeeperLost, NotStarted
from interlock.adapters.lanes.process.streams import END_OF_INPUT, KEYS, Outlet, Streams

_KILLED_WITHIN: Final = 10.0
"""Seconds within which the kernel ends what was killed; a process that waits for a dead disk may take longer."""


class Keeper(Protocol):
    """Who holds a command and all that it starts, here or somewhere else."""

    async def ended(self) -> Ended:
        """Wait until nothing of the command is left. Raises NotStarted, KeeperLost."""
        ...

    def signal(self, number: int, *, everything: bool = False) -> None:
        """Send a signal to the command's process group, or to all that it started."""
        ...

    def kill(self) -> None:
        """Kill all of it."""
        ...


class Run:
    """Between the start of a command and its end."""

    def __init__(self, intent: plane.ProcessIntent, exchange: plane.Exchange, streams: Streams, keeper: Keeper) -> None:
        assert exchange.channel is not None
        self._intent = intent
        self._exchange = exchange
        self._channel = exchange.channel
        self._streams = streams
        self._keeper = keeper
        lines = intent.output == "lines"
        self._outlets = {
            name: Outlet(name, source, exchange.channel, lines=lines) for name, source in streams.output.items()
        }
        self._fed = anyio.CancelScope()
        self._failure: Exception | None = None
        self._ended: Ended | None = None
        self._never = False

    @property
    def over(self) -> bool:
        """Whether nothing of the command is left."""
        return self._never or self._ended is not None

    async def go(self) -> Ended:
        """To its own end. Raises LaneFailure if it says too much, NotStarted, KeeperLost."""
        ended: Ended | None = None
        try:
            self._streams.given()
            async with anyio.create_task_group() as tasks:
                for outlet in self._outlets.values():
                    tasks.start_soon(self._pass_on, outlet, tasks.cancel_scope)
                tasks.start_soon(self._feed)
                ended = await self._wait()
                for outlet in self._outlets.values():
                    outlet.over()
                self._fed.cancel()
            if self._failure is not None:
                raise self._failure
            assert ended is not None
            self._ended = ended
            return ended
        finally:
            if not self.over:
                await self._stop()
            self._tell()

    async def _wait(self) -> Ended | None:
        """Errors are kept for after the tasks, who would put them into a group."""
        try:
            return await self._keeper.ended()
        except NotStarted as error:
            self._never, self._failure = True, error
        except KeeperLost as error:
            self._failure = error
        return None

    async def _pass_on(self, outlet: Outlet, scope: anyio.CancelScope) -> None:
        most = self._intent.max_output_bytes
        try:
            while await outlet.read():
                if sum(each.size for each in self._outlets.values()) > most:
                    message = f"the command wrote more than {most} bytes"
                    raise plane.LaneFailure(plane.FailureClass.OUTPUT_TOO_LARGE, message)
        except plane.LaneFailure as failure:
            self._failure = self._failure or failure
            scope.cancel()

    async def _feed(self) -> None:
        with self._fed:
            await self._feed_all()

    async def _feed_all(self) -> None:
        streams, terminal = self._streams, self._streams.terminal
        await self._write(self._intent.stdin)
        if not self._intent.interactive:
            await self._end_input()
        while (piece := await self._channel.inbox.receive()) is not None:
            if piece.kind is plane.InputKind.RESIZE:
                rows, columns = piece.facts.get("rows"), piece.facts.get("columns")
                if isinstance(rows, int) and isinstance(columns, int) and 0 < rows < 65_536 and 0 < columns < 65_536:
                    streams.resize(rows, columns)
            elif piece.kind is plane.InputKind.SIGNAL:
                name = str(piece.facts.get("signal"))
                if terminal and name in KEYS:
                    await self._write(KEYS[name])
                elif (number := getattr(signal.Signals, name, None)) is not None:
                    self._keeper.signal(number)
            elif self._intent.interactive:
                self._exchange.leave(len(piece.data))
                await self._write(piece.data)
        await self._end_input()

    async def _write(self, data: bytes) -> None:
        try:
            await self._streams.write(data)
        except OSError:  # it reads no more, which is its right
            self._streams.end_input()

    async def _end_input(self) -> None:
        if self._streams.terminal:
            await self._write(END_OF_INPUT)
        self._streams.end_input()

    async def _stop(self) -> None:
        """End it: TERM to all of it, time to obey, KILL. What it still says is read, so that it can obey, and dropped."""
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                for name, source in self._streams.output.items():
                    tasks.start_soon(_drop, Outlet(name, source, None, lines=False))
                if self._intent.grace_ms:
                    self._keeper.signal(signal.SIGTERM, everything=True)
                    with anyio.move_on_after(self._intent.grace_ms / 1000):
                        self._ended = await self._end()
                if not self.over:
                    self._keeper.kill()
                    with anyio.move_on_after(_KILLED_WITHIN):
                        self._ended = await self._end()
                tasks.cancel_scope.cancel()

    async def _end(self) -> Ended | None:
        try:
            return await self._keeper.ended()
        except NotStarted:
            self._never = True
        except KeeperLost:
            pass  # what it kept is killed by its mother
        return None

    def _tell(self) -> None:
        facts = self._exchange.facts
        for name, outlet in self._outlets.items():
            facts[f"{name}_bytes"] = outlet.size
            facts[f"{name}_digest"] = outlet.digest
        if self._ended is not None:
            facts |= facts_of(self._ended)
            facts["max_rss_bytes"] = self._ended.max_rss
            facts["left_over"] = self._ended.left


def judge(ended: Ended) -> None:
    """Raises LaneFailure if it did not end well."""
    if ended.signal is not None:
        name = name_of(ended.signal)
        raise plane.LaneFailure(plane.FailureClass.KILLED_BY_SIGNAL, f"the command was ended by {name}")
    if ended.code:
        message = f"the command ended with the code {ended.code}"
        raise plane.LaneFailure(plane.FailureClass.EXIT_NONZERO, message)


def facts_of(ended: Ended) -> dict[str, plane.Fact]:
    """How it ended."""
    facts: dict[str, plane.Fact] = {
        "exit_code": ended.code,
        "signal": None if ended.signal is None else name_of(ended.signal),
    }
    if ended.maybe_signal is not None:
        facts["maybe_signal"] = name_of(ended.maybe_signal)
    return facts


def name_of(number: int) -> str:
    """`SIGTERM` for 15; signals without a name have their number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


async def _drop(outlet: Outlet) -> None:
    while await outlet.read():
        pass
