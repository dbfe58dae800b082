"""A seccomp filter as the kernel reads it, and as container runtimes do: which system calls a confined command is not let."""

import platform
import struct
from collections.abc import Mapping
from typing import Any, Final

from interlock import plane

_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_ERRNO: Final = 0x00050000
_EPERM: Final = 1
_ENOSYS: Final = 38

_LOAD: Final = 0x20
_EQUAL: Final = 0x15
_GREATER_EQUAL: Final = 0x35
_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06

_NR, _ARCH, _FIRST_ARGUMENT = 0, 4, 16
_X32: Final = 0x40000000
_NEW_NAMESPACES: Final = 0x7E020080
"""CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET,TIME}; the last is the bit that clone() takes for a signal."""

_NUMBERS: Final[Mapping[str, tuple[int, Mapping[str, int]]]] = {
    "x86_64": (
        0xC000003E,
        {
            "socket": 41, "clone": 56, "ptrace": 101, "mount": 165, "umount2": 166, "init_module": 175,
            "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272,
            "perf_event_open": 298, "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310,
            "process_vm_writev": 311, "finit_module": 313, "bpf": 321, "userfaultfd": 323, "io_uring_setup": 425,
            "clone3": 435,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "umount2": 39, "mount": 40, "unshare": 97, "kexec_load": 104, "init_module": 105, "ptrace": 117,
            "socket": 198, "add_key": 217, "request_key": 218, "keyctl": 219, "clone": 220, "perf_event_open": 241,
            "open_by_handle_at": 265, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271,
            "finit_module": 273, "bpf": 280, "userfaultfd": 282, "io_uring_setup": 425, "clone3": 435,
        },
    ),
}  # fmt: skip

_SOCKET: Final = "socket"
_INET: Final = (2, 10)
"""IPv4 and IPv6. Other sockets know no network namespace, or reach whoever listens at a file."""

_DENIED: Final = frozenset(_NUMBERS["x86_64"][1]) - {_SOCKET, "clone", "clone3"}
"""What reaches into other processes, changes what a process sees, or asks the kernel for more than programs need: also
rings, by which a socket could be opened unseen. A pair of sockets that are connected with each other is not among them."""


def machine() -> str:
    """The kind of this machine."""
    return platform.machine()


def supported() -> bool:
    """Whether the numbers of this machine's system calls are known."""
    return machine() in _NUMBERS


def program(network: plane.Network) -> bytes:
    """A filter that answers these calls with EPERM, and with them any call that makes a namespace, and any socket but,
    with a network, one of the internet's; calls of another architecture end the process."""
    arch, numbers = _NUMBERS[machine()]
    denied = [numbers[name] for name in sorted(_DENIED)]
    families = () if network is plane.Network.NONE else _INET
    steps = [
        _statement(_LOAD, _ARCH),
        _jump(_EQUAL, arch, 1, 0),
        _statement(_RETURN, _KILL),
        _statement(_LOAD, _NR),
        _jump(_GREATER_EQUAL, _X32, 0, 1),
        _statement(_RETURN, _ERRNO | _ENOSYS),
        # Its flags lie in memory, where a filter cannot look; without it the C library falls back on clone.
        _jump(_EQUAL, numbers["clone3"], 0, 1),
        _statement(_RETURN, _ERRNO | _ENOSYS),
        _jump(_EQUAL, numbers["clone"], 0, 4),
        _statement(_LOAD, _FIRST_ARGUMENT),
        _jump(_ANY_BIT, _NEW_NAMESPACES & ~0xFF, 0, 1),
        _statement(_RETURN, _ERRNO | _EPERM),
        _statement(_RETURN, _ALLOW),
        _jump(_EQUAL, numbers[_SOCKET], 0, 3 + len(families)),
        _statement(_LOAD, _FIRST_ARGUMENT),
        *(_jump(_EQUAL, family, len(families) - index, 0) for index, family in enumerate(families)),
        _statement(_RETURN, _ERRNO | _EPERM),
        _statement(_RETURN, _ALLOW),
    ]
    for index, number in enumerate(denied):
        steps.append(_jump(_EQUAL, number, len(denied) - index, 0))
    steps += [_statement(_RETURN, _ALLOW), _statement(_RETURN, _ERRNO | _EPERM)]
    return b"".join(steps)


def rules(network: plane.Network) -> dict[str, Any]:
    """The same for a container's runtime, which adds its own for namespaces."""
    refused: list[dict[str, Any]] = [{"names": sorted(_DENIED), "action": "SCMP_ACT_ERRNO"}]
    if network is plane.Network.NONE:
        refused[0]["names"].append(_SOCKET)
    else:
        # One rule each: runtimes differ in what several conditions on one argument mean.
        others = [*((number, "SCMP_CMP_EQ") for number in range(max(_INET)) if number not in _INET)]
        for number, comparison in (*others, (max(_INET), "SCMP_CMP_GT")):
            condition = {"index": 0, "value": number, "op": comparison}
            refused.append({"names": [_SOCKET], "action": "SCMP_ACT_ERRNO", "args": [condition]})
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64" if machine() == "x86_64" else "SCMP_ARCH_AARCH64"],
        "syscalls": refused,
    }


def _statement(code: int, value: int) -> bytes:
    return struct.pack("HBBI", code, 0, 0, value)


def _jump(code: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)
