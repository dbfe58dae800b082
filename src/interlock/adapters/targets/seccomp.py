"""A seccomp filter as the kernel reads it, and as container runtimes do: which system calls a confined command is not let."""

import platform
import struct
from typing import Any, Final

from interlock import plane
from interlock.adapters.targets.calls import ARCHITECTURES, NEWEST, NUMBERS

_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_REFUSE: Final = 0x00050001  # EPERM
_UNKNOWN: Final = 0x00050026  # ENOSYS

_LOAD: Final = 0x20
_AND: Final = 0x54
_EQUAL: Final = 0x15
_GREATER_EQUAL: Final = 0x35
_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06

_NR, _ARCH = 0, 4
_ARGUMENTS: Final = (16, 24)
"""Where the lower halves of the first two are: numbers that the kernel takes for 32 bits wide."""

_NAMESPACES: Final = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
"""CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}; CLONE_NEWTIME is the bit that clone() takes for a signal."""

_INET: Final = (2, 10)
"""IPv4 and IPv6. Other sockets know no network namespace, or reach whoever listens at a file."""

_ADDRESSED: Final = (2, 3)
"""SOCK_DGRAM and SOCK_RAW: such a pair is connected, and sends to whatever address it is told nevertheless."""
_FLAGS: Final = (0, 0x800, 0x80000, 0x80800)
"""Those of a socket's type: SOCK_NONBLOCK, SOCK_CLOEXEC."""

_DENIED: Final = frozenset(
    {
        "add_key", "bpf", "delete_module", "finit_module", "fsconfig", "fsmount", "fsopen", "fspick", "init_module",
        "io_uring_setup", "kcmp", "kexec_file_load", "kexec_load", "keyctl", "mount", "mount_setattr", "move_mount",
        "open_by_handle_at", "open_tree", "open_tree_attr", "perf_event_open", "pidfd_getfd", "pivot_root",
        "process_madvise", "process_mrelease", "process_vm_readv", "process_vm_writev", "ptrace", "request_key", "setns",
        "syslog", "umount2", "unshare", "userfaultfd",
    }
)  # fmt: skip
"""What reaches into other processes, changes what a process sees, or asks the kernel for more than programs need: also
rings, by which a socket could be opened unseen. A pair of streams that are connected with each other is not among them."""

_DENIED_AMONG_OTHERS: Final = frozenset(
    {
        # Modes, owners, times and attributes: Landlock has no right for them, and paths cannot be told apart here.
        "chmod", "chown", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchownat", "file_setattr", "fremovexattr",
        "fsetxattr", "futimesat", "lchown", "lremovexattr", "lsetxattr", "removexattr", "removexattrat", "setxattr",
        "setxattrat", "utime", "utimensat", "utimes",
        # What happens at files that may not be read.
        "fanotify_init", "inotify_add_watch",
        # Memory, semaphores and queues by System V and by name.
        "mq_open", "mq_unlink", "msgctl", "msgget", "msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop",
        "shmat", "shmctl", "shmget",
    }
)  # fmt: skip
"""What reaches files and processes of the host where a command stands among them, without namespaces of its own."""

_OF_A_PROCESS: Final = (
    "migrate_pages", "move_pages", "prlimit64", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler",
)  # fmt: skip
"""Their first argument is a process, and 0 the caller itself."""

_OF_SOMEBODY: Final = (("setpriority", 2), ("ioprio_set", 3))
"""Their second argument is 0 for the caller's own, unless the first says that all processes of the user are meant."""

_ATTRIBUTES: Final = (0x5800, 0x6600, 0x7200, 0x7600, 0x9400)
"""The kinds of ioctl by which file systems change a file's attributes, and more, through a descriptor that only reads."""


def machine() -> str:
    """The kind of this machine."""
    return platform.machine()


def supported() -> bool:
    """Whether the numbers of this machine's system calls are known."""
    return machine() in NUMBERS


def program(network: plane.Network, *, alone: bool = False) -> bytes:
    """A filter that answers these calls with EPERM, and with them any call that makes a namespace, and any socket but,
    with a network, one of the internet's; calls of another architecture end the process, and those that are younger than
    the table are unknown. `alone`: the command has namespaces of its own for files, processes and IPC."""
    numbers = NUMBERS[machine()]
    families = () if network is plane.Network.NONE else _INET
    denied = _DENIED if alone else _DENIED | _DENIED_AMONG_OTHERS
    steps = [
        _step(_LOAD, _ARCH),
        _jump(_EQUAL, ARCHITECTURES[machine()], 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NR),
        _jump(_GREATER_EQUAL, NEWEST + 1, 0, 1),  # also those of x32
        _step(_RETURN, _UNKNOWN),
        # Its flags lie in memory, where a filter cannot look; without it the C library falls back on clone.
        *_on(numbers["clone3"], [_step(_RETURN, _UNKNOWN)]),
        *_on(numbers["clone"], [_step(_LOAD, _ARGUMENTS[0]), *_refuse_if(_ANY_BIT, sum(_NAMESPACES))]),
        *_on(numbers["socket"], [_step(_LOAD, _ARGUMENTS[0]), *_refuse_unless(families)]),
        *_on(numbers["socketpair"], [_step(_LOAD, _ARGUMENTS[1]), _step(_AND, 0xF), *_refuse_if(_EQUAL, *_ADDRESSED)]),
        *([] if alone else _among_others()),
    ]
    for number in sorted(numbers[name] for name in denied if name in numbers):
        steps += _on(number, [_step(_RETURN, _REFUSE)])
    return b"".join([*steps, _step(_RETURN, _ALLOW)])


def _among_others() -> list[bytes]:
    numbers, (first, second) = NUMBERS[machine()], _ARGUMENTS
    steps = _on(numbers["ioctl"], [_step(_LOAD, second), _step(_AND, 0xFF00), *_refuse_if(_EQUAL, *_ATTRIBUTES)])
    for name in _OF_A_PROCESS:
        steps += _on(numbers[name], [_step(_LOAD, first), *_refuse_unless((0,))])
    for name, everybody in _OF_SOMEBODY:
        others = [_step(_LOAD, second), _jump(_EQUAL, 0, 1, 0), _step(_RETURN, _REFUSE)]
        steps += _on(numbers[name], [*others, _step(_LOAD, first), *_refuse_if(_EQUAL, everybody)])
    return steps


def rules(network: plane.Network, *, namespaces: bool) -> dict[str, Any]:
    """The same for a container's runtime, whose command has namespaces of its own. `namespaces`: keep it from making more,
    which a kernel of its own need not."""
    refused = [_rule(name) for name in sorted(_DENIED)]
    if network is plane.Network.NONE:
        refused.append(_rule("socket"))
    else:
        # One rule each: runtimes differ in what several conditions on one argument mean.
        others = [*((number, "SCMP_CMP_EQ") for number in range(max(_INET)) if number not in _INET)]
        for number, comparison in (*others, (max(_INET), "SCMP_CMP_GT")):
            refused.append(_rule("socket", index=0, value=number, op=comparison))
    for kind in _ADDRESSED:
        refused += [_rule("socketpair", index=1, value=kind | flags, op="SCMP_CMP_EQ") for flags in _FLAGS]
    if namespaces:
        refused.append({**_rule("clone3"), "errnoRet": _UNKNOWN & 0xFFFF})
        for bit in _NAMESPACES:
            refused.append(_rule("clone", index=0, value=bit, valueTwo=bit, op="SCMP_CMP_MASKED_EQ"))
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64" if machine() == "x86_64" else "SCMP_ARCH_AARCH64"],
        "syscalls": refused,
    }


def _rule(name: str, **condition: str | int) -> dict[str, Any]:
    return {"names": [name], "action": "SCMP_ACT_ERRNO", **({"args": [condition]} if condition else {})}


def _on(number: int, steps: list[bytes]) -> list[bytes]:
    """These steps, which end with an answer, for that call."""
    return [_jump(_EQUAL, number, 0, len(steps)), *steps]


def _refuse_if(test: int, *values: int) -> list[bytes]:
    """Refuse if the test holds for one of the values, else allow."""
    tests = [_jump(test, value, len(values) - index, 0) for index, value in enumerate(values)]
    return [*tests, _step(_RETURN, _ALLOW), _step(_RETURN, _REFUSE)]


def _refuse_unless(values: tuple[int, ...]) -> list[bytes]:
    """Allow one of the values, and refuse all else."""
    tests = [_jump(_EQUAL, value, len(values) - index, 0) for index, value in enumerate(values)]
    return [*tests, _step(_RETURN, _REFUSE), _step(_RETURN, _ALLOW)]


def _step(code: int, value: int) -> bytes:
    return struct.pack("HBBI", code, 0, 0, value)


def _jump(code: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)
