"""The probe: a program that is run in a target by the target's own lane, and what its findings show."""

import ctypes
import json
import os
import socket
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Protocol

from interlock import plane
from interlock.kernel import JSON, Clock, InvalidJson, JsonLimits, parse_json

SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache")
"""Where a Linux host keeps its programs and their libraries."""

_PROGRAM: Final = Path(__file__).with_name("probe_program.py")
_LISTED: Final = "INTERLOCK_PROBE"
_LOOPBACK: Final = "127.0.0.1"
_FAMILIES: Final = (1, 16, 17, 40)
"""Sockets that know no network, or another one: of files, of the kernel, of raw packets, of virtual machines' hosts."""
_SETTINGS: Final = ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger")
"""Files of the kernel's that are root's to write. To open one changes nothing."""
_PRIVATE, _REMOVE = 0, 0  # IPC_PRIVATE, IPC_RMID
_PROCESSES: Final = 24
_MEMORY: Final = 268_435_456
_LIMITS: Final = JsonLimits(max_bytes=65_536, max_depth=4, max_nodes=4096)
_LARGEST_ANSWER: Final = 65_536


class ProbedLane(plane.Lane, Protocol):
    """A lane of processes, which says what it can enforce, and lets commands reach the listener of a probe while it lasts."""

    @property
    def enforces(self) -> frozenset[plane.Restraint]:
        """What it can enforce on this host; it may find out when it is asked first."""
        ...

    def baited(self, host_port: str) -> AbstractContextManager[None]:
        """While a sandbox that lists this loopback address reaches it, whatever the operator's policy says."""
        ...


class ProbeFailed(Exception):
    """The probe did not run to its end; the message says what stopped it."""


async def probe(lane: ProbedLane, *, confined: bool, clock: Clock, nonce: str) -> frozenset[plane.Property]:
    """Run the probe by that lane, and say what it showed. `nonce` marks what is this probe's. Raises ProbeFailed."""
    with ExitStack() as stack:
        bait = _Bait(stack, nonce, confined=confined)
        shown = bait.shown(await _answer(lane, bait.intent(lane.enforces, clock), clock))
        if plane.Restraint.NETWORK_HOSTS not in lane.enforces:
            return shown
        with lane.baited(bait.listed):
            try:
                found = await _answer(lane, bait.hosts_intent(clock), clock)
            except ProbeFailed:  # hosts that are listed cannot be reached here, and all else holds
                return shown
        return shown | bait.hosts_shown(found)


async def _answer(lane: ProbedLane, intent: plane.ProcessIntent, clock: Clock) -> Mapping[str, JSON]:
    """What the probe's program found. Raises ProbeFailed."""
    exchange = plane.Exchange(clock)
    exchange.channel = ear = _Ear(exchange)
    try:
        await lane.execute(intent, exchange)
    except plane.LaneFailure as error:
        said = b"".join(ear.errors)[-300:].decode(errors="replace")
        raise ProbeFailed(f"{error.failure.code}: {error.failure.message} {said}".strip()) from error
    try:
        found = parse_json(b"".join(ear.parts), limits=_LIMITS, what="probe's answer")
    except InvalidJson as error:
        raise ProbeFailed(error.message) from error
    if not isinstance(found, dict):
        raise ProbeFailed("the probe's answer is no object")
    return found


class _Bait:
    """What the probe is to go for, and the view from outside on whether it got it."""

    def __init__(self, stack: ExitStack, nonce: str, *, confined: bool) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interlock-probe-")))
        self._confined = confined
        self._inside = folder / "inside"
        self._inside.mkdir()
        self._canary = folder / "canary"
        self._canary.write_text(nonce)
        self._changed_at = self._canary.stat().st_ctime_ns
        self._mounted = Path(f"/sys/fs/cgroup/.probe-{nonce}")
        """Below a path that is listed, on a file system of its own."""
        self._outside = [folder / "new", self._canary, *(Path(place) / f".probe-{nonce}" for place in _places())]
        self._nonce = nonce
        listeners = [_listen(stack, host) for host in (_LOOPBACK, *_own_addresses())]
        self._listeners = listeners[:2]
        self.listed, self._unlisted = (f"{_LOOPBACK}:{each.getsockname()[1]}" for each in self._listeners)
        """Addresses of ours, of which the sandbox is to reach the one and not the other."""
        self._addresses = [["tcp", *each.getsockname()] for each in listeners]
        self._addresses.append(["abstract", f"interlock-probe-{nonce}"])
        hidden = stack.enter_context(socket.socket(socket.AF_UNIX))
        hidden.bind(f"\0interlock-probe-{nonce}")
        hidden.listen()
        inside = os.open(self._inside, os.O_PATH)  # its path may be longer than a socket's address
        stack.callback(os.close, inside)
        stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)).bind(f"/proc/self/fd/{inside}/post")
        self._addresses.append(["datagram", str(self._inside / "post")])
        self._segment = _shared_memory(stack)

    def intent(self, enforced: frozenset[plane.Restraint], clock: Clock) -> plane.ProcessIntent:
        """The probe as a command, under as much as the lane can enforce."""
        self._counts = plane.Restraint.PROCESSES in enforced
        self._weighs = plane.Restraint.TOTAL_MEMORY in enforced
        limits = plane.ResourceLimits(
            processes=_PROCESSES if self._counts else None, total_memory_bytes=_MEMORY if self._weighs else None
        )
        tries = {
            "write": [str(path) for path in self._outside],
            "make": str(self._mounted),
            "remove": [str(self._canary)],
            "change": str(self._canary),
            "watch": str(self._canary),
            "open": _SETTINGS,
            "read": [str(self._canary), "/etc/shadow", f"/proc/{os.getpid()}/environ"],
            "allowed": str(self._inside / "new") if self._confined else None,
            "connect": self._addresses,
            "process": os.getpid(),
            "segment": self._segment,
            "processes": _PROCESSES * 2 if self._counts else 0,
            "memory": _MEMORY * 2 if self._weighs else 0,
        }
        profile = plane.SandboxProfile(
            read=(*SYSTEM, "/sys", sys.base_prefix), write=(str(self._inside),), limits=limits
        )
        return self._intent(tries, clock, profile if self._confined else None, limits)

    def hosts_intent(self, clock: Clock) -> plane.ProcessIntent:
        """Tries the network where the sandbox lists one host."""
        profile = plane.SandboxProfile(
            read=(*SYSTEM, sys.base_prefix), network=plane.Network.HOSTS, hosts=(self.listed,)
        )
        tries = {"hosts": [self.listed, self._unlisted], "connect": self._addresses, "families": _FAMILIES}
        return self._intent(tries, clock, profile, plane.ResourceLimits())

    def _intent(
        self,
        tries: Mapping[str, object],
        clock: Clock,
        profile: plane.SandboxProfile | None,
        limits: plane.ResourceLimits,
    ) -> plane.ProcessIntent:
        return plane.ProcessIntent(
            intent_id="probe",
            tenant_id="default",
            run_id="probe",
            attempt_id="probe",
            trace_id=self._nonce,
            deadline_at=clock.now() + timedelta(minutes=1),
            argv=(os.path.realpath(sys.executable), "-I", "-S", "-c", _PROGRAM.read_text(), json.dumps(tries)),
            env=((_LISTED, "1"),),
            max_ms=60_000,
            max_output_bytes=_LARGEST_ANSWER,
            limits=limits,
            sandbox=profile,
        )

    def hosts_shown(self, found: Mapping[str, JSON]) -> frozenset[plane.Property]:
        """As `shown`, of the network with one listed host."""
        said = found.get("through") == [self.listed] and found.get("reached") == [] and found.get("sockets") == []
        if said and [_was_reached(each) for each in self._listeners] == [True, False]:
            return frozenset({plane.Property.NETWORK_HOSTS})
        return frozenset()

    def shown(self, found: Mapping[str, JSON]) -> frozenset[plane.Property]:
        """What the findings show. Where the outside can be asked as well, both must agree."""
        stands = self._canary.exists() and self._canary.read_text() == self._nonce
        canary_stands = stands and self._canary.stat().st_ctime_ns == self._changed_at
        new = [path for path in (*self._outside, self._mounted) if path != self._canary and path.exists()]
        untouched = canary_stands and not new
        for path in new:
            path.rmdir() if path == self._mounted else path.unlink()
        started = found.get("started")
        works = found.get("allowed") is True
        claims: dict[plane.Property, bool] = {
            plane.Property.ENVIRONMENT_LISTED: found.get("variables") == [_LISTED],
            plane.Property.DESCRIPTORS_CLOSED: found.get("descriptors") == [],
            plane.Property.WRITES_CONFINED: works and untouched and found.get("opened") == found.get("changed") == [],
            plane.Property.READS_CONFINED: works and found.get("read") == [] and found.get("watched") is False,
            plane.Property.NETWORK_NONE: found.get("reached") == [],
            plane.Property.PROCESSES_HIDDEN: found.get("saw") is False,
            plane.Property.PROCESSES_UNTOUCHABLE: found.get("touched") == [],
            plane.Property.PRIVILEGES_FIXED: found.get("fixed") is True,
            plane.Property.CAPABILITIES_NONE: found.get("capabilities") == 0,
            plane.Property.PROCESSES_BOUNDED: self._counts and isinstance(started, int) and started < _PROCESSES,
            plane.Property.MEMORY_BOUNDED: self._weighs and found.get("took") is False,
            plane.Property.KERNEL_APART: found.get("kernel") not in (None, os.uname().release),
        }
        return frozenset(name for name, is_shown in claims.items() if is_shown)


class _Ear(plane.Channel):
    """Keeps what the probe says; there is little of it."""

    def __init__(self, exchange: plane.Exchange) -> None:
        inbox = plane.Inbox()
        inbox.end()
        super().__init__(plane.EventLog("probe", exchange.clock), inbox)
        self._said: list[tuple[str, bytes]] = []

    async def output(self, stream: str, data: bytes, facts: Mapping[str, Any] | None = None) -> None:
        self._said.append((stream, data))

    @property
    def parts(self) -> list[bytes]:
        return [data for stream, data in self._said if stream == "stdout"]

    @property
    def errors(self) -> list[bytes]:
        return [data for stream, data in self._said if stream == "stderr"]


def _places() -> list[str]:
    """Folders of the host that somebody might want to write to."""
    return ["/", "/usr", "/etc", "/tmp", "/var/tmp", "/dev/shm", str(Path.home())]  # noqa: S108 - to be refused there


def _own_addresses() -> list[str]:
    """The loopback, and the address by which this host would speak to others, if it has one. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))
        except OSError:
            return [_LOOPBACK]
        return [_LOOPBACK, asking.getsockname()[0]]


def _listen(stack: ExitStack, host: str) -> socket.socket:
    return stack.enter_context(socket.create_server((host, 0)))


def _shared_memory(stack: ExitStack) -> int:
    """A segment by System V, which has no file."""
    libc = ctypes.CDLL(None)
    segment = libc.shmget(_PRIVATE, 4096, 0o600)
    stack.callback(libc.shmctl, segment, _REMOVE, None)
    return segment


def _was_reached(listener: socket.socket) -> bool:
    """Whether somebody has connected."""
    listener.setblocking(False)  # noqa: FBT003 - it takes no name
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True
