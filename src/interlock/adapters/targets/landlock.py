"""local-landlock: the kernel's own restriction of paths, with seccomp, without any capability and without root."""

import base64
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock import plane
from interlock.adapters.targets import descriptors, paths, seccomp
from interlock.adapters.targets.landlock_exec import MISSING, abi

_PROGRAM: Final = str(Path(__file__).with_name("landlock_exec.py"))
_LEAST: Final = 3
"""The first version that can keep files from being cut short."""


@dataclass(frozen=True, slots=True)
class _Confined:
    launch: plane.Launch
    report: int

    def not_started(self) -> plane.Failure | None:
        said = descriptors.read_all(self.report).decode(errors="replace")
        if not said:
            return None
        is_missing, _, what = said.partition(" ")
        code = "command_not_found" if is_missing == MISSING else "sandbox_not_started"
        return plane.Failure.of(
            plane.FailureClass.LAUNCH_FAILED, f"the command cannot be used: {what[:500]}", code=code
        )

    def wait_status(self, code: int) -> int | None:
        del code
        return None  # the command is itself what was launched


class Landlock:
    """Confines by Landlock and seccomp. A profile's paths hold for what they name now; the harmless devices (`null`,
    `zero`, `full`, `random`, `urandom`, `tty`) are always open."""

    def __init__(self) -> None:
        self._abi = abi() if sys.platform == "linux" else 0

    @property
    def target_class(self) -> str:
        return plane.LOCAL_LANDLOCK

    @property
    def inherits(self) -> bool:
        return True

    @property
    def unavailable(self) -> str | None:
        if self._abi < _LEAST:
            return f"the kernel has Landlock version {self._abi}; {_LEAST} is needed (Linux 6.2, and `landlock` in its LSMs)"
        return None if seccomp.supported() else "this kind of machine has no seccomp filter here"

    @property
    def enforces(self) -> frozenset[plane.Restraint]:
        if self.unavailable is not None:
            return frozenset()
        return frozenset({plane.Restraint.READ, plane.Restraint.WRITE, plane.Restraint.NETWORK_NONE})

    @asynccontextmanager
    async def confine(
        self, command: plane.Command, profile: plane.SandboxProfile, limits: plane.ResourceLimits
    ) -> AsyncGenerator[plane.Confinement]:
        del limits  # what the lane sets is inherited
        paths.check_written(profile)
        spec = {
            "argv": list(command.argv),
            "env": dict(command.env),
            "path": command.env.get("PATH", plane.DEFAULT_PATH),
            "cwd": command.cwd,
            "read": list(profile.read),
            "write": list(profile.write),
            "network": False,
            "filter": base64.b64encode(seccomp.program(plane.Network.NONE)).decode(),
        }
        with ExitStack() as stack:
            orders = descriptors.holding(stack, json.dumps(spec, ensure_ascii=False).encode())
            ours, theirs = descriptors.report(stack)
            launch = plane.Launch(
                argv=(sys.executable, "-I", "-S", _PROGRAM, str(descriptors.FIRST), str(descriptors.FIRST + 1)),
                env={},
                cwd="/",
                fds={descriptors.FIRST: orders, descriptors.FIRST + 1: theirs},
            )
            yield _Confined(launch, ours)
