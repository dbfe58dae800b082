"""The ledger of all work, and the one path by which work is done: admit, execute, record, recover, prove.

Owns: runs, attempts, sends, events, artifacts and decisions; invoke, approval of held runs, recovery, settling; review
packets and their verification. Refuses: SQL, sockets, knowing a service. Invariants: nothing is sent before its intent is
committed; a write of unknown outcome is read about, never repeated blindly; a change applies only to the head and fence it was
drawn from; every record is covered by the run's hash chain, and the chain of an ended run is signed.
"""

from interlock.runs import packet, refs, verify, verify_archive
from interlock.runs.archive import Archive, Archives, Bundles, Page, Plan, genesis
from interlock.runs.archiving import Archiving, Done
from interlock.runs.drawing import KEY_LIFE, NEVER
from interlock.runs.editing import Edits
from interlock.runs.entries import Entry, approval_moved, data_of
from interlock.runs.errors import (
    ArchiveBusy,
    ArchiveDamaged,
    ArtifactDamaged,
    ArtifactNotFound,
    AttemptLost,
    DeadlinePassed,
    GivenUp,
    IdempotencyConflict,
    InputHoldsSecret,
    ManifestChanged,
    NotCancellable,
    OutcomeUnsaved,
    OverBudget,
    OwnershipLapsed,
    RefusedByPolicy,
    RunArchived,
    RunCancelled,
    RunFailed,
    RunNotFound,
    RunNotHeld,
    RunNotWaiting,
    SandboxNotEnforced,
    StaleRun,
    find_cancelled,
)
from interlock.runs.execution import Execution
from interlock.runs.handed import After, Following, Handed, Lost
from interlock.runs.holding import Holding
from interlock.runs.invoke import Invoker
from interlock.runs.journal import CANCEL_REQUESTED, Also, Move
from interlock.runs.ledger import WRITTEN, Admission, Admitted, AttemptEnd, Change, Ledger, RunFilter, SendEnd
from interlock.runs.model import (
    Archived,
    Artifact,
    Attempt,
    AttemptState,
    Decision,
    Delivery,
    Event,
    Kind,
    Listed,
    Origin,
    Owner,
    Purpose,
    Run,
    Send,
    State,
)
from interlock.runs.outlet import Flow, Outlet, outlet
from interlock.runs.ownership import Ownership
from interlock.runs.pressure import Pressure
from interlock.runs.reading import GIVEN_UP, History, Reading
from interlock.runs.rebuilding import asked_by
from interlock.runs.recovery import Recovered, Recovery
from interlock.runs.request import Outcome, Request
from interlock.runs.reserving import reserved, seated
from interlock.runs.resuming import Ready, Resuming
from interlock.runs.revalidation import Validator, Validators
from interlock.runs.scripts import ActionHeld, Actions
from interlock.runs.shield import shielded
from interlock.runs.signing import InvalidTrust, Signer, Trust, is_signed
from interlock.runs.steering import Seen, Steering
from interlock.runs.stepping import NOTHING_DONE, Doors, keys_of, take_step
from interlock.runs.straying import Straying
from interlock.runs.targets import TargetRefused
from interlock.runs.tasks import TASK_LIMITS, Task, TaskEnd, Tasks, Working, input_of
from interlock.runs.transitions import FINAL
from interlock.runs.wiring import Blobs, HandlerHost, Limits, OfferedTargets, Wiring
from interlock.runs.withdrawing import withdraw

__all__ = [
    "CANCEL_REQUESTED",
    "FINAL",
    "GIVEN_UP",
    "KEY_LIFE",
    "NEVER",
    "NOTHING_DONE",
    "TASK_LIMITS",
    "WRITTEN",
    "ActionHeld",
    "Actions",
    "Admission",
    "Admitted",
    "After",
    "Also",
    "Archive",
    "ArchiveBusy",
    "ArchiveDamaged",
    "Archived",
    "Archives",
    "Archiving",
    "Artifact",
    "ArtifactDamaged",
    "ArtifactNotFound",
    "Attempt",
    "AttemptEnd",
    "AttemptLost",
    "AttemptState",
    "Blobs",
    "Bundles",
    "Change",
    "DeadlinePassed",
    "Decision",
    "Delivery",
    "Done",
    "Doors",
    "Edits",
    "Entry",
    "Event",
    "Execution",
    "Flow",
    "Following",
    "GivenUp",
    "Handed",
    "HandlerHost",
    "History",
    "Holding",
    "IdempotencyConflict",
    "InputHoldsSecret",
    "InvalidTrust",
    "Invoker",
    "Kind",
    "Ledger",
    "Limits",
    "Listed",
    "Lost",
    "ManifestChanged",
    "Move",
    "NotCancellable",
    "OfferedTargets",
    "Origin",
    "Outcome",
    "OutcomeUnsaved",
    "Outlet",
    "OverBudget",
    "Owner",
    "Ownership",
    "OwnershipLapsed",
    "Page",
    "Plan",
    "Pressure",
    "Purpose",
    "Reading",
    "Ready",
    "Recovered",
    "Recovery",
    "RefusedByPolicy",
    "Request",
    "Resuming",
    "Run",
    "RunArchived",
    "RunCancelled",
    "RunFailed",
    "RunFilter",
    "RunNotFound",
    "RunNotHeld",
    "RunNotWaiting",
    "SandboxNotEnforced",
    "Seen",
    "Send",
    "SendEnd",
    "Signer",
    "StaleRun",
    "State",
    "Steering",
    "Straying",
    "TargetRefused",
    "Task",
    "TaskEnd",
    "Tasks",
    "Trust",
    "Validator",
    "Validators",
    "Wiring",
    "Working",
    "approval_moved",
    "asked_by",
    "data_of",
    "find_cancelled",
    "genesis",
    "input_of",
    "is_signed",
    "keys_of",
    "outlet",
    "packet",
    "refs",
    "reserved",
    "seated",
    "shielded",
    "take_step",
    "verify",
    "verify_archive",
    "withdraw",
]
