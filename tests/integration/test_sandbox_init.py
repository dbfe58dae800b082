"""The init of sandboxes by itself, below a program that says 128 + n of a death by signal n, as theirs do: what it hands on,
and how it tells of the command's end. In the sandboxes: `tests/rig`."""

import errno
import os
import shutil
import struct
import subprocess
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from fix_process import PYTHON, Told, process, run, whole_lane
from interlock import plane
from interlock.adapters import targets
from interlock.adapters.targets import init, seccomp

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not seccomp.supported(), reason="no sandbox of ours is on this kind of machine"),
]

OUTER = """
import os, sys
ended = os.waitpid(os.posix_spawn(sys.argv[1], sys.argv[1:], {**os.environ, "PWD": "/added"}), 0)[1]
sys.exit(os.WEXITSTATUS(ended) if os.WIFEXITED(ended) else 128 + os.WTERMSIG(ended))
"""


class Below(targets.Landlock):
    """Confines nothing: there is but the init, below a program that starts it."""

    def __init__(self, outer: str = OUTER) -> None:
        super().__init__()
        self._outer = outer

    @property
    def unavailable(self) -> None:
        return None

    @property
    def enforces(self) -> frozenset[plane.Restraint]:
        return frozenset({plane.Restraint.READ, plane.Restraint.NETWORK_NONE, plane.Restraint.WRITE})

    @asynccontextmanager
    async def confine(
        self, command: plane.Command, profile: plane.SandboxProfile, limits: plane.ResourceLimits
    ) -> AsyncGenerator[plane.Confinement]:
        with ExitStack() as stack:
            own = init.Init(stack, first=64)
            launch = plane.Launch(
                argv=(*PYTHON, self._outer, own.path, *command.argv),
                env=init.marked(command.env),
                cwd=command.cwd,
                fds=own.fds,
                wrappers=2,
            )
            yield init.Confined(launch, own, "the outer program")


async def told(*argv: str, env: tuple[tuple[str, str], ...] = (), outer: str = OUTER) -> Told:
    async with whole_lane(confiner=Below(outer)) as lane:
        return await run(lane, process(*argv, env=env, sandbox=plane.SandboxProfile(read=("/",))))


async def test_an_exit_is_an_exit():
    for code in (0, 1, 127, 137, 255):
        ended = await told("/bin/sh", "-c", f"exit {code}")
        assert ended.code == ("exit_nonzero" if code else None)
        assert (ended.facts["exit_code"], ended.facts["signal"]) == (code, None)
        assert not {"maybe_signal", "left_over"} & set(ended.facts)


async def test_a_death_by_signal_is_one():
    for name in ("KILL", "TERM", "ABRT"):
        ended = await told("/bin/sh", "-c", f"kill -{name} $$")
        assert (ended.code, ended.facts["exit_code"], ended.facts["signal"]) == (
            "killed_by_signal",
            None,
            f"SIG{name}",
        )


async def test_an_init_that_was_killed_says_so():
    ended = await told("/bin/sh", "-c", "kill -KILL $PPID")
    assert (ended.code, ended.facts["signal"]) == ("killed_by_signal", "SIGKILL")
    assert ended.exchange.bytes_sent > 0


async def test_what_cannot_be_run_was_never_started(tmp_path: Path):
    """Nor what nobody came to run."""
    nothing = tmp_path / "nothing"
    nothing.write_bytes(b"\x00" * 64)
    nothing.chmod(0o755)
    for ended in (
        await told(str(nothing)),
        await told(str(tmp_path)),
        await told("/bin/true", outer="raise SystemExit(1)"),
    ):
        assert ended.failure is not None
        assert ended.failure.failure_class is plane.FailureClass.LAUNCH_FAILED
        assert (ended.exchange.bytes_sent, ended.facts) == (0, {})


async def test_the_command_finds_what_is_listed_and_nothing_else():
    """No variable that was added on the way, and none of the init's descriptors."""
    ended = await told("/usr/bin/env", env=(("A", "1"), ("EMPTY", ""), ("B", "+")))
    assert set(ended.said().splitlines()) == {b"A=1", b"EMPTY=", b"B=+"}
    assert (await told("/usr/bin/env", env=(("PWD", "mine"),))).said() == b"PWD=mine\n"
    opened = await told("/bin/sh", "-c", "for n in 64 65; do test -e /proc/self/fd/$n && echo $n; done; true")
    assert (opened.failure, opened.said()) == (None, b"")


async def test_arguments_arrive_as_they_were_written():
    assert (await told("/usr/bin/printf", "%s|", "", "a b", "+x", "é")).said() == "|a b|+x|é|".encode()


def runner(machine: str) -> list[str]:
    """What runs programs of that machine here."""
    if machine == os.uname().machine:
        return []
    found = [path for name in ("", "-static") if (path := shutil.which(f"qemu-{machine}{name}"))]
    if not found:
        pytest.skip(f"nothing here runs programs of {machine}: install qemu-user")
    return found[:1]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_it_is_a_program_of_that_machine(machine: str, tmp_path: Path):
    path = tmp_path / "init"
    ours, theirs = os.pipe()
    image = init.program(machine, report=theirs)
    assert len(image) < 512
    path.write_bytes(image)
    path.chmod(0o755)
    with open(ours, "rb") as report:
        for line, code, words in (
            ("exit 143", 143, [0, 143 << 8]),
            ("kill -TERM $$", -15, [0, 15]),
            (None, 127, [0, -errno.ENOENT, 127 << 8]),
        ):
            command = ("/no/such/command",) if line is None else ("/bin/sh", "-c", line)
            ended = subprocess.run([*runner(machine), path, *command], pass_fds=[theirs], env={}, check=False)
            told = struct.unpack(f"<{len(words)}i", report.read(4 * len(words)))
            assert (ended.returncode, [*told]) == (code, words)
        os.close(theirs)
        assert report.read() == b"", "there is no more"
