"""Sandboxes: what a profile demands, what a class of sandbox can enforce, and the port of whoever confines a command.

What is demanded and cannot be enforced is refused before anything starts; nothing is ignored.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Final, Literal, Protocol, Self

from pydantic import Field, StringConstraints, model_validator

from interlock.plane.contract import Contract
from interlock.plane.failures import Failure, FailureClass
from interlock.plane.intent import HostPort, Milliseconds

AbsolutePath = Annotated[str, StringConstraints(max_length=4096, pattern=r"^/[^\x00]*$")]
"""A path from the root, without NUL."""

EnvName = Annotated[str, StringConstraints(max_length=200, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""The name of an environment variable."""


class Network(StrEnum):
    """What of the network a sandbox may reach: nothing; a loopback of its own, where only the sandbox itself answers;
    or the listed hosts."""

    NONE = "none"
    LOOPBACK = "loopback"
    HOSTS = "hosts"


class Restraint(StrEnum):
    """One thing that a profile or a set of limits can demand."""

    READ = "read"
    WRITE = "write"
    NETWORK_NONE = "network-none"
    NETWORK_LOOPBACK = "network-loopback"
    NETWORK_HOSTS = "network-hosts"
    ENVIRONMENT = "environment"
    TIME = "time"
    CPU = "cpu"
    MEMORY = "memory"
    TOTAL_MEMORY = "total-memory"
    PROCESSES = "processes"
    FILES = "files"
    FILE_SIZE = "file-size"


class ResourceLimits(Contract):
    """How much a command may use; None leaves it open. `memory_bytes` is the address space of each process,
    `total_memory_bytes` and `processes` are of all its processes together, `files` and `file_bytes` are of each process
    (open files; the largest file it may write), `cpu_seconds` is of each process."""

    cpu_seconds: Annotated[int, Field(ge=1, le=86_400)] | None = None
    memory_bytes: Annotated[int, Field(ge=1_048_576, le=2**48)] | None = None
    total_memory_bytes: Annotated[int, Field(ge=1_048_576, le=2**48)] | None = None
    processes: Annotated[int, Field(ge=1, le=100_000)] | None = None
    files: Annotated[int, Field(ge=8, le=1_048_576)] | None = None
    file_bytes: Annotated[int, Field(ge=0, le=2**48)] | None = None

    @property
    def rlimits(self) -> dict[str, int]:
        """Those that are set and that a process hands on to its children, by the system's names."""
        return {_RLIMITS[name]: value for name, value in self.model_dump(exclude_none=True).items() if name in _RLIMITS}

    def within(self, other: "ResourceLimits") -> "ResourceLimits":
        """The narrower of both, limit by limit."""
        mine, others = self.model_dump(), other.model_dump()
        return ResourceLimits.model_validate({name: _least(mine[name], others[name]) for name in mine})

    @property
    def restraints(self) -> frozenset[Restraint]:
        """What has to be enforced for these limits to hold."""
        return frozenset(restraint for name, restraint in _RESTRAINTS.items() if getattr(self, name) is not None)


class SandboxProfile(Contract):
    """What a command may touch. Everything else is closed: a path that is not listed can be neither read nor written
    (`write` includes reading), a host that is not listed is not reached, a variable that is not listed is not passed
    (None passes what the intent lists)."""

    contract: Literal["interlock.sandbox/v1"] = "interlock.sandbox/v1"
    read: tuple[AbsolutePath, ...] = Field(default=(), max_length=256)
    write: tuple[AbsolutePath, ...] = Field(default=(), max_length=256)
    network: Network = Network.NONE
    hosts: tuple[HostPort, ...] = Field(default=(), max_length=256)
    env: tuple[EnvName, ...] | None = Field(default=None, max_length=256)
    total_ms: Milliseconds | None = None
    limits: ResourceLimits = ResourceLimits()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.hosts) is not (self.network is Network.HOSTS):
            raise ValueError("hosts are listed for the network `hosts`, and for no other")
        for path in (*self.read, *self.write):
            if ".." in path.split("/"):
                raise ValueError(f"the path {path[:200]!r} goes up; write the path that is meant")
        self._check_written()
        return self

    def _check_written(self) -> None:
        """A path means the same in every class of sandbox, and some of them cannot take back what lies in a path to write."""
        for path in self.write:
            written = _parts(path)
            if written[:1] in ((), ("proc",)):
                raise ValueError(f"the path {path[:200]!r} is no one's to write: name the folders that are meant")
            for other in self.read:
                if (read := _parts(other)) != written and read[: len(written)] == written:
                    raise ValueError(
                        f"the path {other[:200]!r} is to be read only, and lies in {path[:200]!r}, which is to be written:"
                        " name the folders to be written that do not hold it"
                    )

    @property
    def restraints(self) -> frozenset[Restraint]:
        """What has to be enforced for this profile to hold."""
        demanded = {Restraint.READ, Restraint.WRITE, Restraint(f"network-{self.network}")}
        if self.env is not None:
            demanded.add(Restraint.ENVIRONMENT)
        if self.total_ms is not None:
            demanded.add(Restraint.TIME)
        return self.limits.restraints | demanded


_RESTRAINTS: Final = {
    "cpu_seconds": Restraint.CPU,
    "memory_bytes": Restraint.MEMORY,
    "total_memory_bytes": Restraint.TOTAL_MEMORY,
    "processes": Restraint.PROCESSES,
    "files": Restraint.FILES,
    "file_bytes": Restraint.FILE_SIZE,
}

_RLIMITS: Final[Mapping[str, str]] = {
    "cpu_seconds": "RLIMIT_CPU",
    "files": "RLIMIT_NOFILE",
    "file_bytes": "RLIMIT_FSIZE",
    "memory_bytes": "RLIMIT_AS",
}

_INHERITED: Final = frozenset(
    {
        Restraint.ENVIRONMENT,
        Restraint.TIME,
        Restraint.CPU,
        Restraint.MEMORY,
        Restraint.FILES,
        Restraint.FILE_SIZE,
    }
)
_BY_THE_LANE: Final = _INHERITED | {Restraint.TOTAL_MEMORY, Restraint.PROCESSES}
_PATHS: Final = frozenset({Restraint.READ, Restraint.WRITE})
_NETWORKS: Final = frozenset({Restraint.NETWORK_NONE, Restraint.NETWORK_LOOPBACK, Restraint.NETWORK_HOSTS})

ENFORCED_BY: Final[Mapping[str, frozenset[Restraint]]] = {
    "local-process": _BY_THE_LANE,
    "local-landlock": _BY_THE_LANE | _PATHS | {Restraint.NETWORK_NONE},
    "local-bubblewrap": _BY_THE_LANE | _PATHS | _NETWORKS,
    "container-runc": _BY_THE_LANE | _PATHS | _NETWORKS,
    "container-gvisor": frozenset({Restraint.ENVIRONMENT, Restraint.TIME, Restraint.FILES})
    | _PATHS
    | {Restraint.NETWORK_NONE, Restraint.NETWORK_HOSTS},
    "ssh-pinned": _BY_THE_LANE,
    "guest-bridge": _BY_THE_LANE,
}
"""The most that each class of target can enforce. A host may offer less: `processes` and `total-memory` need control
groups that the node may write, and a backend says what it has."""


def unenforceable(demanded: Iterable[Restraint], offered: Iterable[Restraint], *, by: str) -> Failure | None:
    """The refusal of what is demanded and not offered; None if all of it is."""
    missing = sorted(frozenset(demanded) - frozenset(offered))
    if not missing:
        return None
    return Failure.of(FailureClass.SANDBOX_UNENFORCEABLE, f"{by} cannot enforce here: {', '.join(missing)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command that is about to start, secrets and all. It is never recorded."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    secret_env: frozenset[str] = frozenset()
    """Which variables hold secrets."""
    cwd: str
    fds: tuple[int, ...] = ()
    """The numbers of file descriptors, beyond the first three, that the command finds open."""
    terminal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What the lane starts in a command's place. `wrappers`: how many processes of the sandbox itself stay above the
    command; the first of them is spared the signals that are meant for the command, how that ends is told by
    `wait_status`, and what it leaves ends with the sandbox, uncounted. `fds` are the descriptors that it finds open besides
    the command's own, number to the one at hand; the confinement closes its end of them. From `way_out`, a socket, comes
    the listener at which the command asks for listed hosts: whoever launches it serves there a proxy that leads to them
    and nowhere else."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    cwd: str
    fds: Mapping[int, int] = field(default_factory=dict[int, int])
    wrappers: int = 0
    way_out: int | None = None


class Confiner(Protocol):
    """Who makes a confined command of a command: one backend, on one host."""

    @property
    def target_class(self) -> str:
        """The class of target that it stands for."""
        ...

    @property
    def unavailable(self) -> str | None:
        """Why it cannot be used on this host; None if it can."""
        ...

    @property
    def enforces(self) -> frozenset[Restraint]:
        """What it enforces on this host by itself."""
        ...

    @property
    def inherits(self) -> bool:
        """Whether limits that the lane sets on what it launches hold for the command as well."""
        ...

    def confine(
        self, command: Command, profile: SandboxProfile, limits: ResourceLimits
    ) -> AbstractAsyncContextManager["Confinement"]:
        """Prepare the command's confinement, and take it away at the end. Raises LaneFailure if it cannot be."""
        ...


class Confinement(Protocol):
    """One command's confinement while it lasts."""

    @property
    def launch(self) -> Launch:
        """What to start."""
        ...

    def not_started(self) -> Failure | None:
        """Once what was launched has ended: why the command itself was never started; None if it was."""
        ...

    def wait_status(self, code: int, /) -> int | None:
        """Once what was launched has ended with that code: how the command did that stood below its wrappers, as wait()
        tells it; None if nobody knows. Then a code of 128 + n may stand for a death by signal n."""
        ...


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part not in ("", "."))


def _least(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)
