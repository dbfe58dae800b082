"""Nothing of the suite is left when it ends: no process, no socket, no temporary file or folder, no container, no control
group. Each process of the suite (there are several, with pytest-xdist) looks after itself."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

PATIENCE = 20.0
"""Seconds for what is on its way out."""

SHARED = "interlock-postgres-"
"""In the command lines of the database server, which all processes of the suite share: whoever is last ends it."""


@dataclass(frozen=True)
class Traces:
    """What is there now of a process and its descendants, by names that tell a reader where it came from. Temporary files
    are those in `folder`, where this process and its children make all of theirs."""

    folder: Path
    home: str
    ignored: frozenset[str] = field(default_factory=frozenset[str])
    groups: str = "/sys/fs/cgroup"

    def found(self) -> list[str]:
        """All of it, sorted."""
        return sorted({*self._processes(), *self._sockets(), *self._files(), *self._groups()} - self.ignored)

    def left(self, patience: float) -> list[str]:
        """What still is there after a while."""
        ends = time.monotonic() + patience
        while (found := self.found()) and time.monotonic() < ends:
            time.sleep(0.05)
        return found

    def _processes(self) -> Iterator[str]:
        own = psutil.Process()
        for process in {*own.children(recursive=True), *self._detached()}:
            try:
                if process.pid != own.pid and not any(SHARED in _words(each) for each in (process, *process.parents())):
                    yield f"process {process.pid} ({process.status()}): {_words(process)[:200]}"
            except psutil.NoSuchProcess:
                continue

    def _detached(self) -> Iterator[psutil.Process]:
        """Those that left the family, and still have our home in their environment."""
        for process in psutil.process_iter():
            try:
                if process.environ().get("HOME") == self.home:
                    yield process
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue

    def _sockets(self) -> Iterator[str]:
        for each in psutil.Process().net_connections(kind="all"):
            if each.laddr or each.raddr:
                yield f"socket {each.fd}: {each.laddr or '-'} to {each.raddr or '-'} {each.status}"

    def _files(self) -> Iterator[str]:
        for path in self.folder.iterdir():
            kind = "container" if path.name.startswith("interlock-container-") else "temporary file"
            yield f"{kind} {path}"

    def _groups(self) -> Iterator[str]:
        # Unlike a glob, a walk bears with what others take away meanwhile.
        for above, names, _files in os.walk(self.groups):
            for name in names:
                if name.startswith("interlock-") and f"-{os.getpid()}-" in name:  # a container's has more words
                    yield f"control group {above}/{name}"


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()) or process.name()
    except (psutil.AccessDenied, psutil.ZombieProcess):
        return process.name()


def stop_forkserver() -> None:
    """`multiprocessing` keeps its server and its tracker until the interpreter ends, and offers no way to end them."""
    for module, name in (("forkserver", "_forkserver"), ("resource_tracker", "_resource_tracker")):
        loaded = sys.modules.get(f"multiprocessing.{module}")
        if loaded is not None:
            getattr(loaded, name)._stop()
    if "multiprocessing.util" in sys.modules:
        sys.modules["multiprocessing.util"]._run_finalizers()  # its temporary folder


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(nobody: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fails the last test of this process if something is left of any."""
    tmp_path_factory.getbasetemp()  # what tests are given by pytest is pytest's to keep
    folder = nobody.parent / "tmp"
    folder.mkdir()
    for path, mode in ((folder, 0o1777), (nobody.parent, 0o711)):  # as /tmp is: some tests become another user
        path.chmod(mode)
    there = frozenset(Traces(folder, str(nobody)).found())
    before = tempfile.tempdir
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        tempfile.tempdir = str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = before
    stop_forkserver()
    left = Traces(folder, str(nobody), ignored=there).left(PATIENCE)
    assert not left, "the tests left behind:\n" + "\n".join(left)
