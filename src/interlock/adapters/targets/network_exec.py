"""The program that opens a network of its own, hands the way in to whoever waits outside, and becomes the sandbox's program.
It runs by itself, with the standard library alone.

Its arguments are a descriptor, a port, and what to become. In a new network namespace, where there is nothing but a
loopback, it listens at that port, and sends the listener over the descriptor: what connects inside is then taken outside,
and nobody inside holds an end of it.
"""

import ctypes
import fcntl
import os
import socket
import struct
import sys
from typing import Final

_NEW_NET: Final = 0x40000000
_NEW_USER: Final = 0x10000000
_SET_FLAGS: Final = 0x8914
_UP_AND_RUNNING: Final = 0x41

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Open it, hand it over, become that."""
    with socket.socket(fileno=int(sys.argv[1])) as way:
        try:
            _open()
            with socket.create_server(("127.0.0.1", int(sys.argv[2])), backlog=64) as listener:
                socket.send_fds(way, [b"l"], [listener.fileno()])
        except OSError as error:
            sys.exit(f"interlock: no network of its own for the sandbox: {error}")
    os.execve(sys.argv[3], sys.argv[3:], os.environ)  # noqa: S606 - a shell is what it must not be


def _open() -> None:
    """Whoever may not open one as they are, may in a user namespace of their own."""
    user, group = os.geteuid(), os.getegid()
    try:
        _unshare(_NEW_NET)
    except PermissionError:
        _unshare(_NEW_USER | _NEW_NET)
        for name, text in ("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1"):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_:
        fcntl.ioctl(any_, _SET_FLAGS, struct.pack("16sh22x", b"lo", _UP_AND_RUNNING))


def _unshare(flags: int) -> None:
    if _libc.unshare(flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main()
