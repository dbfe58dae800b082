"""The wall that the system makes around an interpreter, in case its own has a hole: what it is started through, what it is
held to from then on, and what of it was seen to stand."""

import os
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock import plane

_ARGUMENTS: Final = ("subprocess",)
"""Those that the library starts its interpreter with; what it starts instead passes them on."""

_LIBRARIES: Final = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
"""What a binary is put together from when it starts. No other file can be read."""

_AROUND_BYTES: Final = 2**29
"""Address space that the interpreter takes beside the program's values."""

_LONGEST: Final = 250
"""Characters of a first line that every kernel reads."""

_BRIDGE: Final = """#!{python} -IS
import os
for number, path, flags in {fds}:
    held = os.open(path, flags)
    os.dup2(held, number)
    os.close(held)
os.execve({argv}[0], {argv}, {env})
"""


@dataclass(frozen=True, slots=True)
class Entrance:
    """What is started in the interpreter's place, and through whose confinement; None if through nobody's."""

    path: Path
    target_class: str | None = None
    confinement: plane.Confinement | None = None

    def why_not(self) -> str:
        """What kept the interpreter from being started, if the confinement knows."""
        failure = None if self.confinement is None else self.confinement.not_started()
        return "" if failure is None else f": {failure.message}"


@asynccontextmanager
async def entrance(binary: Path, confiner: plane.Confiner | None) -> AsyncGenerator[Entrance]:
    """The way into the interpreter for as long as the block lasts, through the confiner where this host has it."""
    if confiner is None or confiner.unavailable is not None or not _can_bridge():
        yield Entrance(binary)
        return
    command = plane.Command(argv=(str(binary), *_ARGUMENTS), env={}, cwd="/")
    profile = plane.SandboxProfile(read=(*_LIBRARIES, str(binary)))
    async with confiner.confine(command, profile, plane.ResourceLimits()) as confinement:
        bridge = os.memfd_create("interpreter")  # a program, and no file that somebody would have to take away
        try:
            os.write(bridge, _bridge(confinement.launch))
            yield Entrance(Path(_path(bridge)), confiner.target_class, confinement)
        finally:
            os.close(bridge)


def _can_bridge() -> bool:
    """Whether a program in memory can begin with the name of this Python, and may be run."""
    if sys.platform != "linux" or len(sys.executable) > _LONGEST or len(sys.executable.split()) != 1:
        return False
    fd = os.memfd_create("interpreter")
    try:
        return os.access(_path(fd), os.X_OK)
    finally:
        os.close(fd)


def _path(fd: int) -> str:
    """A descriptor of this process, as its children can open it. So they inherit none."""
    return f"/proc/{os.getpid()}/fd/{fd}"


def _bridge(launch: plane.Launch) -> bytes:
    import fcntl

    fds = [
        (number, _path(fd), fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE) for number, fd in sorted(launch.fds.items())
    ]
    env = dict(launch.env)
    return _BRIDGE.format(python=sys.executable, fds=fds, argv=list(launch.argv), env=env).encode()


def hold(pid: int | None, through: Entrance, limits: plane.ScriptLimits, groups: Sequence[str]) -> list[str]:
    """Let nothing more to the interpreter, now that it is there: no new descriptor (so no file and no socket), no file to
    grow, no new process, and an end to its memory and its time even if this process should be frozen. `groups`: the files by
    which it joins groups in which nothing is started. Returns the parts of the wall that stand: the confiner's class,
    `rlimits`, and `processes`. Raises LaneFailure if it is not confined as it should be."""
    if sys.platform != "linux" or pid is None:
        return []
    import resource

    walls = {
        resource.RLIMIT_NOFILE: 0,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_AS: _AROUND_BYTES + 2 * limits.memory_bytes,
        resource.RLIMIT_CPU: -(-limits.run_ms // 1000) + 1,
    }
    try:
        standing = [] if through.target_class is None else [_seen(pid, through.target_class)]
        for wall, height in walls.items():
            resource.prlimit(pid, wall, (height, height))
        for file in groups:
            Path(file).write_text(str(pid))
    except ProcessLookupError:
        return []  # it is dead already, as the first exchange with it will show
    standing.append("rlimits")
    if groups or os.geteuid():  # the limit on processes does not bind root
        standing.append("processes")
    return standing


def _seen(pid: int, target_class: str) -> str:
    """That class, if the process has what is given up for it. Raises LaneFailure, and ProcessLookupError if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError as error:
        raise ProcessLookupError from error
    told = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    if told["NoNewPrivs"] != "1" or told["Seccomp"] != "2" or int(told["CapEff"], 16) or int(told["CapBnd"], 16):
        message = "the interpreter was started without the confinement that it was to have"
        raise plane.LaneFailure(plane.FailureClass.LANE_UNAVAILABLE, message, code="interpreter_unconfined")
    return target_class
