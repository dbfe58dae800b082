"""Work that is done later, and by another process perhaps: admitted, handed to workers, tried again, given up, replayed.

Owns: what is due, the queue's port, workers, and a program's handlers of events. Refuses: SQL, knowing what sends events, and
doing anything to the outside by itself: handlers ask for runs. Invariants: what is due is a row that commits with its run and
its job; a hand-over that is late or doubled changes nothing; an attempt that was lost with its process is followed by another,
and a process that falls again and again over one piece of work is not given it any more; an effect that a handler asks for by
a step's name is done once, however often the handler runs.
"""

from interlock.dispatch import sequel
from interlock.dispatch.capabilities import CapabilityExecutor
from interlock.dispatch.claiming import READY, Claiming, Seen, processing
from interlock.dispatch.comparing import Comparison, Try, compare
from interlock.dispatch.context import BlockingContext, Context
from interlock.dispatch.dispatch import WAITED_FOR, Dispatch, Drawn
from interlock.dispatch.docket import Docket
from interlock.dispatch.errors import (
    HandlerOutputInvalid,
    HandlerRaised,
    HandlerTimedOut,
    HappenedAlready,
    InvalidHandlers,
    NoDeadLetter,
    NoSuchAttempt,
    Poison,
    Reject,
    WorkerStopped,
)
from interlock.dispatch.handlers import Event, Handler, Handlers, handler
from interlock.dispatch.handling import HandlerExecutor, Unpack
from interlock.dispatch.leash import LeftBehind, held
from interlock.dispatch.letters import Letters
from interlock.dispatch.model import (
    CAPABILITY_LANE,
    MOST_COUNTED,
    NO_HANDLER,
    NO_WORKER,
    PAUSED,
    Backlog,
    Due,
    DueFilter,
    Pause,
    Priority,
    RetryPolicy,
    Scope,
    Standing,
    Stats,
    Waiting,
    Work,
    lane_of,
)
from interlock.dispatch.pausing import Pausing
from interlock.dispatch.queue import Handle, Job, Look, Queue, messaging
from interlock.dispatch.records import Handed, Records
from interlock.dispatch.saving import until_saved
from interlock.dispatch.stopping import Stopping
from interlock.dispatch.sweeping import QUEUE_AGE, Sweeping
from interlock.dispatch.worker import AT_ONCE, Executor, Worker

__all__ = [
    "AT_ONCE",
    "CAPABILITY_LANE",
    "MOST_COUNTED",
    "NO_HANDLER",
    "NO_WORKER",
    "PAUSED",
    "QUEUE_AGE",
    "READY",
    "WAITED_FOR",
    "Backlog",
    "BlockingContext",
    "CapabilityExecutor",
    "Claiming",
    "Comparison",
    "Context",
    "Dispatch",
    "Docket",
    "Drawn",
    "Due",
    "DueFilter",
    "Event",
    "Executor",
    "Handed",
    "Handle",
    "Handler",
    "HandlerExecutor",
    "HandlerOutputInvalid",
    "HandlerRaised",
    "HandlerTimedOut",
    "Handlers",
    "HappenedAlready",
    "InvalidHandlers",
    "Job",
    "LeftBehind",
    "Letters",
    "Look",
    "NoDeadLetter",
    "NoSuchAttempt",
    "Pause",
    "Pausing",
    "Poison",
    "Priority",
    "Queue",
    "Records",
    "Reject",
    "RetryPolicy",
    "Scope",
    "Seen",
    "Standing",
    "Stats",
    "Stopping",
    "Sweeping",
    "Try",
    "Unpack",
    "Waiting",
    "Work",
    "Worker",
    "WorkerStopped",
    "compare",
    "handler",
    "held",
    "lane_of",
    "messaging",
    "processing",
    "sequel",
    "until_saved",
]
