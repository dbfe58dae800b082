"""Folders that stand for something outside of them, such as a container: a process that is killed leaves both, and whoever
comes next clears them away."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path


@contextmanager
def kept_folder(kind: str) -> Generator[Path]:
    """A new folder, this process's own for as long as it lives."""
    with ExitStack() as stack:
        while True:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{kind}-{os.getpid()}-")))
            with suppress(FileNotFoundError):  # somebody who cleared was there before the lock
                held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, held)
                fcntl.flock(held, fcntl.LOCK_EX)
            if folder.exists():
                break
        yield folder


def clear(kind: str, remove: Callable[[Path], None]) -> None:
    """Remove the folders of that kind whose processes are gone, and before each what it stands for."""
    for path in Path(tempfile.gettempdir()).glob(f"{kind}-*"):
        try:
            held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            if os.fstat(held).st_uid != os.geteuid():
                continue
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(path)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            continue  # it is alive
        finally:
            os.close(held)


def clear_groups(kind: str, parents: Iterable[Path]) -> None:
    """Remove the control groups that are called after such folders, if nothing is in them: a runtime that was killed leaves
    them where it had not written down yet, or no longer, what it was about. Those of a live process may be about to be
    filled, and their folders may lie where this process does not look."""
    for parent in parents:
        for path in parent.glob(f"{kind}-*-*"):
            if not Path("/proc", path.name.rpartition("-")[0].rpartition("-")[2]).exists():
                with suppress(OSError):  # something is in it
                    path.rmdir()
