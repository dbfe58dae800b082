"""The file sink: one line of canonical JSON per receipt, on the disk before it counts."""

import ctypes
import errno
import fcntl
import os
import stat
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from interlock import plane
from interlock.adapters.sinks.errors import EvidenceRefused

_CHUNK: Final = 65_536

_ROOM: Final = 1_048_576
"""Bytes that are free for the records of what is under way, before more is admitted."""

_KEEP_SIZE: Final = 1
_fallocate: Final = getattr(ctypes.CDLL(None, use_errno=True), "fallocate64", None)
if _fallocate is not None:
    _fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


class FileSink:
    """Appends to `<folder>/evidence.jsonl`, which is synced for each record. A file that has reached `max_bytes` becomes
    `evidence-000001.jsonl` and so on; none is ever removed or overwritten. A folder has one writer at a time. Room for a MiB
    of records is taken from the disk ahead, so that one that fills up stops admission, and what was admitted still fits."""

    def __init__(self, folder: Path, *, name: str = "file", max_bytes: int = 67_108_864) -> None:
        """The folder is made when it is first needed, for its owner alone."""
        self._folder = folder
        self._path = folder / "evidence.jsonl"
        self._name = name
        self._max_bytes = max_bytes
        self._size: int | None = None
        self._reserved = 0
        self._has_room = False
        self._lock: int | None = None
        self._turns = threading.Lock()

    @property
    def name(self) -> str:
        return self._name

    async def emit(self, record: plane.EvidenceRecord) -> None:
        await anyio.to_thread.run_sync(self._append, record.canonical.encode() + b"\n")

    async def flush(self) -> None:
        if not self._has_room:
            await anyio.to_thread.run_sync(self._append, b"")

    async def aclose(self) -> None:
        if self._lock is not None:
            if self._size is not None:
                with suppress(OSError):
                    os.truncate(self._path, self._size)  # gives back what was reserved
            os.close(self._lock)
            self._lock = self._size = None
            self._has_room = False

    def _append(self, line: bytes) -> None:
        """Write a line; or without one, see to it that there is room."""
        with self._turns:
            size = self._open() if self._size is None else self._size
            if size and size + len(line) > self._max_bytes:
                self._turn(size)
                size = 0
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                self._has_room, self._size = False, None  # until it is known again
                if os.fstat(file).st_size != size:
                    raise OSError(f"{self._path} was changed by somebody else")
                try:
                    if line:
                        _write(file, line)
                    else:
                        self._reserve(file, size)
                    os.fsync(file)
                except OSError:
                    os.ftruncate(file, size)
                    self._reserved = 0
                    raise
                self._size = size + len(line)
                self._has_room = self._reserved - self._size >= _ROOM
            finally:
                os.close(file)

    def _reserve(self, file: int, size: int) -> None:
        """Twice the room, so that not every record asks for more."""
        wanted = 2 * _ROOM
        if _fallocate is None or _fallocate(file, _KEEP_SIZE, size, wanted) != 0:
            number = errno.EOPNOTSUPP if _fallocate is None else ctypes.get_errno()
            if number not in (errno.EOPNOTSUPP, errno.ENOSYS):
                raise OSError(number, os.strerror(number), str(self._path))
            _write(file, bytes(wanted))  # a disk that reserves nothing shows at least that there is room now
            os.ftruncate(file, size)
        self._reserved = size + wanted

    def _open(self) -> int:
        """The size of what is there, without a last line that a crash cut off: nobody was told that it was kept."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        if self._lock is None:
            self._lock = _locked(self._folder / "lock", flags)
        self._reserved = 0
        file = os.open(self._path, flags, 0o600)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(f"{self._path} is not a file")
            whole = _whole_lines(file, status.st_size)
            if whole != status.st_size:
                os.ftruncate(file, whole)
                os.fsync(file)
        finally:
            os.close(file)
        self._sync_folder()
        return whole

    def _turn(self, size: int) -> None:
        os.truncate(self._path, size)
        self._reserved = 0
        numbers = [int(path.stem.rpartition("-")[2]) for path in self._folder.glob("evidence-[0-9]*.jsonl")]
        self._path.rename(self._folder / f"evidence-{max(numbers, default=0) + 1:06}.jsonl")
        self._sync_folder()

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@asynccontextmanager
async def open_file_sink(folder: Path) -> AsyncGenerator[FileSink]:
    """A sink that was tried. Raises EvidenceRefused."""
    sink = FileSink(folder, name=str(folder))
    try:
        try:
            await sink.flush()
        except OSError as error:
            why = "somebody else writes there" if isinstance(error, BlockingIOError) else error.strerror or error
            raise EvidenceRefused(f"evidence cannot be kept in {folder}: {why}") from error
        yield sink
    finally:
        await sink.aclose()


def _locked(path: Path, flags: int) -> int:
    """A descriptor that holds the lock as long as it is open. Raises OSError if another holds it."""
    file = os.open(path, flags, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise
    return file


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _whole_lines(file: int, size: int) -> int:
    """Where the last whole line ends."""
    end = size
    while end:
        start = max(0, end - _CHUNK)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
