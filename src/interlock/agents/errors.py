"""What goes wrong with agents.

ConfigurationError
└── InvalidSpec          invalid_agent_spec
ConflictError
└── UnexpectedEvent      unexpected_event
RequestError
├── InvalidOptions       invalid_operation_options
└── OperationChanged     agent_operation_changed
ProviderError
└── OperationFailed      agent_operation_failed
VerificationError
└── UnreadableJournal    unreadable_turn_journal
"""

from collections.abc import Sequence

from interlock import sdk
from interlock.kernel import (
    ConfigurationError,
    ConflictError,
    Fault,
    ProviderError,
    RequestError,
    Retry,
    VerificationError,
)


class InvalidSpec(ConfigurationError):
    """A spec, or the document that tells one, is wrong. All problems are in `problems` and in `details`."""

    code = "invalid_agent_spec"
    next_step = "Correct every place that the message names; they are all listed."

    def __init__(self, source: str, problems: Sequence[sdk.Problem]) -> None:
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problem{'' if len(self.problems) == 1 else 's'}"
        lines = "\n".join(f"  {problem}" for problem in self.problems[:50])
        super().__init__(
            f"{source} has {count}:\n{lines}",
            details={
                "source": source,
                "problems": [
                    {"path": each.path, "problem": each.problem, "suggestion": each.suggestion, "line": each.line}
                    for each in self.problems
                ],
            },
        )


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
    next_step = "Correct the options that the message names; `docs/agents.md` says which each kind takes."


class OperationChanged(RequestError):
    """What an operation comes from is another by now than when the agent's spec was made, and is not asked."""

    code = "agent_operation_changed"
    fault = Fault.OPERATOR
    next_step = "Look at what has changed, and make the spec anew; `interlock agent validate` says which operations it is about."
