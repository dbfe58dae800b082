"""`runs.Blobs` over obstore."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from interlock.adapters.blobs.folder import Folder
from interlock.kernel import Retry, StoreError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

DEADLINE = 30.0
"""Seconds that one transfer may take."""


class BlobUnavailable(StoreError):
    """The blob store did not take or give the content."""

    code = "blob_unavailable"
    next_step = "Check the `blobs` setting, and that the folder or bucket is there and writable."


class BlobMissing(StoreError):
    """The blob store is there, and the content is not."""

    code = "blob_missing"
    retry = Retry.NEVER
    next_step = "The content was removed, or `blobs` leads elsewhere than when it was kept; restore it from a backup."


class ObjectBlobs:
    """Content under its digest: in memory (`:memory:`), in a folder, or in an object store (`s3://bucket/prefix`). The place
    is opened, and a folder made, when it is first used."""

    def __init__(self, place: str) -> None:
        self._place = place
        is_remote = "://" in place and not place.startswith("file://")
        self._folder = None if is_remote or place == ":memory:" else Folder(Path(place.removeprefix("file://")))
        self._opened: ObjectStore | None = None

    def check(self) -> None:
        """Raises BlobUnavailable for a folder that cannot be written, or not be made. Leaves nothing; object stores, which
        cannot be asked without, are left alone."""
        if self._folder is None:
            return
        folder = self._folder.path
        there = next(each for each in (folder, *folder.parents) if each.exists())
        try:
            with TemporaryDirectory(dir=there, prefix=".interlock-"):
                pass
        except OSError as error:
            raise BlobUnavailable(f"{folder} cannot be written: {_first_line(error)}") from error

    @property
    def is_open_to_others(self) -> bool:
        """Whether it is a folder whose mode lets anybody in but its owner."""
        return self._folder is not None and self._folder.is_open_to_others

    async def put(self, key: str, content: bytes) -> None:
        """Keep the content. Writing the same key again is harmless: the key is a digest. Raises BlobUnavailable."""
        from obstore.exceptions import BaseError

        try:
            with anyio.fail_after(DEADLINE):
                if self._folder is not None:
                    await to_thread.run_sync(self._folder.put, key, content, abandon_on_cancel=True)
                else:
                    await self._store().put_async(key, content)
        except (BaseError, OSError, TimeoutError, ValueError) as error:
            raise BlobUnavailable(f"cannot write {key} to {self._place}: {_first_line(error)}") from error

    async def get(self, key: str) -> bytes:
        """The content. Raises BlobMissing, BlobUnavailable."""
        from obstore.exceptions import BaseError

        try:
            with anyio.fail_after(DEADLINE):
                if self._folder is not None:
                    return await to_thread.run_sync(self._folder.get, key, abandon_on_cancel=True)
                result = await self._store().get_async(key)
                return bytes(await result.bytes_async())
        except FileNotFoundError as error:
            raise BlobMissing(f"{key} is not in {self._place}") from error
        except (BaseError, OSError, TimeoutError, ValueError) as error:
            raise BlobUnavailable(f"cannot read {key} from {self._place}: {_first_line(error)}") from error

    def _store(self) -> "ObjectStore":
        if self._opened is None:
            from obstore.store import MemoryStore, from_url

            self._opened = MemoryStore() if self._place == ":memory:" else from_url(self._place)
        return self._opened


def _first_line(error: Exception) -> str:
    """What the library says, without its debugging appendix."""
    return str(error).partition("\n")[0] or type(error).__name__
