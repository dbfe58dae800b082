"""container-runc and container-gvisor: one command in a container of its own, made from this host's files."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio

from interlock import plane
from interlock.adapters.targets import abandoned, commands, network, paths, seccomp
from interlock.adapters.targets.init import Confined, Init, in_file, marked

_PATH: Final = f"{plane.DEFAULT_PATH}:/usr/local/sbin:/usr/sbin:/sbin"
_INIT: Final = "/dev/init"
"""Where gVisor finds the init, to which it hands no descriptors."""
_STATUS: Final = re.compile(r"Exiting with status: ([0-9]{1,5})$", re.MULTILINE)
_BY_GVISOR: Final = ("--ignore-cgroups", "--oci-seccomp", "--rootless=false")
_WRAPPERS: Final = 2
_REMOVED_WITHIN: Final = 20.0
_GROUPS: Final = Path("/sys/fs/cgroup")
_BY_BOTH: Final = frozenset(
    {
        plane.Restraint.READ,
        plane.Restraint.WRITE,
        plane.Restraint.NETWORK_NONE,
        plane.Restraint.NETWORK_HOSTS,
        plane.Restraint.FILES,
    }
)
_BY_RUNC: Final = _BY_BOTH | {
    plane.Restraint.NETWORK_LOOPBACK,
    plane.Restraint.CPU,
    plane.Restraint.MEMORY,
    plane.Restraint.FILE_SIZE,
    plane.Restraint.TOTAL_MEMORY,
    plane.Restraint.PROCESSES,
}
_DEVICES: Final = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]}
_PROC: Final = {
    "destination": "/proc",
    "type": "proc",
    "source": "proc",
    # Root's own settings of the kernel are root's to change, with no capability at all.
    "options": ["ro", "nosuid", "noexec", "nodev"],
}
_MASKED: Final = ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sysrq-trigger", "/sys/firmware")


@dataclass(frozen=True, slots=True)
class _InGVisor:
    """What the init cannot tell there, the runtime notes when it ends: how the init did, which is how the command did."""

    launch: plane.Launch
    folder: Path

    def not_started(self) -> plane.Failure | None:
        return None if (self.folder / "pid").exists() else commands.not_started("gVisor")

    def wait_status(self, code: int) -> int | None:
        del code
        try:
            noted = _STATUS.search((self.folder / "log").read_text(errors="replace"))
        except FileNotFoundError:
            return None
        return None if noted is None else int(noted[1])


class Container:
    """Confines by an OCI runtime: `runc`, or gVisor's `runsc`. The root is empty but for the profile's paths, and read-only;
    the command has a network whose only way out is to listed hosts, no capabilities, and (by runc) control groups. A
    container takes neither terminals nor secret variables, which a runtime writes down; descriptors only as runc hands them
    on, 3 and up without gaps."""

    def __init__(self, target_class: str, *, program: str | None = None) -> None:
        """`target_class` is `plane.CONTAINER_RUNC` or `plane.CONTAINER_GVISOR`; `program` is another path of the runtime."""
        self._class = target_class
        self._is_runc = target_class == plane.CONTAINER_RUNC
        self._name = program or ("runc" if self._is_runc else "runsc")
        self._program = shutil.which(self._name, path=_PATH)
        self._kind = f"interlock-{target_class}"
        self._cleared = False

    @property
    def target_class(self) -> str:
        return self._class

    @property
    def inherits(self) -> bool:
        return False

    @property
    def unavailable(self) -> str | None:
        if self._program is None:
            return f"this host has no {self._name}"
        if os.geteuid() != 0:
            return f"{self._name} is run by root here: without it there are no control groups to hold the limits"
        return None if seccomp.supported() else "this kind of machine has no seccomp filter here"

    @property
    def enforces(self) -> frozenset[plane.Restraint]:
        if self.unavailable is not None:
            return frozenset()
        return _BY_RUNC if self._is_runc else _BY_BOTH

    @asynccontextmanager
    async def confine(
        self, command: plane.Command, profile: plane.SandboxProfile, limits: plane.ResourceLimits
    ) -> AsyncGenerator[plane.Confinement]:
        assert self._program is not None
        self._check(command)
        first = commands.find(command, profile)
        if not self._cleared:
            self._cleared = True
            await anyio.to_thread.run_sync(self._clear)
        with abandoned.kept_folder(self._kind) as folder, ExitStack() as stack:
            (folder / "rootfs").mkdir()
            init = Init(stack, first=3 + len(command.fds)) if self._is_runc else None
            inner = [_INIT if init is None else init.path, first, *command.argv[1:]]
            (folder / "config.json").write_text(json.dumps(self._config(command, inner, profile, limits, folder)))
            is_open = profile.network is plane.Network.HOSTS  # then the runtime is started in that network
            words = self._words(folder, network="host" if is_open else "none")
            run = [*words, "run", "--bundle", str(folder), "--pid-file", str(folder / "pid")]
            if init is None:
                in_file(folder / "init")
            else:
                run += ["--preserve-fds", str(len(command.fds) + len(init.fds))]
            launch = plane.Launch(
                argv=(*run, folder.name),
                env={"PATH": _PATH},
                cwd="/",
                fds={} if init is None else init.fds,
                wrappers=_WRAPPERS,
            )
            if is_open:
                launch = network.opened(stack, launch)
            try:
                yield _InGVisor(launch, folder) if init is None else Confined(launch, init, "runc")
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(self._remove, folder)

    def _clear(self) -> None:
        """What processes that were killed have left."""
        abandoned.clear(self._kind, self._remove)
        if self._is_runc:
            abandoned.clear_groups(self._kind, (_GROUPS, *_GROUPS.glob("*/")))

    def _words(self, folder: Path, *, network: str = "none") -> list[str]:
        assert self._program is not None
        words = [self._program, "--root", str(folder / "state")]
        if (
            self._is_runc
        ):  # what stops it still goes to stderr, and its remarks need not stand among the command's words
            return [*words, "--log", str(folder / "log")]
        return [*words, f"--network={network}", *_BY_GVISOR, "--debug-log", str(folder / "log"), "--debug-command=run"]

    def _remove(self, folder: Path) -> None:
        """What a container that was ended early leaves: its state, and its control groups."""
        if (folder / "state").exists() and any((folder / "state").iterdir()):
            subprocess.run(  # noqa: S603 - our own words
                [*self._words(folder), "delete", "--force", folder.name],
                env={"PATH": _PATH},
                capture_output=True,
                timeout=_REMOVED_WITHIN,
                check=False,
            )

    def _check(self, command: plane.Command) -> None:
        wrong = None
        if command.terminal:
            wrong = "a container has no terminal here"
        elif command.secret_env:
            wrong = "a container's runtime writes its variables down: hand secrets over by descriptor"
        elif command.fds and (not self._is_runc or sorted(command.fds) != list(range(3, 3 + len(command.fds)))):
            wrong = "these descriptors cannot be handed on into the container"
        if wrong is not None:
            raise plane.LaneFailure(plane.FailureClass.SANDBOX_UNENFORCEABLE, f"{self._class}: {wrong}")

    def _config(
        self,
        command: plane.Command,
        inner: list[str],
        profile: plane.SandboxProfile,
        limits: plane.ResourceLimits,
        folder: Path,
    ) -> dict[str, Any]:
        linux: dict[str, Any] = {
            "namespaces": list(_namespaces(profile.network)),
            "maskedPaths": list(_MASKED),
            "seccomp": seccomp.rules(profile.network, namespaces=self._is_runc),
        }
        if self._is_runc:
            resources: dict[str, Any] = {"devices": [{"allow": False, "access": "rwm"}]}
            if limits.processes is not None:
                resources["pids"] = {"limit": limits.processes + 1}  # and the init
            if limits.total_memory_bytes is not None:
                resources["memory"] = {"limit": limits.total_memory_bytes, "swap": limits.total_memory_bytes}
            linux |= {"resources": resources, "cgroupsPath": f"/{folder.name}"}
        return {
            "ociVersion": "1.0.2",
            "hostname": "sandbox",
            "root": {"path": "rootfs", "readonly": True},
            "mounts": [
                *_mounts(profile, recursive="rro" if self._is_runc else "ro"),
                *([] if self._is_runc else [_mount(paths.Bind(str(folder / "init"), _INIT, writable=False), "ro")]),
            ],
            "process": {
                "terminal": False,
                "user": {"uid": os.geteuid(), "gid": os.getegid()},
                "args": inner,
                "env": [f"{name}={value}" for name, value in marked(network.variables(command, profile)).items()],
                "cwd": command.cwd,
                "noNewPrivileges": True,
                "capabilities": {kind: [] for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")},
                "rlimits": [
                    {"type": name, "soft": value, "hard": value + (name == "RLIMIT_CPU")}
                    for name, value in limits.rlimits.items()
                ],
            },
            "linux": linux,
        }


def _mounts(profile: plane.SandboxProfile, *, recursive: str) -> list[dict[str, Any]]:
    """The whole of the host, if that is listed, then the container's own, then the rest. `recursive`: the runtime's word for
    read-only, with all that is mounted below."""
    found = [_mount(bind, recursive) for bind in paths.binds(profile)]
    whole = [mount for mount in found if mount["destination"] == "/"]
    return [*whole, _PROC, _DEVICES, *found[len(whole) :]]


def _mount(bind: paths.Bind, recursive: str) -> dict[str, Any]:
    return {
        "destination": bind.path,
        "type": "bind",
        "source": bind.source,
        "options": ["rbind", "nosuid", "nodev", "rw" if bind.writable else recursive],
    }


def _namespaces(network_: plane.Network) -> Iterator[dict[str, str]]:
    for kind in ("mount", "ipc", "uts", "cgroup", "pid"):
        yield {"type": kind}
    if network_ is not plane.Network.HOSTS:
        yield {"type": "network"}
