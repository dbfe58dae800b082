"""Targets of commands, each with what was proved of it from inside.

Owns: the compilation of sandbox profiles for Landlock, bubblewrap and container runtimes, and the probe. Refuses: to name
a class that the probe did not show, and to ignore what a backend cannot enforce. Invariants: secrets and variables go to a
sandbox by descriptor, never by argument; what is made for one command is gone after it.
"""

from interlock.adapters.targets.bubblewrap import Bubblewrap
from interlock.adapters.targets.container import Container
from interlock.adapters.targets.landlock import Landlock
from interlock.adapters.targets.probing import SYSTEM, ProbeFailed, probe
from interlock.adapters.targets.target import LocalSandbox, PlacedTarget

__all__ = [
    "SYSTEM",
    "Bubblewrap",
    "Container",
    "Landlock",
    "LocalSandbox",
    "PlacedTarget",
    "ProbeFailed",
    "probe",
]
