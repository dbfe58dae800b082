"""Public fakes: what tests, demos and connector authors use instead of the real world.

Owns: `ManualClock` and `SequentialIds` here, and the GitHub-shaped service in `interlock.testing.github`, which is
imported only where it is wanted (it brings a web server). Refuses: hooks into production code; a fake stands outside
and is injected. Invariants: a fake refuses what the real thing refuses, and says so in the same shape.
"""

from interlock.testing.clock import ManualClock
from interlock.testing.ids import SequentialIds

__all__ = ["ManualClock", "SequentialIds"]
