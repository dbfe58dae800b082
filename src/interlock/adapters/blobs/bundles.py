"""`runs.Bundles` in folders of this machine: files that only their owner reads, and that are on disk when that is said."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from anyio import to_thread

from interlock.adapters.blobs.folder import make_private
from interlock.kernel import Retry, StoreError

T = TypeVar("T")


class ArchiveUnavailable(StoreError):
    """An archive's folder did not take or give the bytes."""

    code = "archive_unavailable"
    retry = Retry.LATER
    next_step = "Check that the folder is there, on this machine, writable, and has room."


class FolderBundles:
    """Archives as files. A folder is made when something first goes there."""

    async def append(self, folder: str, name: str, start: int, content: bytes) -> None:
        await self._access(folder, name, lambda path: _append(path, start, content))

    async def read(self, folder: str, name: str, start: int, size: int) -> bytes:
        return await self._access(folder, name, lambda path: _read(path, start, size))

    async def remove(self, folder: str, name: str) -> None:
        await self._access(folder, name, _remove)

    async def _access(self, folder: str, name: str, what: Callable[[Path], T]) -> T:
        path = Path(folder, name)
        try:
            return await to_thread.run_sync(lambda: what(path))
        except OSError as error:
            raise ArchiveUnavailable(f"{path}: {error.strerror or error}") from error


def _append(path: Path, start: int, content: bytes) -> None:
    if start == 0:
        make_private(path.parent)
    number = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if start == 0 else 0), 0o600)
    with os.fdopen(number, "r+b") as file:
        if os.fstat(number).st_size < start:
            raise OSError(f"it has fewer than {start} bytes, which were written before")
        file.truncate(start)
        file.seek(start)
        file.write(content)
        file.flush()
        os.fsync(number)
    if start == 0:
        for each in list(path.parents)[:3]:
            _sync_folder(each)


def _read(path: Path, start: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(size)


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError, NotADirectoryError):
        path.unlink()
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    """A file's name is on disk only once its folder is."""
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)
