"""local-bubblewrap: namespaces of its own for files, processes, network and users, by the program `bwrap`."""

import shutil
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from interlock import plane
from interlock.adapters.targets import commands, descriptors, network, paths, seccomp

_ARGUMENTS, _FILTER, _STATUS = descriptors.FIRST, descriptors.FIRST + 1, descriptors.FIRST + 2
_WRAPPERS: Final = 2
_NAMESPACES: Final = (
    "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try",
    "--cap-drop", "ALL", "--die-with-parent",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Confined:
    launch: plane.Launch
    status: int

    def not_started(self) -> plane.Failure | None:
        return None if b'"exit-code"' in descriptors.read_all(self.status) else commands.not_started("bwrap")


class Bubblewrap:
    """Confines by `bwrap`. In the sandbox there is an empty root with the profile's paths, a small /dev and a /proc of its
    own; with the network `loopback` or `hosts`, a loopback of its own. Variables and paths go by descriptor, not by argument. The
    command finds PWD set to its working folder."""

    def __init__(self, program: str | None = None) -> None:
        self._program = shutil.which(program or "bwrap", path=f"{plane.DEFAULT_PATH}:/usr/sbin")

    @property
    def target_class(self) -> str:
        return plane.LOCAL_BUBBLEWRAP

    @property
    def inherits(self) -> bool:
        return True

    @property
    def unavailable(self) -> str | None:
        if self._program is None:
            return "this host has no bwrap; install bubblewrap"
        return None if seccomp.supported() else "this kind of machine has no seccomp filter here"

    @property
    def enforces(self) -> frozenset[plane.Restraint]:
        if self.unavailable is not None:
            return frozenset()
        return frozenset(
            {
                plane.Restraint.READ,
                plane.Restraint.WRITE,
                plane.Restraint.NETWORK_NONE,
                plane.Restraint.NETWORK_LOOPBACK,
                plane.Restraint.NETWORK_HOSTS,
            }
        )

    @asynccontextmanager
    async def confine(
        self, command: plane.Command, profile: plane.SandboxProfile, limits: plane.ResourceLimits
    ) -> AsyncGenerator[plane.Confinement]:
        del limits  # what the lane sets is inherited
        assert self._program is not None
        is_open = profile.network is plane.Network.HOSTS  # then the network is made before bwrap is
        words = [*_NAMESPACES, *([] if is_open else ["--unshare-net"]), *_mounts(profile)]
        words += ["--chdir", command.cwd, "--clearenv"]
        for name, value in network.variables(command, profile).items():
            words += ["--setenv", name, value]
        words += ["--seccomp", str(_FILTER), "--json-status-fd", str(_STATUS)]
        with ExitStack() as stack:
            arguments = descriptors.holding(stack, b"".join(word.encode() + b"\0" for word in words))
            rules = descriptors.holding(stack, seccomp.program(profile.network, alone=True))
            ours, theirs = descriptors.report(stack)
            launch = plane.Launch(
                argv=(
                    self._program,
                    "--args",
                    str(_ARGUMENTS),
                    "--",
                    commands.find(command, profile),
                    *command.argv[1:],
                ),
                env={},
                cwd="/",
                fds={_ARGUMENTS: arguments, _FILTER: rules, _STATUS: theirs},
                wrappers=_WRAPPERS,
            )
            yield _Confined(network.opened(stack, launch) if is_open else launch, ours)


def _mounts(profile: plane.SandboxProfile) -> Iterator[str]:
    """The whole of the host, if that is listed, then the sandbox's own, then the rest."""
    all_ = paths.binds(profile)
    whole = [bind for bind in all_ if bind.path == "/"]
    for bind in whole:
        yield from ("--ro-bind", bind.source, bind.path)
    yield from ("--proc", "/proc", "--dev", "/dev")
    for bind in all_[len(whole) :]:
        yield from ("--bind" if bind.writable else "--ro-bind", bind.source, bind.path)
    # Where the user is root, the kernel's settings are theirs to change, with no capability at all.
    yield from ("--remount-ro", "/proc", "--remount-ro", "/")
