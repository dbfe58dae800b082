"""The program that opens a process namespace with an init of its own, and becomes the container's runtime. It runs by itself,
with the standard library alone.

Its arguments are a path, at which it leaves a link to the namespace, and what to become. The init collects whatever loses its
parent, and ends with the runtime, and with it all that is in the namespace. Without one the command itself would be process 1
there, which the kernel spares the signals that it does not wait for, its own among them.
"""

import ctypes
import os
import signal
import sys
from typing import Final

_NEW_PID: Final = 0x20000000
_CLONE: Final = {"x86_64": 56, "aarch64": 220}
_PARENT_DEATH, _DUMPABLE = 1, 4

_libc = ctypes.PyDLL(None, use_errno=True)


def main() -> None:
    """Open it, and become that."""
    child = _libc.syscall(_CLONE[os.uname().machine], _NEW_PID | signal.SIGCHLD, 0, 0, 0, 0)
    if child == 0:
        _init()
    if child < 0:
        sys.exit(f"interlock: no process namespace for the container: {os.strerror(ctypes.get_errno())}")
    os.symlink(f"/proc/{child}/ns/pid", sys.argv[1])
    os.execve(sys.argv[2], sys.argv[2:], os.environ)  # noqa: S606 - a shell is what it must not be


def _init() -> None:
    """Until the runtime ends. Nothing is open here, and nobody inside may look into it."""
    _libc.prctl(_PARENT_DEATH, signal.SIGKILL, 0, 0, 0)
    _libc.prctl(_DUMPABLE, 0, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # then the kernel itself collects them
    os.chdir("/")
    os.closerange(0, os.sysconf("SC_OPEN_MAX"))
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
