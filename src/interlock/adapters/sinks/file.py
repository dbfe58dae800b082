"""The file sink: one line of canonical JSON per receipt, on the disk before it counts."""

import fcntl
import os
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from interlock import plane
from interlock.adapters.sinks.errors import EvidenceRefused

_CHUNK: Final = 65_536


class FileSink:
    """Appends to `<folder>/evidence.jsonl`, which is synced for each record. A file that has reached `max_bytes` becomes
    `evidence-000001.jsonl` and so on; none is ever removed or overwritten. A folder has one writer at a time."""

    def __init__(self, folder: Path, *, name: str = "file", max_bytes: int = 67_108_864) -> None:
        """The folder is made when it is first needed, for its owner alone."""
        self._folder = folder
        self._path = folder / "evidence.jsonl"
        self._name = name
        self._max_bytes = max_bytes
        self._size: int | None = None
        self._lock: int | None = None

    @property
    def name(self) -> str:
        return self._name

    async def emit(self, record: plane.EvidenceRecord) -> None:
        await anyio.to_thread.run_sync(self._append, record.canonical.encode() + b"\n")

    async def flush(self) -> None:
        await anyio.to_thread.run_sync(self._append, b"")

    async def aclose(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = self._size = None

    def _append(self, line: bytes) -> None:
        size = self._open() if self._size is None else self._size
        if size and size + len(line) > self._max_bytes:
            self._turn()
            size = 0
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self._size = None  # until it is known again
            if os.fstat(file).st_size != size:
                raise OSError(f"{self._path} was changed by somebody else")
            try:
                _write(file, line)
                os.fsync(file)
            except OSError:
                os.ftruncate(file, size)
                raise
            self._size = size + len(line)
        finally:
            os.close(file)

    def _open(self) -> int:
        """The size of what is there, without a last line that a crash cut off: nobody was told that it was kept."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        if self._lock is None:
            self._lock = _locked(self._folder / "lock", flags)
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

    def _turn(self) -> None:
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
