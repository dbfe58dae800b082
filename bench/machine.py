"""What the figures were measured on."""

import os
import platform
import sqlite3
import sys
import time
from pathlib import Path


def facts(folder: Path) -> dict[str, object]:
    """The machine, the versions, the load, and how many times a second the disk takes a small write for good."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else None,
        "fsync/s": round(_syncs(folder)),
    }


def _syncs(folder: Path, seconds: float = 0.5) -> float:
    path = folder / "fsync"
    with path.open("wb", buffering=0) as file:
        file.write(bytes(1 << 20))
        sync = os.fdatasync if sys.platform == "linux" else os.fsync
        count, begun = 0, time.perf_counter()
        while (passed := time.perf_counter() - begun) < seconds:
            file.seek(count % 256 * 4096)
            file.write(bytes(4096))
            sync(file.fileno())
            count += 1
    path.unlink()
    return count / passed
