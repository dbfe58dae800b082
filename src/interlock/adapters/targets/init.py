"""The init of a sandbox: process 1 in there, which starts the command, collects whatever loses its parent, and tells how the
command itself ended. The programs that make a sandbox say the same of a death by signal n and of an exit with 128 + n.

It is a program of a few hundred bytes that needs no file in the sandbox, and nothing but the kernel. It hands on the listed
variables alone, which come to it marked: those that a sandbox's program adds by itself are not.
"""

import os
import struct
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Final

from interlock import plane
from interlock.adapters.targets import commands, descriptors, seccomp
from interlock.adapters.targets.init_code import AARCH64, X86_64

NOWHERE: Final = 0xFFFF
"""A number at which there is no descriptor."""

_BASE: Final = 0x400000
_PAGE: Final = 0x10000
_LOADED, _STACK = 1, 0x6474E551
_READ_WRITE, _READ_RUN = 6, 5
_RUNNABLE: Final = 0x10  # MFD_EXEC, which kernels before 6.3 do not know, nor need


def _x86_64(program: int, report: int) -> bytes:
    into_edi = (f"bf {number.to_bytes(4, 'little').hex()}" for number in (program, report))
    return bytes.fromhex(_words(X86_64, *into_edi))


def _aarch64(program: int, report: int) -> bytes:
    into_w0 = (f"{0x52800000 | number << 5:08x}" for number in (program, report))
    return b"".join(int(word, 16).to_bytes(4, "little") for word in _words(AARCH64, *into_w0).split())


def _words(code: str, program: str, report: str) -> str:
    lines = (line.partition(";")[0] for line in code.splitlines() if not line.endswith(":"))
    return "\n".join(lines).format(program=program, report=report)


_MACHINES: Final[Mapping[str, tuple[int, Callable[[int, int], bytes]]]] = {
    "x86_64": (62, _x86_64),
    "aarch64": (183, _aarch64),
}


@cache
def program(machine: str, *, program: int = NOWHERE, report: int = NOWHERE) -> bytes:
    """The init as an executable file (ELF) of that kind of machine. It takes the command's file and its arguments, is itself
    behind the descriptor `program`, and tells at `report`; the command has neither."""
    kind, assemble = _MACHINES[machine]
    code = assemble(program, report)
    headers = 64 + 2 * 56
    size = headers + len(code)
    return b"".join(
        (
            struct.pack("<4s5B7x", b"\x7fELF", 2, 1, 1, 0, 0),
            struct.pack("<HHIQQQI6H", 2, kind, 1, _BASE + headers, 64, 0, 0, 64, 56, 2, 0, 0, 0),
            struct.pack("<IIQQQQQQ", _LOADED, _READ_RUN, 0, _BASE, _BASE, size, size, _PAGE),
            struct.pack("<IIQQQQQQ", _STACK, _READ_WRITE, 0, 0, 0, 0, 0, 16),
            code,
        )
    )


def marked(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables as the init takes them."""
    return {f"+{name}": value for name, value in variables.items()}


class Init:
    """The init of one command. It is started as `path`, with `fds` open, and then the command's file and its arguments."""

    def __init__(self, stack: ExitStack, *, first: int) -> None:
        """Its two descriptors stand at the number `first` and the one after it."""
        self._ours, theirs = descriptors.report(stack)
        self.path = f"/proc/self/fd/{first}"
        self.fds: Mapping[int, int] = {
            first: _in_memory(stack, program(seccomp.machine(), program=first, report=first + 1)),
            first + 1: theirs,
        }

    @cached_property
    def _told(self) -> tuple[int, ...]:
        said = descriptors.read_all(self._ours)
        return struct.unpack(f"<{len(said) // 4}i", said[: len(said) // 4 * 4])

    def not_started(self, by: str) -> plane.Failure | None:
        """Once all has ended: why the command never ran; None if it did. `by` is who was to start the init."""
        if not self._told:
            return commands.not_started(by)
        errors = [-word for word in self._told if word < 0]
        return commands.unusable(os.strerror(errors[0])) if errors else None

    def wait_status(self, code: int) -> int | None:
        """Once all has ended, with that code: how the command did, as wait() tells it. An init that did not come to tell
        was itself killed, with all that it had started."""
        if len(self._told) > 1:
            return self._told[1]
        return code - 128 if code > 128 else None


@dataclass(frozen=True, slots=True)
class Confined:
    """A command below an init that tells."""

    launch: plane.Launch
    init: Init
    by: str

    def not_started(self) -> plane.Failure | None:
        return self.init.not_started(self.by)

    def wait_status(self, code: int) -> int | None:
        return self.init.wait_status(code)


def in_file(path: Path) -> None:
    """The init for whoever cannot be handed descriptors: it tells by its own end."""
    path.write_bytes(program(seccomp.machine()))
    path.chmod(0o755)


def _in_memory(stack: ExitStack, image: bytes) -> int:
    try:
        fd = os.memfd_create("init", os.MFD_CLOEXEC | _RUNNABLE)
    except OSError:
        fd = os.memfd_create("init")
    stack.callback(os.close, fd)
    os.write(fd, image)
    return fd
