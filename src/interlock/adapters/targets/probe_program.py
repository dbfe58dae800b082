"""The program that a probe runs inside of a target, with the standard library alone: it tries what must not be, and tells
what came of it. Its argument is a JSON text of what to try, its answer a JSON text of findings."""

import contextlib
import ctypes
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

_GET_NO_NEW_PRIVS = 39
_NEITHER = 3  # O_WRONLY | O_RDWR
_CHANGED = 0x4  # IN_ATTRIB
_CAPABILITY_VERSION = 0x20080522


def main() -> None:
    """Try everything."""
    tries = json.loads(sys.argv[1])
    found = _hosts(tries) if "hosts" in tries else _all(tries)
    sys.stdout.write(json.dumps(found))


def _hosts(tries: dict[str, Any]) -> dict[str, Any]:
    """With listed hosts: what is reached through the proxy, and what without."""
    return {
        "through": [host for host in tries["hosts"] if _works(lambda host=host: _ask(host))],
        "reached": [address for address in tries["connect"] if _works(lambda address=address: _connect(address))],
        "sockets": [family for family in tries["families"] if _works(lambda family=family: _open(family))],
    }


def _all(tries: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "variables": sorted(set(os.environ) - {"LC_CTYPE"}),  # Python itself sets that one
        "descriptors": [fd for fd in range(3, 1024) if _works(lambda fd=fd: os.fstat(fd))],
        "wrote": [path for path in tries["write"] if _works(lambda path=path: _write(path))],
        "made": _works(lambda: os.mkdir(tries["make"])),
        "removed": [path for path in tries["remove"] if _works(lambda path=path: os.unlink(path))],
        "changed": [name for name, attempt in _changes(tries["change"]).items() if _works(attempt)],
        "watched": _works(lambda: _watch(tries["watch"])),
        "opened": [path for path in tries["open"] if _works(lambda path=path: _open_to_write(path))],
        "read": [path for path in tries["read"] if _works(lambda path=path: _read(path))],
        "allowed": _works(lambda: _write(tries["allowed"])) if tries["allowed"] else None,
        "reached": [address for address in tries["connect"] if _works(lambda address=address: _connect(address))],
        "saw": os.path.exists(f"/proc/{tries['process']}/stat"),
        "touched": [name for name, attempt in _touches(tries["process"], tries["segment"]).items() if _works(attempt)],
        "fixed": ctypes.CDLL(None).prctl(_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1,
        "capabilities": _capabilities(),
        "kernel": os.uname().release,
    }
    found["started"] = _start(tries["processes"])
    found["took"] = _take(tries["memory"])
    return found


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True


def _write(path: str) -> None:
    with open(path, "w") as file:
        file.write("written from inside")


def _open_to_write(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _changes(path: str) -> dict[str, Callable[[], object]]:
    """A file's mode, owner, times and attributes; a descriptor opened so neither reads nor writes."""
    return {
        "mode": lambda: os.chmod(path, 0o600),
        "mode-by-descriptor": lambda: os.fchmod(os.open(path, _NEITHER), 0o600),
        "owner": lambda: os.chown(path, os.geteuid(), os.getegid()),
        "times": lambda: os.utime(path, (1, 1)),
        "attributes": lambda: os.setxattr(path, "user.probe", b"1"),
    }


def _touches(process: int, segment: int) -> dict[str, Callable[[], object]]:
    """A process of the host, and a segment of memory that it shares."""
    return {
        "signal": lambda: os.kill(process, 0),
        "limits": lambda: resource.prlimit(process, resource.RLIMIT_NOFILE),
        "priority": lambda: os.setpriority(os.PRIO_PROCESS, process, os.getpriority(os.PRIO_PROCESS, process)),
        "processors": lambda: os.sched_setaffinity(process, os.sched_getaffinity(process)),
        "memory": lambda: _attach(segment),
    }


def _attach(segment: int) -> None:
    libc = ctypes.CDLL(None)
    libc.shmat.restype = ctypes.c_void_p
    if libc.shmat(segment, None, 0) in (None, ctypes.c_void_p(-1).value):
        raise OSError("refused")


def _watch(path: str) -> None:
    libc = ctypes.CDLL(None)
    if libc.inotify_add_watch(libc.inotify_init(), os.fsencode(path), _CHANGED) < 0:
        raise OSError("refused")


def _connect(address: list[Any]) -> None:
    if address[0] == "datagram":
        for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM):
            with end:
                os.chdir(os.path.dirname(address[1]))  # the path may be longer than a socket's address
                end.sendto(b"x", os.path.basename(address[1]))
        return
    name: Any = tuple(address[1:]) if address[0] == "tcp" else "\0" + address[1]
    family = socket.AF_UNIX if address[0] == "abstract" else socket.AF_INET6 if ":" in name[0] else socket.AF_INET
    with socket.socket(family) as attempt:
        attempt.settimeout(2)
        attempt.connect(name)


def _ask(host: str) -> None:
    """Go there through the proxy."""
    address, _, port = os.environ["HTTPS_PROXY"].rpartition("/")[2].rpartition(":")
    with socket.create_connection((address, int(port)), 15) as proxy:
        proxy.sendall(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        if not proxy.recv(1024).startswith(b"HTTP/1.1 200 "):
            raise OSError("refused")


def _open(family: int) -> None:
    socket.socket(family, socket.SOCK_RAW if family == socket.AF_PACKET else socket.SOCK_DGRAM).close()


def _capabilities() -> int:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None).capget(ctypes.byref(header), ctypes.byref(sets)):
        return -1
    return sets[0] | sets[1] | sets[3] << 32 | sets[4] << 32  # effective and permitted


def _start(most: int) -> int | None:
    """How many children of that many can live at once; None if it was not asked."""
    children: list[int] = []
    with contextlib.suppress(OSError):
        for _ in range(most):
            child = os.fork()
            if child == 0:
                signal.pause()
            children.append(child)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return len(children) if most else None


def _take(size: int) -> bool | None:
    """Whether that much memory can be used; None if it was not asked."""
    if not size:
        return None
    child = os.fork()
    if child == 0:
        try:
            block = bytearray(size)
            block[::4096] = b"x" * len(block[::4096])
        except MemoryError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


if __name__ == "__main__":
    main()
