"""What starts work by itself: at its times (`schedules`), because a service has something new when it is asked (`polling`), or
because it reports (`webhooks`).

Owns: when work is due, where services report and the proof that it is them, and that each time, item and event starts it once.
Refuses: doing the work; HTTP, SQL and keys. Invariants: what was due or came and the work that it started are one transaction;
another process, a doubled look and a clock that jumps start nothing a second time; a route's tenant is its own, whatever a
request says, and nothing is done on the word of a request whose origin is not proven.
"""

from interlock.triggers import polling, retrying, schedules, webhooks

__all__ = ["polling", "retrying", "schedules", "webhooks"]
