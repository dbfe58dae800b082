"""The filter of system calls, run as the kernel would run it, on every machine that it knows."""

import errno
import platform
import struct
from typing import Final

import pytest

from interlock import plane
from interlock.adapters.targets import seccomp
from interlock.adapters.targets.calls import ARCHITECTURES, NEWEST, NUMBERS

ALLOWED: Final = 0
KILLED: Final = -1


@pytest.fixture(params=sorted(NUMBERS), autouse=True)
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(platform, "machine", lambda: request.param)
    return request.param


def answer(program: bytes, call: str | int, *arguments: int, arch: int | None = None) -> int:
    """What the call comes to: ALLOWED, KILLED, or the number of the error."""
    number = NUMBERS[seccomp.machine()][call] if isinstance(call, str) else call
    six = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("=IIQ6Q", number, ARCHITECTURES[seccomp.machine()] if arch is None else arch, 0, *six)
    steps, at, value = list(struct.iter_unpack("HBBI", program)), 0, 0
    while True:
        code, if_true, if_false, k = steps[at]
        at += 1
        match code:
            case 0x20:
                value = struct.unpack_from("=I", data, k)[0]
            case 0x54:
                value &= k
            case 0x15:
                at += if_true if value == k else if_false
            case 0x35:
                at += if_true if value >= k else if_false
            case 0x45:
                at += if_true if value & k else if_false
            case 0x06:
                return {0x7FFF0000: ALLOWED, 0x80000000: KILLED}.get(k, k & 0xFFFF)
            case _:
                raise AssertionError(f"no such code: {code:#x}")


@pytest.mark.parametrize("alone", [False, True])
def test_what_is_refused_everywhere(alone: bool):
    program = seccomp.program(plane.Network.NONE, alone=alone)
    for call in ("ptrace", "mount", "open_tree", "bpf", "setns", "io_uring_setup", "syslog", "socket", "pidfd_getfd"):
        assert answer(program, call) == errno.EPERM, call
    assert answer(program, "clone", 0x10000000 | 17) == errno.EPERM
    assert answer(program, "clone", 17) == ALLOWED
    assert answer(program, "clone3") == errno.ENOSYS
    for flags in (0, 0x800, 0x80000):
        assert answer(program, "socketpair", 1, 1 | flags) == ALLOWED
        assert [answer(program, "socketpair", 1, kind | flags) for kind in (2, 3)] == [errno.EPERM] * 2


def test_calls_that_nobody_decided_on_are_unknown():
    program = seccomp.program(plane.Network.NONE, alone=True)
    assert answer(program, NEWEST + 1) == answer(program, 0x40000000) == errno.ENOSYS
    assert answer(program, 0, arch=1) == KILLED


def test_with_a_network_only_the_internets_sockets():
    program = seccomp.program(plane.Network.HOSTS, alone=True)
    found = {family for family in range(50) if answer(program, "socket", family) == ALLOWED}
    assert found == {2, 10}


def test_what_reaches_the_hosts_files_is_refused_among_others(machine: str):
    program, alone = seccomp.program(plane.Network.NONE), seccomp.program(plane.Network.NONE, alone=True)
    calls = [
        "fchmod",
        "fchmodat",
        "fchmodat2",
        "fchown",
        "utimensat",
        "setxattr",
        "setxattrat",
        "file_setattr",
        "shmat",
    ]
    for call in [*calls, *(["chmod", "utime"] if machine == "x86_64" else [])]:
        assert answer(program, call) == errno.EPERM, call
        assert answer(alone, call) == ALLOWED, call
    for command in (0x40086602, 0x401C5820, 0x40087602, 0x5000940E):
        assert answer(program, "ioctl", 3, command) == errno.EPERM
        assert answer(program, "ioctl", 3, command | 1 << 32) == errno.EPERM  # the kernel does not look there
        assert answer(alone, "ioctl", 3, command) == ALLOWED
    for command in (0x5401, 0x5451, 0x8910):
        assert answer(program, "ioctl", 3, command) == ALLOWED


@pytest.mark.parametrize(
    "call", ["prlimit64", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler", "move_pages"]
)
def test_of_processes_only_the_caller_itself(call: str):
    program = seccomp.program(plane.Network.NONE)
    assert [answer(program, call, pid) for pid in (0, 7, 1 << 32)] == [ALLOWED, errno.EPERM, ALLOWED]


def test_of_priorities_only_the_callers_own():
    program = seccomp.program(plane.Network.NONE)
    for call, own, everybody in (("setpriority", 0, 2), ("ioprio_set", 1, 3)):
        assert answer(program, call, own, 0) == ALLOWED
        assert answer(program, call, own, 7) == errno.EPERM
        assert answer(program, call, everybody, 0) == errno.EPERM
