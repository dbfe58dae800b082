"""Files that the command line names, with errors that say which and why."""

import errno
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from interlock.cli import streams
from interlock.cli.errors import FileRefused

MAX_BYTES = 512 * 1024 * 1024
"""The largest file that is read, in bytes; what is inside has limits of its own."""
BY_FORCE = "Choose another name, or replace the file with --force."


def read(name: str, what: str, *, limit: int = MAX_BYTES) -> bytes:
    """A file's content, of at most so many bytes; `-` is stdin. Raises FileRefused."""
    try:
        if name == "-":
            from interlock.cli import unblocking  # with all of asyncio

            with unblocking.interruptible():
                content = sys.stdin.buffer.read(limit + 1)
        else:
            with Path(name).open("rb") as file:
                content = file.read(limit + 1)
    except OSError as error:
        raise _refused(error, f"cannot read the {what} {name}") from error
    if len(content) > limit:
        message = f"the {what} {name} is too large; the limit is {limit} bytes"
        raise FileRefused(message, next_step=f"Give a smaller {what}, or check that the path is the right one.")
    return content


@contextmanager
def opened(name: str, what: str) -> Generator[BinaryIO]:
    """A file to be read piece by piece. Raises FileRefused."""
    try:
        with Path(name).open("rb") as file:
            yield file
    except OSError as error:
        raise _refused(error, f"cannot read the {what} {name}") from error


def write(name: str, content: bytes, what: str, *, force: bool = False) -> None:
    """Write a file, whole or not at all, into a folder that is there. A file that is there is replaced only by `force`; a
    device or a pipe takes what it gets. `-` is stdout. Raises FileRefused."""
    if name == "-":
        out = streams.answers().buffer
        out.write(content)
        out.flush()
        return
    path = Path(name)
    try:
        require_folder(path, what)
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_bytes(content)
        else:
            _place(path, content, force=force)
    except BrokenPipeError:
        raise
    except FileExistsError as error:
        raise FileRefused(f"cannot write the {what}: {name} is there already", next_step=BY_FORCE) from error
    except OSError as error:
        raise _refused(error, f"cannot write the {what} {name}") from error


def require_folder(path: Path, what: str) -> None:
    """Raises FileRefused if the folder that a file goes to is not there."""
    if not path.parent.is_dir():
        next_step = "Make the folder first, or correct the path."
        raise FileRefused(f"cannot write the {what}: there is no folder {path.parent}", next_step=next_step)


@contextmanager
def new(name: str, what: str) -> Generator[BinaryIO]:
    """A new file, to be written piece by piece; a device or a pipe is taken as it is. Raises FileRefused."""
    require_new(name, what)
    try:
        opened = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise _refused(error, f"cannot write the {what} {name}") from error
    with os.fdopen(opened, "wb", buffering=0) as file:
        yield cast("BinaryIO", file)


@contextmanager
def whole(name: str, what: str, *, force: bool = False) -> Generator[BinaryIO]:
    """As `write`, piece by piece: the file is there once all of it is written, and not at all if that fails. Raises
    FileRefused."""
    path = Path(name)
    require_folder(path, what)
    if path.exists() and not path.is_file() and not path.is_dir():
        with _refusing(name, what), path.open("wb", buffering=0) as device:
            yield cast("BinaryIO", device)
        return
    if path.is_dir() or not force:
        require_new(name, what, next_step=BY_FORCE)
    real = path.resolve()
    draft = real.with_name(f".{real.name}.{os.getpid()}")
    try:
        with _refusing(name, what), draft.open("xb") as file:
            yield file
        with _refusing(name, what):
            draft.replace(real)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _refusing(name: str, what: str) -> Generator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _refused(error, f"cannot write the {what} {name}") from error


def require_new(name: str, what: str, *, next_step: str = "Choose another name.") -> None:
    """Raises FileRefused if there is such a file already, or could not be."""
    path = Path(name)
    require_folder(path, what)
    if path.is_file() or path.is_dir():
        raise FileRefused(f"cannot write the {what}: {name} is there already", next_step=next_step)


def make_folder(path: Path) -> None:
    """A folder, if it is not there. Raises FileRefused."""
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise _refused(error, f"cannot make the folder {path}") from error


def _refused(error: OSError, what: str) -> FileRefused:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    next_step = "Make room where it goes, or choose another place." if full else None
    return FileRefused(f"{what}: {error.strerror or error}", next_step=next_step)


def _place(path: Path, content: bytes, *, force: bool) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not force:
        _create(path, content)
        return
    real = path.resolve()
    draft = real.with_name(f".{real.name}.{os.getpid()}")  # what is there stays whole until all of this is written
    _create(draft, content)
    draft.replace(real)


def _create(path: Path, content: bytes) -> None:
    with path.open("xb", buffering=0) as file:
        try:
            left = memoryview(content)
            while left:
                left = left[file.write(left) :]
        except OSError:
            path.unlink()
            raise
