"""The suite notices what its tests leave behind (`fix_leftovers.py`)."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path

import pytest

from fix_leftovers import Traces
from fix_store import embedded_postgres

TESTS = Path(__file__).parents[1]
CARELESS = """
import subprocess, sys, tempfile
import fix_leftovers

fix_leftovers.PATIENCE = 0.1

def test_that_passes():
    tempfile.mkdtemp(prefix="interlock-forgotten-")
    no = subprocess.DEVNULL
    program = "import time; time.sleep(600)  # forgotten"
    print(subprocess.Popen([sys.executable, "-c", program], stdin=no, stdout=no, stderr=no).pid)
"""


@contextmanager
def a_process(folder: Path) -> Generator[str]:
    with subprocess.Popen(["/bin/sleep", "600"]) as process:
        yield f"process {process.pid} "
        process.kill()


@contextmanager
def a_detached_process(folder: Path) -> Generator[str]:
    """Its parent has ended, so that it is nobody's descendant."""
    program = (
        "import subprocess; no = subprocess.DEVNULL; "
        "print(subprocess.Popen(['/bin/sleep', '600'], start_new_session=True, stdin=no, stdout=no, stderr=no).pid)"
    )
    env = {**os.environ, "HOME": str(folder)}
    answer = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    yield f"process {int(answer.stdout)} "
    os.kill(int(answer.stdout), 9)


@contextmanager
def a_zombie(folder: Path) -> Generator[str]:
    process = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    yield f"process {process.pid} (zombie)"
    process.wait()


@contextmanager
def a_listening_socket(folder: Path) -> Generator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"port={listening.getsockname()[1]}"


@contextmanager
def a_connected_socket(folder: Path) -> Generator[str]:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        closing(socket.create_connection(listening.getsockname())),
    ):
        yield "ESTABLISHED"


@contextmanager
def a_file(folder: Path) -> Generator[str]:
    path = Path(tempfile.mkstemp(dir=folder)[1])
    yield f"temporary file {path}"
    path.unlink()


@contextmanager
def a_container(folder: Path) -> Generator[str]:
    path = Path(tempfile.mkdtemp(prefix=f"interlock-container-{os.getpid()}-", dir=folder))
    yield f"container {path}"
    path.rmdir()


@contextmanager
def a_control_group(folder: Path) -> Generator[str]:
    path = Path(tempfile.mkdtemp(prefix=f"interlock-{os.getpid()}-", dir=folder / "groups/pids"))
    yield f"control group {path}"
    path.rmdir()


@contextmanager
def a_control_group_of_a_container(folder: Path) -> Generator[str]:
    path = Path(tempfile.mkdtemp(prefix=f"interlock-container-runc-{os.getpid()}-", dir=folder / "groups/pids"))
    yield f"control group {path}"
    path.rmdir()


@pytest.mark.parametrize(
    "leave",
    [
        a_process,
        a_detached_process,
        a_zombie,
        a_listening_socket,
        a_connected_socket,
        a_file,
        a_container,
        a_control_group,
        a_control_group_of_a_container,
    ],
)
def test_whatever_is_left_is_seen(leave: Callable[[Path], AbstractContextManager[str]], tmp_path: Path) -> None:
    (tmp_path / "groups/pids").mkdir(parents=True)
    before = frozenset(Traces(tmp_path, str(tmp_path)).found())
    traces = Traces(tmp_path, str(tmp_path), ignored=before, groups=str(tmp_path / "groups"))
    with leave(tmp_path) as words:
        seen = traces.found()
        assert [each for each in seen if words in each], (words, seen)
    assert traces.left(10) == []


@pytest.mark.faults  # a suite of its own, with servers that it leaves
def test_a_suite_that_leaves_something_fails_and_says_what(tmp_path: Path) -> None:
    (tmp_path / "test_careless.py").write_text(CARELESS)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-s",
        "-p",
        "conftest",
        "-p",
        "no:cacheprovider",
        "--rootdir=.",
        "--basetemp=base",
    ]
    env = {**os.environ, "PYTHONPATH": str(TESTS)}
    answer = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    for word in answer.stdout.split():
        if word.isdigit():
            with suppress(ProcessLookupError):
                os.kill(int(word), signal.SIGKILL)
            break
    assert answer.returncode == 1, answer.stdout + answer.stderr
    told = answer.stdout.partition("the tests left behind:")[2]
    assert "# forgotten" in told
    assert "interlock-forgotten-" in told


def test_one_worker_at_a_time_starts_the_database() -> None:
    lock = embedded_postgres().PostgresServer.lock_path
    assert not lock.is_relative_to(tempfile.gettempdir()), "each worker has a lock of its own"
