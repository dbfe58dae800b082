"""What starts work by itself: at its times (`schedules`), or because a service has something new when it is asked (`polling`).

Owns: when work is due, and that each time and each item starts it once. Refuses: doing the work; SQL and sockets. Invariants:
what was due and the work that it started are one transaction; another process, a doubled look and a clock that jumps start
nothing a second time.
"""

from interlock.triggers import polling, schedules

__all__ = ["polling", "schedules"]
