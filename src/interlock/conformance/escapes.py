"""Attempts to get out of a target, for each property that a class may stand for."""

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock import plane
from interlock.conformance.checking import Broken
from interlock.conformance.target_subject import TargetSubject
from interlock.testing import peer as peers


@dataclass(frozen=True, slots=True)
class Escape:
    """Ways to break one promise: Python statements, each of which raises OSError where it is stopped."""

    title: str
    statements: tuple[str, ...]


ESCAPES: Final[Mapping[plane.Property, Escape]] = {
    plane.Property.ENVIRONMENT_LISTED: Escape("no variables but the listed", ("met(set(os.environ) - {'LC_CTYPE'})",)),
    plane.Property.DESCRIPTORS_CLOSED: Escape(
        "no descriptors but the standard streams", ("met([fd for fd in range(3, 256) if is_open(fd)])",)
    ),
    plane.Property.WRITES_CONFINED: Escape(
        "no file outside can be made or changed, and no setting of the kernel",
        (
            "open(outside + '/new', 'w').write('x')",
            "os.chmod(outside + '/file', 0o777)",
            "os.fchmod(os.open(outside + '/file', os.O_WRONLY | os.O_RDWR), 0o777)",
            "os.utime(outside + '/file', (1, 1))",
            "os.setxattr(outside + '/file', 'user.escape', b'1')",
            "os.mkdir('/sys/fs/cgroup/interlock-escape'); os.rmdir('/sys/fs/cgroup/interlock-escape')",
            "os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY)",
            "os.open('/proc/sysrq-trigger', os.O_WRONLY)",
        ),
    ),
    plane.Property.READS_CONFINED: Escape(
        "no file outside can be read",
        (
            "open(outside + '/file').read()",
            "met(libc.inotify_add_watch(libc.inotify_init(), outside.encode(), 0x100) >= 0)",
        ),
    ),
    plane.Property.NETWORK_NONE: Escape(
        "the host's loopback and its sockets cannot be reached",
        (
            "socket.create_connection(('127.0.0.1', port), 5).send(b'x')",
            "os.chdir(inside); socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b'x', 'post')",
        ),
    ),
    plane.Property.PROCESSES_HIDDEN: Escape("the host's processes cannot be seen", ("os.stat(f'/proc/{pid}/stat')",)),
    plane.Property.PROCESSES_UNTOUCHABLE: Escape(
        "the host's processes cannot be signalled or changed",
        (
            "os.kill(pid, 0)",
            "resource.prlimit(pid, resource.RLIMIT_NOFILE)",
            "os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid))",
            "os.sched_setaffinity(pid, os.sched_getaffinity(pid))",
            "met(libc.shmat(segment, None, 0) not in (None, ctypes.c_void_p(-1).value))",
        ),
    ),
    plane.Property.PRIVILEGES_FIXED: Escape("no privileges can be gained", ("met(libc.prctl(39, 0, 0, 0, 0) != 1)",)),
}
"""Bounds on memory and processes, and a kernel apart, are left to the target's own probe."""

_PROGRAM: Final = """
import ctypes, os, resource, socket, sys
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
outside, inside, pid, port, segment = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
def met(found):
    if not found:
        raise OSError('nothing was there')
open(inside + '/allowed', 'w').write('x')
for number, statement in enumerate({statements}):
    try:
        exec(statement)
    except OSError:
        continue
    print('escaped', number)
    break
else:
    print('stopped')
"""


async def find_escape(subject: TargetSubject, property_: plane.Property) -> str | None:
    """Try to break that promise. The attempt that got through; None if all were stopped. Raises Broken if they could not
    be made."""
    statements = ESCAPES[property_].statements
    with tempfile.TemporaryDirectory(prefix="interlock-escape-") as folder:
        outside, inside = Path(folder) / "outside", Path(folder) / "inside"
        outside.mkdir()
        inside.mkdir()
        (outside / "file").write_text("kept")
        before = (outside / "file").stat().st_ctime_ns
        async with peers.loopback_peer() as peer:
            with peers.datagram_peer(str(inside / "post")), peers.shared_memory() as segment:
                port = peer.host.rpartition(":")[2]
                arguments = (str(outside), str(inside), str(os.getpid()), port, str(segment))
                source = _PROGRAM.replace("{statements}", repr(statements))
                said = await subject.run(source, arguments, folder=str(inside))
            unchanged = os.listdir(outside) == ["file"] and (outside / "file").stat().st_ctime_ns == before
            got_out = peer.connections > 0 or not unchanged
    answer = re.fullmatch(rb"stopped|escaped ([0-9]{1,2})", said.strip())
    if answer is None or int(answer[1] or 0) >= len(statements):
        raise Broken(f"the program said {said[:200]!r}")
    if answer[1] is not None:
        return statements[int(answer[1])]
    return "seen from outside" if got_out else None
