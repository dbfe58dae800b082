"""The command of a sandbox with a root of its own: found before it starts, as not all backends say why they could not."""

import os
import shutil
from pathlib import Path

from interlock import plane


def find(command: plane.Command, profile: plane.SandboxProfile) -> str:
    """The command's file, which the profile lists. Raises LaneFailure if there is none, or none that can be run."""
    name = command.argv[0]
    found = name if "/" in name else shutil.which(name, path=command.env.get("PATH", plane.DEFAULT_PATH))
    path = None if found is None else os.path.normpath(Path(command.cwd, found))
    if path is None or not Path(path).exists():
        raise _failure(f"the command {name[:200]!r} is not there", code="command_not_found")
    if not any(Path(path).is_relative_to(place) for place in (*profile.read, *profile.write)):
        raise _failure(f"the command {path[:200]!r} is not in the paths of the sandbox", code="command_not_found")
    if not (Path(path).is_file() and os.access(path, os.X_OK)):
        raise _failure(f"the command {path[:200]!r} cannot be run")
    return path


def not_started(by: str) -> plane.Failure:
    """What a backend leaves of a command that it did not start."""
    return plane.Failure.of(
        plane.FailureClass.LAUNCH_FAILED,
        f"{by} did not start the command; what it said is on stderr",
        code="sandbox_not_started",
    )


def unusable(why: str) -> plane.Failure:
    """What is said of a command that the system would not run."""
    return plane.Failure.of(plane.FailureClass.LAUNCH_FAILED, f"the command cannot be used: {why}")


def _failure(message: str, *, code: str | None = None) -> plane.LaneFailure:
    return plane.LaneFailure(plane.FailureClass.LAUNCH_FAILED, message, code=code)
