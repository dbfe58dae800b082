"""Folders that stand for something outside of them, such as a container: a process that is killed leaves both, and whoever
comes next clears them away."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def kept_folder(kind: str) -> Generator[Path]:
    """A new folder, this process's own for as long as it lives."""
    with tempfile.TemporaryDirectory(prefix=f"{kind}-{os.getpid()}-") as name:
        held = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield Path(name)
        finally:
            os.close(held)


def clear(kind: str, remove: Callable[[Path], None], *, begun: str) -> None:
    """Remove the folders of that kind whose processes are gone, and before each what it stands for. Only where the file
    `begun` is there: a folder may be younger than its lock."""
    for path in Path(tempfile.gettempdir()).glob(f"{kind}-*"):
        try:
            held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            if os.fstat(held).st_uid != os.geteuid() or not (path / begun).exists():
                continue
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(path)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            continue  # it is alive
        finally:
            os.close(held)
