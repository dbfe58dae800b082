"""What goes wrong with agents.

sdk.InvalidDocument
└── InvalidSpec          invalid_agent_spec
RequestError
└── InvalidContext       invalid_agent_context
NotFoundError
└── AgentNotFound        agent_not_found
ConflictError
├── UnexpectedEvent      unexpected_event
└── TurnNotResumable     agent_turn_not_resumable
RequestError
├── InvalidOptions       invalid_operation_options
└── OperationChanged     agent_operation_changed
ProviderError
├── OperationFailed      agent_operation_failed
└── TurnFailed           agent_turn_failed
UnknownOutcome
└── OperationUnclear     operation_unclear
VerificationError
└── UnreadableJournal    unreadable_turn_journal
"""

from interlock import sdk
from interlock.kernel import (
    ConflictError,
    Fault,
    NotFoundError,
    ProviderError,
    RequestError,
    Retry,
    UnknownOutcome,
    VerificationError,
)


class InvalidSpec(sdk.InvalidDocument):
    """A spec, or the document that tells one, is wrong. All problems are in `problems` and in `details`."""

    code = "invalid_agent_spec"


class AgentNotFound(NotFoundError):
    """The settings name no agent so."""

    code = "agent_not_found"
    next_step = "Check the name: `[app.agents]` of the settings has them, and `GET /v1/agents` lists them."


class UnexpectedEvent(ConflictError):
    """A turn was told of something that cannot happen where it stands: it has ended, belongs to another spec, or does not wait
    for that."""

    code = "unexpected_event"
    next_step = "Look at where the turn stands; what was told came too late, twice, or for another turn."


class OperationFailed(ProviderError):
    """An operation did not do what it was asked for. A model is told so, and may ask for something else."""

    code = "agent_operation_failed"
    retry = Retry.AFTER_CHANGE
    next_step = "Look at what the operation says; its own program has the rest."


class UnreadableJournal(VerificationError):
    """What the chain of a turn's run says is no journal of that turn: entries are missing, changed, of another run, or of a kind
    that this version does not know. Nothing is done on its word."""

    code = "unreadable_turn_journal"
    next_step = (
        "If a newer Interlock wrote it, go on with that one; else `interlock review export RUN` and `interlock review "
        "verify` tell which event was changed."
    )


class InvalidOptions(RequestError):
    """The options of an operation's source are not what sources of its kind take."""

    code = "invalid_operation_options"
    next_step = "Correct the options that the message names; `docs/agent-operations.md` says which each kind takes."


class OperationChanged(RequestError):
    """What an operation comes from is another by now than when the agent's spec was made, and is not asked."""

    code = "agent_operation_changed"
    fault = Fault.OPERATOR
    next_step = "Look at what has changed, and make the spec anew; `interlock agent validate` says which operations it is about."


class InvalidContext(RequestError):
    """The context of a turn does not fit its agent's `context_schema`."""

    code = "invalid_agent_context"
    next_step = "Correct the context as the message says: `interlock agent show FILE` tells what the agent takes."


class TurnFailed(ProviderError):
    """A turn of an agent came to no end: `details.failure` says why, and what it had done until then stays done."""

    code = "agent_turn_failed"
    retry = Retry.AFTER_CHANGE
    next_step = "`interlock agent inspect RUN` shows how far it came, and what was done."


class OperationUnclear(UnknownOutcome):
    """A process fell, or time ran out, in the middle of an operation that nobody may repeat, and nobody can tell whether it was
    done. The turn waits for a person to say so; `details.operations` names the calls."""

    code = "operation_unclear"
    next_step = (
        "Look at what the operation works on, then say what you saw: `interlock agent settle RUN CALL --happened TEXT` or "
        "`--not-happened`, and go on with `interlock agent resume RUN`; or end it: `interlock runs cancel RUN`."
    )


class TurnNotResumable(ConflictError):
    """Another process is at the turn, or it is a dead letter, of which only a replay makes a turn again."""

    code = "agent_turn_not_resumable"
    retry = Retry.LATER
    next_step = (
        "Wait for it: `interlock agent inspect RUN` shows how it stands. If its process is gone, `interlock runs recover` "
        "frees it within a minute; then resume it."
    )
