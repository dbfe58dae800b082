"""A process that makes and opens stores on disks of few KiB, and prints what came of it. Run it where it may mount."""

import asyncio
import gc
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from sqlalchemy import text

from interlock.adapters import sql
from interlock.kernel import InterlockError


def mount(folder: Path, *, kib: int, again: bool = False) -> None:
    """An empty disk of that size, or more room on the one that is there."""
    options = f"remount,size={kib}k" if again else f"size={kib}k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)


def unmount(folder: Path) -> None:
    gc.collect()  # a failed opening's connection
    subprocess.run(["umount", folder], check=True)


def opened(path: Path, *, create: bool = False) -> str:
    """`written` or `read`, whichever the store can be; or the code of what it raises, and what it names."""
    try:
        store = sql.open_store(str(path), create=create)
    except InterlockError as error:
        return f"{error.code}: {error.message}"
    try:
        asyncio.run(store.read(lambda tx: sql.connection(tx).execute(text("SELECT count(*) FROM runs")).scalar_one()))
        return "written" if store.refusal is None else f"read: {store.refusal.code}"
    finally:
        store.close()


def needed(folder: Path) -> int:
    """How many KiB a store takes that was just made."""
    mount(folder, kib=8192)
    path = folder / "store.db"
    opened(path, create=True)
    size = sum(entry.stat().st_size for entry in folder.iterdir())
    unmount(folder)
    return -(-size // 1024)


def made(folder: Path, *, kib: int) -> list[object]:
    """How making a store there goes, what is left of it, and how it goes with more room."""
    mount(folder, kib=kib)
    path = folder / "store.db"
    first = opened(path, create=True)
    left = sorted(entry.name for entry in folder.iterdir())
    mount(folder, kib=4096, again=True)
    second = opened(path, create=True)
    unmount(folder)
    return [first, left, second]


def filled(folder: Path, *, free: int) -> list[str]:
    """How a store opens, and opens again, on a disk with that many bytes left, and how with more room."""
    mount(folder, kib=1024)
    path = folder / "store.db"
    opened(path, create=True)
    with (folder / "rest").open("wb", buffering=0) as rest, suppress(OSError):
        while rest.write(bytes(4096)):
            pass
    os.truncate(folder / "rest", (folder / "rest").stat().st_size - free)
    answers = [opened(path), opened(path)]
    (folder / "rest").unlink()
    answers.append(opened(path))
    unmount(folder)
    return answers


if __name__ == "__main__":
    place = Path(sys.argv[1])
    whole = needed(place)
    print(
        json.dumps(
            {
                "small": {share: made(place, kib=int(whole * share)) for share in (0.1, 0.5, 0.8, 0.95)},
                "enough": made(place, kib=whole + 64),
                "filled": {free: filled(place, free=free) for free in (0, 8192)},
            }
        )
    )
