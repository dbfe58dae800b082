"""Work that is done later: what is due, who does it, and what becomes of it.

Owns: the port `Queue`. Refuses: knowing what a job is about; the ledger says that. Invariants: the ledger is the truth, and a
queue only hands work over: what it hands over twice or too late changes nothing.
"""

from interlock.dispatch.queue import Job, Queue

__all__ = ["Job", "Queue"]
