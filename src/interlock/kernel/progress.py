"""Where it is told what a caller is waiting for."""

from typing import Final

PROGRESS: Final = "interlock.progress"
"""The name of the logger, which says at the level INFO what takes its time; the command line shows it on a terminal."""
