"""What can go wrong with a run."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

import anyio

from interlock import budgets, plane, policy
from interlock.kernel import (
    JSON,
    ConflictError,
    Fault,
    InterlockError,
    InternalError,
    NotFoundError,
    RequestError,
    Retry,
    StoreError,
    UnknownOutcome,
    is_id,
)


class StaleRun(InternalError):
    """The run has moved on: another worker holds it, or it has ended. Nothing was written."""

    code = "stale_run"
    retry = Retry.NEVER
    fault = Fault.INTERLOCK
    next_step = "Read the run again: `interlock runs show RUN`."


class RunNotFound(NotFoundError):
    """No such run in this tenant."""

    code = "run_not_found"
    next_step = "`interlock runs list` shows the runs of this tenant."


class RunArchived(RunNotFound):
    """The run has left the ledger; `details` says which packet of which archive it is."""

    code = "run_archived"
    next_step = "`interlock review export RUN -o packet.json` takes its packet out of the archive."


class IdempotencyConflict(ConflictError):
    """The idempotency key is taken by another request."""

    code = "idempotency_conflict"
    next_step = "Use a new key, or send exactly the request that the key was first used for, as the same actor."


class InputHoldsSecret(RequestError):
    """The input, or another text of the request that is recorded, holds the very credential that the connection keeps secret."""

    code = "input_holds_secret"
    next_step = "Take the credential out; Interlock adds it to the request by itself."


class SandboxNotEnforced(RequestError):
    """A sandbox is demanded, and no target class that the call accepts enforces it. Nothing was sent.

    `details` has the `level`, what each accepted class `lacks` of it, and the classes that are `enforcing` it.
    """

    code = "sandbox_not_enforced"
    retry = Retry.AFTER_CHANGE
    next_step = (
        "Accept a target class that enforces it and is on this node (`interlock node describe`), or demand less: the call's "
        "`sandbox`, the rule's, or the operation's. docs/plane.md says what each level means."
    )

    def __init__(
        self,
        capability_id: str,
        level: str,
        *,
        lacking: Mapping[str, Sequence[str]] | None = None,
        handler: bool = False,
    ) -> None:
        by = plane.enforcing(level)
        if handler:
            why = "its handler is Python code in this process or in a child of it, and neither is confined"
        else:
            why = "; ".join(f"{name} lacks {', '.join(missing)}" for name, missing in (lacking or {}).items())
        super().__init__(
            f"{capability_id} is to run at sandbox level {level!r}, which no target class that it accepts enforces: {why} "
            f"(enforced by {', '.join(by)})",
            details={
                "level": level,
                "lacks": {name: list(missing) for name, missing in (lacking or {}).items()},
                "enforcing": list(by),
            },
        )


class ManifestChanged(RequestError):
    """The connector was updated while the run waited, and the operation is no longer the one that was admitted."""

    code = "manifest_changed"
    retry = Retry.AFTER_CHANGE
    next_step = (
        "If the run waits, look at what it did and record what you saw (`interlock runs settle RUN --happened`); else send "
        "the request again under the connector's present version."
    )


class DeadlinePassed(InterlockError):
    """The call took longer than its timeout."""

    code = "deadline_passed"
    retry = Retry.LATER
    fault = Fault.PROVIDER
    next_step = "Try again, or give the call a longer timeout."


class OwnershipLapsed(InternalError):
    """This process let its lease lapse; another one may have taken its runs over."""

    code = "ownership_lapsed"
    retry = Retry.NEVER
    next_step = (
        "Do not ask again: recovery goes on with the run, and `interlock runs show RUN` tells what became of it."
    )


class RunCancelled(InterlockError):
    """Somebody cancelled the run before its effect left."""

    code = "run_cancelled"
    retry = Retry.NEVER
    fault = Fault.CALLER
    next_step = "Send the request again if it is still wanted, under a new key if it had an idempotency key."


class NotCancellable(ConflictError):
    """The run has ended already."""

    code = "not_cancellable"
    next_step = "Look at how it ended: `interlock runs show RUN`."


class RunNotHeld(ConflictError):
    """Only a run that waits for an approval can be executed by one."""

    code = "run_not_held"
    next_step = "Look at where the run stands: `interlock runs show RUN`."


class OverBudget(InterlockError):
    """A budget is used up; the approved run keeps its approval and can be executed later."""

    code = "over_budget"
    retry = Retry.LATER
    fault = Fault.OPERATOR
    next_step = "Execute it again later: `interlock approvals approve ID`, or raise the budget."


class RefusedByPolicy(InterlockError):
    """Policy allowed the run when it was asked for, and no longer does, now that a worker has come to it. Nothing was sent."""

    code = "refused_by_policy"
    retry = Retry.AFTER_CHANGE
    fault = Fault.OPERATOR
    next_step = "Change the rule that the message names and replay the run (`interlock runs replay RUN`), or ask anew."

    @classmethod
    def of(cls, verdict: policy.Decision, *, run_id: str) -> "RefusedByPolicy":
        """What the verdict says. Shed is for a while: it may be tried later."""
        text = "; ".join(reason.text for reason in verdict.reasons if reason.effect is verdict.effect)
        later = verdict.effect is policy.Effect.SHED
        return cls(f"policy says {verdict.effect} by now: {text}", retry=Retry.LATER if later else None, run_id=run_id)


def over_budget(taken: budgets.Exhausted, *, run_id: str) -> OverBudget:
    """What an approved run, which keeps its approval, is told."""
    if taken.retry_after is not None:
        return OverBudget(taken.text, retry_after=taken.retry_after, run_id=run_id)
    step = "Raise the budget's limit and execute it again (`interlock approvals approve ID`), or ask anew for less."
    return OverBudget(taken.text, retry=Retry.AFTER_CHANGE, next_step=step, run_id=run_id)


class AttemptLost(InterlockError):
    """The process that carried the attempt out went away, or could not record what came of it."""

    code = "attempt_lost"
    retry = Retry.LATER
    fault = Fault.INTERLOCK
    next_step = "Nothing is needed: recovery reads what happened and goes on."


class AttemptOver(InternalError):
    """A connector's code went on sending after its attempt had ended."""

    code = "attempt_over"
    next_step = "Nothing was sent. This is a defect of the connector: it left a task behind; report it to its author."


class RunNotWaiting(ConflictError):
    """Only a run whose outcome is unknown can be settled."""

    code = "run_not_waiting"
    next_step = "Look at where the run stands: `interlock runs show RUN`."


class NotHappened(InterlockError):
    """A person looked at the service, and the effect had not happened."""

    code = "not_happened"
    retry = Retry.AFTER_CHANGE
    fault = Fault.PROVIDER
    next_step = "If it is still wanted, send it again under a new idempotency key: this one tells this answer."


class RunFailed(InterlockError):
    """A run that failed in an earlier call, told again. `code` and the rest are those of the recorded error."""

    code = "run_failed"

    def __init__(self, recorded: Mapping[str, JSON], *, run_id: str) -> None:
        details = recorded.get("details")
        after = details.get("retry_after") if isinstance(details, Mapping) else None
        super().__init__(
            str(recorded.get("message", "the run failed")),
            next_step=str(recorded.get("next_step", "")) or None,
            retry=Retry(str(recorded.get("retry", Retry.NEVER))),
            fault=Fault(str(recorded.get("fault", Fault.INTERLOCK))),
            retry_after=after if isinstance(after, int | float) else None,
            run_id=run_id,
            details=details if isinstance(details, Mapping) else None,
        )
        self.recorded_code = str(recorded.get("code", self.code))

    def to_json(self) -> dict[str, JSON]:
        """As recorded."""
        return {**super().to_json(), "code": self.recorded_code}


class OutcomeUnsaved(UnknownOutcome):
    """A write left, or may have, and the store failed before its outcome was recorded: sending it again may do it twice."""

    code = "outcome_unsaved"
    fault = Fault.OPERATOR
    next_step = "Mend the store, then run `interlock runs recover`: it reads the service and settles the run."


class GivenUp(UnknownOutcome):
    """Somebody gave the run up before anybody knew whether it happened."""

    code = "given_up"
    next_step = (
        "Look at the service. If it did not happen and is still wanted, send the request again, under a new "
        "idempotency key if it had one: that one tells this answer."
    )


class ArtifactNotFound(NotFoundError):
    """No such artifact in this tenant."""

    code = "artifact_not_found"
    next_step = "`interlock runs show RUN` names a run's artifacts."


class ArtifactDamaged(StoreError):
    """An artifact's content is not what its digest says."""

    code = "artifact_damaged"
    retry = Retry.NEVER
    next_step = "The blob store has changed or lost the content; restore it from a backup."


class ArchiveBusy(ConflictError):
    """Another process is archiving runs of this tenant, or was until just now."""

    code = "archive_busy"
    retry = Retry.LATER
    next_step = "Let it finish. If it was killed, ask again in two minutes: this goes on where it was."


class ArchiveDamaged(StoreError):
    """An archive does not have the packet that the ledger says it has."""

    code = "archive_damaged"
    retry = Retry.NEVER
    next_step = "The file was changed or cut after it was written; restore it from a backup."


@contextmanager
def of_run(run_id: str) -> Generator[None]:
    """Errors that leave the block say which run they are about, and a cancellation does so by a note."""
    try:
        yield
    except InterlockError as error:
        error.run_id = error.run_id or run_id
        raise
    except anyio.get_cancelled_exc_class() as gone:
        gone.add_note(run_id)
        raise


def find_cancelled(gone: BaseException) -> str | None:
    """The run whose call a cancellation ended, if it ended one that was admitted: of a script and its actions, the script."""
    return next((note for note in reversed(getattr(gone, "__notes__", ())) if is_id(note, "run")), None)
