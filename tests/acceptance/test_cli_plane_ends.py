"""`interlock plane run` that somebody ends: nothing of it is left, or the next one clears it away."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from fix_cli import COMMAND, Shell
from interlock import plane
from interlock.adapters.targets import abandoned

pytestmark = pytest.mark.faults

BEGUN = "echo $$; exec sleep 600"
SYSTEM = [part for path in ("/usr", "/bin", "/lib", "/lib64") if Path(path).exists() for part in ("--read", path)]
RUNC = ["--sandbox", "container-runc", *SYSTEM]

needs_runc = pytest.mark.skipif(
    shutil.which("runc", path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin") is None or os.geteuid() != 0,
    reason="needs runc, and root to hold its limits",
)


def word(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def containers(process: subprocess.Popen[str]) -> list[Path]:
    """What there is of them: folders and control groups."""
    name = f"interlock-container-runc-{process.pid}-*"
    return [*Path(tempfile.gettempdir()).glob(name), *Path("/sys/fs/cgroup").glob(f"**/{name}")]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_ends_the_command_too(bare_shell: Shell, number: signal.Signals, code: int) -> None:
    with bare_shell.start("plane", "run", "--receipt", "receipt.json", "--", "/bin/sh", "-c", BEGUN) as process:
        sleeping = psutil.Process(int(word(process)))
        process.send_signal(number)
        _, err = process.communicate()
    assert process.returncode == code
    assert err == "error: interrupted\nnext: What the command had begun was ended with it.\n"
    assert not sleeping.is_running()
    receipt = plane.Receipt.model_validate_json((bare_shell.folder / "receipt.json").read_text())
    assert receipt.failure is not None
    assert (receipt.failure.failure_class, plane.verify_evidence(receipt)) == ("cancelled", None)


def test_a_signal_that_is_ignored_stays_so(bare_shell: Shell) -> None:
    script = "trap '' HUP; exec interlock plane run -- /bin/sh -c 'kill -HUP $PPID; kill -HUP $1; echo on' sh $$"
    environment = {**bare_shell.environment, "PATH": f"{COMMAND.parent}:/usr/bin:/bin"}
    told = subprocess.run(
        ["/bin/sh", "-c", script], env=environment, cwd=bare_shell.folder, capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stdout) == (0, "on\n")


@needs_runc
def test_a_container_ends_with_its_command(bare_shell: Shell) -> None:
    bare_shell.environment["TMPDIR"] = tempfile.gettempdir()
    with bare_shell.start("plane", "run", *RUNC, "--", "/bin/sh", "-c", BEGUN) as process:
        assert int(word(process)) > 1  # which is the init
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode == 143
    assert containers(process) == []


@needs_runc
def test_a_container_that_was_left_is_cleared_away(bare_shell: Shell) -> None:
    bare_shell.environment["TMPDIR"] = tempfile.gettempdir()
    with bare_shell.start("plane", "run", *RUNC, "--", "/bin/sh", "-c", BEGUN) as process:
        assert int(word(process)) > 1  # which is the init
        process.kill()
        process.communicate()
    assert containers(process) != []
    assert bare_shell.run("plane", "run", *RUNC, "--", "/bin/true").code == 0
    assert containers(process) == []


def test_only_what_nobody_holds_is_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with abandoned.kept_folder("thing") as held:
        left, other = tmp_path / "thing-1-x", tmp_path / "other-1-x"
        for each in (left, other):
            each.mkdir()
        removed: list[Path] = []
        abandoned.clear("thing", removed.append)
        assert removed == [left]
        assert sorted(tmp_path.iterdir()) == sorted([held, other])


def test_who_begins_while_another_clears_away_has_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cleared away between its making and its lock, there is another one."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made: list[str] = []
    make = cast("Callable[..., str]", tempfile.mkdtemp)

    def cleared(*arguments: Any, **named: Any) -> str:
        path = make(*arguments, **named)
        if not made:
            abandoned.clear("thing", lambda _: None)
        made.append(path)
        return path

    monkeypatch.setattr(tempfile, "mkdtemp", cleared)
    with abandoned.kept_folder("thing") as held:
        assert [str(held)] == made[1:]
        assert [*tmp_path.iterdir()] == [held]
    assert [*tmp_path.iterdir()] == []


@needs_runc
def test_an_empty_group_that_was_left_is_taken_away(bare_shell: Shell) -> None:
    """Of a runtime that was killed before it had written down what it made; that of a live process stays."""
    with subprocess.Popen(["/bin/true"]) as ended:
        ended.wait()
    parent = next(path for path in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")) if path.is_dir())
    left, live = (parent / f"interlock-container-runc-{number}-x" for number in (ended.pid, os.getpid()))
    for each in (left, live):
        each.mkdir()
    try:
        assert bare_shell.run("plane", "run", *RUNC, "--", "/bin/true").code == 0
        assert (left.exists(), live.exists()) == (False, True)
    finally:
        live.rmdir()
