"""Suite `start`: how long a person waits for the first sign of life."""

import subprocess
import sys
from functools import partial
from pathlib import Path

from bench.place import Place
from bench.report import Row, compare
from bench.timing import Contestant, race

_TIMES = 15


async def _spawn(command: list[str]) -> None:
    # Blocking, and by the plainest means: nothing else happens meanwhile.
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)  # noqa: ASYNC221


async def run(place: Place) -> list[Row]:
    """Processes from start to end."""
    commands = {
        "import interlock": ("start-import", [sys.executable, "-c", "import interlock"]),
        "from interlock import Interlock": (None, [sys.executable, "-c", "from interlock import Interlock"]),
        "from interlock import sdk": (None, [sys.executable, "-c", "from interlock import sdk"]),
        "interlock --help": ("start-help", [str(Path(sys.executable).with_name("interlock")), "--help"]),
    }
    times = max(3, _TIMES // place.pace.rounds)
    bare = [sys.executable, "-c", "pass"]
    contestants = [
        Contestant(partial(_spawn, command), count=times)
        for command in (bare, *(each for _, each in commands.values()))
    ]
    alone, *trials = await race(contestants, place.pace)
    return [
        compare(f"{what} (time)", trial, "python -c pass", alone, key=key, in_time=True)
        for (what, (key, _)), trial in zip(commands.items(), trials, strict=True)
    ]
