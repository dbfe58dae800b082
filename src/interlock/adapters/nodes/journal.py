"""A node's journal as a file of JSON lines: one line per acceptance and per receipt, on the disk before it counts."""

import fcntl
import os
import stat
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
import orjson
from pydantic import ValidationError

from interlock import plane
from interlock.kernel import Clock, Fault, Retry, StoreError, canonical

T = TypeVar("T")


class JournalBusy(StoreError):
    """Another node writes to this journal."""

    code = "journal_busy"
    retry = Retry.LATER
    fault = Fault.OPERATOR
    next_step = "Give every node a journal of its own, or end the other node first."


class JournalDamaged(StoreError):
    """The journal holds something that no node wrote."""

    code = "journal_damaged"
    retry = Retry.AFTER_CHANGE
    fault = Fault.OPERATOR
    next_step = "Put the file aside and find out what its executions did before the node is started on a new one."


class JournalUnavailable(StoreError):
    """The journal cannot be read or written."""

    code = "journal_unavailable"
    retry = Retry.LATER
    fault = Fault.OPERATOR
    next_step = "Look at the disk and the rights of the file."


class FileJournal:
    """`plane.Journal` in one file, which one node at a time may hold."""

    def __init__(self, path: Path, *, clock: Clock, keep: timedelta = plane.RETAIN) -> None:
        """Executions that ended longer ago than `keep` are dropped when the journal is loaded; let it be no shorter than
        the executions are retained."""
        self._path = path
        self._clock = clock
        self._keep = keep
        self._file: int | None = None
        self._one_at_a_time = anyio.CapacityLimiter(1)

    async def accept(self, acceptance: plane.Acceptance) -> None:
        """Raises JournalUnavailable."""
        await self._thread(lambda: self._append(_accepted(acceptance)))

    async def finish(self, execution_id: str, receipt: plane.Receipt) -> None:
        """Raises JournalUnavailable."""
        await self._thread(lambda: self._append(_finished(execution_id, receipt)))

    async def load(self) -> Sequence[tuple[plane.Acceptance, plane.Receipt | None]]:
        """Takes hold of the file, too, which it makes in a folder that is there. Raises JournalBusy, JournalDamaged and
        JournalUnavailable."""
        return await self._thread(self._load)

    async def aclose(self) -> None:
        """Let go of the file."""
        await self._thread(self._close)

    async def _thread(self, fn: Callable[[], T]) -> T:
        try:
            return await anyio.to_thread.run_sync(fn, limiter=self._one_at_a_time)
        except OSError as error:
            raise JournalUnavailable(f"the journal {self._path}: {error.strerror}") from error

    def _append(self, line: bytes) -> None:
        if self._file is None:
            raise JournalUnavailable(f"the journal {self._path} is not loaded")
        size = os.fstat(self._file).st_size
        try:
            _write_all(self._file, line + b"\n")
            os.fdatasync(self._file)
        except OSError:
            self._take_back(size)
            raise

    def _take_back(self, size: int) -> None:
        """Cut off half a line; what cannot be cut off must not be written behind, so then the journal is let go."""
        assert self._file is not None
        try:
            os.ftruncate(self._file, size)
        except OSError:
            self._close()

    def _load(self) -> Sequence[tuple[plane.Acceptance, plane.Receipt | None]]:
        self._close()
        self._file = self._hold(self._path)
        try:
            whole = _whole_lines(self._path)
            # A line without its end was never acknowledged: the node was lost while it wrote.
            os.ftruncate(self._file, len(whole))
            found = self._read(whole)
            since = self._clock.now() - self._keep
            kept = [entry for entry in found if entry[1] is None or entry[1].finished_at >= since]
            if len(kept) < len(found):
                self._compact(kept)
        except BaseException:
            self._close()
            raise
        return kept

    def _hold(self, path: Path) -> int:
        """The file, which no other node holds or will hold. Raises JournalBusy, JournalUnavailable."""
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):  # a device may have no end
                message = f"the journal {path} is not a regular file"
                raise JournalUnavailable(message, retry=Retry.AFTER_CHANGE, next_step="Name a file of its own.")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever compacted it in between holds what is there by now.
            free = os.path.samestat(os.fstat(file), path.stat())
        except BlockingIOError:
            free = False
        except BaseException:
            os.close(file)
            raise
        if not free:
            os.close(file)
            raise JournalBusy(f"the journal {self._path} is held by another node")
        return file

    def _compact(self, kept: Sequence[tuple[plane.Acceptance, plane.Receipt | None]]) -> None:
        """Put a file in its place that holds only these. Whenever the node is lost, one of both is there, whole."""
        path = self._path.with_name(f"{self._path.name}.new")
        path.unlink(missing_ok=True)
        file = self._hold(path)
        try:
            _write_all(file, b"".join(line + b"\n" for entry in kept for line in _lines(*entry)))
            os.fsync(file)
            path.replace(self._path)
        except BaseException:
            os.close(file)
            raise
        self._close()
        self._file = file
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _read(self, whole: bytes) -> list[tuple[plane.Acceptance, plane.Receipt | None]]:
        found: dict[str, tuple[plane.Acceptance, plane.Receipt | None]] = {}
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                value = orjson.loads(line)
                if "accepted" in value:
                    acceptance = plane.Acceptance.model_validate_json(orjson.dumps(value["accepted"]))
                    found[acceptance.execution_id] = (acceptance, None)
                else:
                    receipt = plane.Receipt.model_validate_json(orjson.dumps(value["receipt"]))
                    found[value["finished"]] = (found[value["finished"]][0], receipt)
            except (orjson.JSONDecodeError, ValidationError, KeyError, TypeError) as error:
                raise JournalDamaged(
                    f"the journal {self._path}, line {number}: this is no entry of a journal"
                ) from error
        return list(found.values())

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def _accepted(acceptance: plane.Acceptance) -> bytes:
    return canonical({"accepted": acceptance.record()})


def _finished(execution_id: str, receipt: plane.Receipt) -> bytes:
    return canonical({"finished": execution_id, "receipt": receipt.record()})


def _lines(acceptance: plane.Acceptance, receipt: plane.Receipt | None) -> list[bytes]:
    lines = [_accepted(acceptance)]
    return lines if receipt is None else [*lines, _finished(acceptance.execution_id, receipt)]


def _whole_lines(path: Path) -> bytes:
    data = path.read_bytes()
    return data[: data.rfind(b"\n") + 1]


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
