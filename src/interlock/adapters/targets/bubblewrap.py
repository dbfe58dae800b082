"""local-bubblewrap: namespaces of its own for files, processes, network and users, by the program `bwrap`."""

import shutil
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Final

from interlock import plane
from interlock.adapters.targets import commands, descriptors, network, paths, seccomp
from interlock.adapters.targets.init import Confined, Init, marked

_ARGUMENTS, _FILTER, _INIT = descriptors.FIRST, descriptors.FIRST + 1, descriptors.FIRST + 2
_WRAPPERS: Final = 2
_NAMESPACES: Final = (
    "--unshare-user", "--unshare-ipc", "--unshare-pid", "--as-pid-1", "--unshare-uts",
    "--unshare-cgroup-try", "--cap-drop", "ALL", "--die-with-parent",
)  # fmt: skip


class Bubblewrap:
    """Confines by `bwrap`. In the sandbox there is an empty root with the profile's paths, a small /dev and a /proc of its
    own; with the network `loopback` or `hosts`, a loopback of its own. Variables and paths go by descriptor, not by argument."""

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
        for name, value in marked(network.variables(command, profile)).items():
            words += ["--setenv", name, value]
        words += ["--seccomp", str(_FILTER)]
        with ExitStack() as stack:
            arguments = descriptors.holding(stack, b"".join(word.encode() + b"\0" for word in words))
            rules = descriptors.holding(stack, seccomp.program(profile.network, alone=True))
            init = Init(stack, first=_INIT)
            inner = (init.path, commands.find(command, profile), *command.argv[1:])
            launch = plane.Launch(
                argv=(self._program, "--args", str(_ARGUMENTS), "--", *inner),
                env={},
                cwd="/",
                fds={_ARGUMENTS: arguments, _FILTER: rules, **init.fds},
                wrappers=_WRAPPERS,
            )
            yield Confined(network.opened(stack, launch) if is_open else launch, init, "bwrap")


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
