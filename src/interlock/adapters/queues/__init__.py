"""Queues whose jobs are rows of the store: in process on SQLite, pgqueuer on Postgres. `make_queue` makes the right one.

Owns: the rows of jobs, who holds which, and the loop that hands them over. Refuses: knowing what a job is about. Invariants: a
job is put in the caller's transaction; who holds one beats, and one whose holder is silent is handed to another; what a late
holder says of a job that another one holds changes nothing.
"""

from interlock.adapters.queues.making import make_queue
from interlock.adapters.queues.stored import Timing

__all__ = ["Timing", "make_queue"]
