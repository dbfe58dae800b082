"""Attempts to get out of a sandbox, each a small program that says whether it worked. What it is to get at is made by
`Prey`, which also looks from outside."""

import ctypes
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fix_process import REAL_PYTHON, process, run
from interlock import plane
from interlock.adapters import lanes, targets

_LONG_AGO: Final = 1_000_000_000
_libc: Final = ctypes.CDLL(None)

_HEAD: Final = """
import ctypes, fcntl, os, resource, signal, socket, struct, sys
outside, inside, pid, port = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
token, segment, x86 = sys.argv[5], int(sys.argv[6]), os.uname().machine == "x86_64"
libc = ctypes.CDLL(None, use_errno=True)
def call(result):
    if result < 0: raise OSError(ctypes.get_errno(), "call")
    return result
def any_of(*attempts):
    for each in attempts:
        try: return each()
        except OSError as error: last = error
    raise last
def forked(pid):
    if pid == 0: os._exit(0)
    os.waitpid(call(pid), 0)
def writable(*folders):
    # one file below these that can be opened for writing; opening alone changes nothing
    for folder in folders:
        for place, _, names in os.walk(folder):
            for name in names:
                try: os.close(os.open(place + "/" + name, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY))
                except OSError: continue
                return place + "/" + name
    raise OSError(1, "none")
def attempt():
"""
_TAIL: Final = """
try:
    attempt()
except OSError as error:
    print("stopped", error.errno)
else:
    print("escaped")
"""

ESCAPES: Final[dict[str, str]] = {
    "write": "open(outside + '/file', 'w').write('changed')",
    "create": "open(outside + '/new', 'w')",
    "truncate": "os.truncate(outside + '/file', 0)",
    "remove": "os.unlink(outside + '/file')",
    "rename": "os.rename(outside + '/file', inside + '/file')",
    "link": "os.link(outside + '/file', inside + '/file')",
    "write-by-symlink": "os.symlink(outside, inside + '/way'); open(inside + '/way/file', 'w').write('changed')",
    "read": "open(outside + '/file').read()",
    "list": "os.listdir(outside)",
    "read-environment": "open(f'/proc/{pid}/environ', 'rb').read()",
    "read-memory": "open(f'/proc/{pid}/mem', 'rb').read(0)",
    "root-of-another": "os.listdir(f'/proc/{pid}/root' + outside)",
    "tcp": "socket.create_connection(('127.0.0.1', port), 5)",
    "udp-outwards": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
    "raw-packets": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "kernel-socket": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "virtual-machine-socket": "socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).connect((2, port))",
    "name": "socket.getaddrinfo('localhost.acme.dev', 80)",
    "udp": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
    "abstract-socket": "socket.socket(socket.AF_UNIX).connect('\\0' + token)",
    "socket-file": "socket.socket(socket.AF_UNIX).connect(inside + '/socket')",
    "signal": "os.kill(pid, 0)",
    "trace": "call(libc.ptrace(0x4206, pid, 0, 0))",
    "user-namespace": "call(libc.unshare(0x10000000))",
    "mount": "call(libc.mount(b'none', inside.encode(), b'tmpfs', 0, None))",
    "bpf": "call(libc.syscall(321, 0, 0, 0))" if os.uname().machine == "x86_64" else "call(libc.syscall(280, 0, 0, 0))",
    "io-uring": "call(libc.syscall(425, 1, ctypes.create_string_buffer(120)))",
    "capabilities": "call(libc.prctl(24, 0, 0, 0, 0))",
    "namespace-by-clone": "forked(libc.syscall(56 if x86 else 220, 0x10000011, 0, 0, 0, 0))",
    "namespace-by-clone3": "forked(libc.syscall(435, struct.pack('QQQQQQQQ', 0x10000000, 0, 0, 0, 17, 0, 0, 0), 64))",
    "mode": "os.chmod(outside + '/file', 0o4777)",
    "mode-by-descriptor": "os.fchmod(os.open(outside + '/file', 3), 0o4777)",  # neither for reading nor for writing
    "mode-by-path-alone": (
        "call(libc.syscall(452, os.open(outside + '/file', os.O_PATH), b'', 0o4777, 0x1000))"  # fchmodat2
    ),
    "owner": "os.chown(outside + '/file', os.getuid(), os.getgid())",
    "times": "os.utime(outside + '/file', (1, 1))",
    "attributes": (
        "any_of(lambda: os.setxattr(outside + '/file', 'user.a', b'1'), lambda: os.removexattr(outside + '/file', 'user.kept'))"
    ),
    "attributes-by-ioctl": "fcntl.ioctl(os.open(outside + '/file', 3), 0x40086602, struct.pack('l', 0x80))",  # noatime
    "watch": "call(libc.inotify_add_watch(call(libc.inotify_init()), outside.encode(), 0x100))",
    "shared-memory": (
        "libc.shmat.restype = ctypes.c_void_p; call(-1) if libc.shmat(segment, None, 0) == 2**64 - 1 else None"
    ),
    "limits-of-another": "resource.prlimit(pid, resource.RLIMIT_NOFILE)",
    "priority-of-another": "os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid))",
    "processors-of-another": "os.sched_setaffinity(pid, os.sched_getaffinity(pid))",
    "datagram-to-a-file": (
        "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b'x', inside + '/datagrams')"
    ),
    "kernel-log": "call(libc.klogctl(3, ctypes.create_string_buffer(64), 64))",
    "kernel-setting": "os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY)",
    "kernel-settings": "writable(*('/proc/' + name for name in ('sys', 'irq', 'bus', 'fs', 'acpi', 'scsi', 'driver')))",
    "kernel-keys": "os.open('/proc/sysrq-trigger', os.O_WRONLY)",
    "new-privileges": "assert libc.prctl(39, 0, 0, 0, 0) == 0 or call(-1) is None",
}


@dataclass(frozen=True)
class Prey:
    """What is there to be got at."""

    outside: Path
    inside: Path
    port: int
    token: str
    segment: int

    @property
    def untouched(self) -> bool:
        """Whether the outside is as it was."""
        file = self.outside / "file"
        facts = file.stat()
        return (
            [path.name for path in self.outside.iterdir()] == ["file"]
            and file.read_text() == "kept"
            and (facts.st_mode & 0o7777, facts.st_mtime) == (0o640, _LONG_AGO)
        )

    async def tempt(self, lane: lanes.ProcessLane, name: str, *, confined: bool, hosts: tuple[str, ...] = ()) -> bool:
        """Try it there, where these hosts are listed. Whether it worked."""
        source = f"{_HEAD}    {ESCAPES[name]}\n{_TAIL}"
        profile = plane.SandboxProfile(
            read=(*targets.SYSTEM, str(Path(REAL_PYTHON).parents[1])),
            write=(str(self.inside),),
            network=plane.Network.HOSTS if hosts else plane.Network.NONE,
            hosts=hosts,
        )
        arguments = (
            str(self.outside),
            str(self.inside),
            str(os.getpid()),
            str(self.port),
            self.token,
            str(self.segment),
        )
        intent = process(REAL_PYTHON, "-I", "-S", "-c", source, *arguments, sandbox=profile if confined else None)
        told = await run(lane, intent)
        words = told.said().split()
        assert words[:1] in ([b"stopped"], [b"escaped"]), (told, told.said("stderr"))
        return words[0] == b"escaped"


@contextmanager
def prey(folder: Path) -> Generator[Prey]:
    """Files, sockets and a process (our own) outside of the sandbox; a folder and a socket inside."""
    outside, inside = folder / "outside", folder / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "file").write_text("kept")
    (outside / "file").chmod(0o640)
    os.utime(outside / "file", (_LONG_AGO, _LONG_AGO))
    token = f"interlock-escape-{os.getpid()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_UNIX) as file,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
    ):
        abstract.bind("\0" + token)
        abstract.listen()
        file.bind(str(inside / "socket"))
        file.listen()
        datagrams.bind(str(inside / "datagrams"))
        segment = _libc.shmget(0, 4096, 0o600)
        try:
            yield Prey(outside, inside, tcp.getsockname()[1], token, segment)
        finally:
            assert _libc.shmctl(segment, 0, None) == 0
