"""What goes wrong in connectors: a manifest that contradicts itself, and a service that refuses or fails.

ConfigurationError
└── InvalidDocument          invalid_document
    ├── InvalidManifest      invalid_manifest
    └── InvalidProvider      invalid_provider
RequestError
├── InvalidPathValue         invalid_path_value
└── InvalidArgument          invalid_argument
ProviderError
└── OperationFailed          every leaf says what became of the effect: none, unknown or happened
    ├── AuthFailed           auth_failed
    ├── Forbidden            provider_forbidden
    ├── ResourceNotFound     resource_not_found
    ├── ResourceConflict     resource_conflict
    ├── InvalidForProvider   invalid_for_provider
    ├── RateLimited          rate_limited
    ├── ProviderUnavailable  provider_unavailable
    ├── UnexpectedAnswer     unexpected_answer
    └── HandlerFailed        handler_failed
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from interlock.kernel import JSON, ConfigurationError, Fault, ProviderError, RequestError, Retry

EffectState: TypeAlias = Literal["none", "unknown", "happened"]
"""What a failure means for the effect: it did not happen, nobody knows, or it did."""

_SHOWN: Final = 50
"""Problems that a message names; all of them are in its details."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong in a document; `path` leads to it, such as `operations[issue.create].http.path`."""

    path: str
    problem: str
    suggestion: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        where = self.path if self.line is None else f"line {self.line}: {self.path}"
        return f"{where}: {self.problem}" + (f" ({self.suggestion})" if self.suggestion else "")

    def to_json(self) -> dict[str, JSON]:
        """For programs."""
        return {"path": self.path, "problem": self.problem, "suggestion": self.suggestion, "line": self.line}


class InvalidDocument(ConfigurationError):
    """What somebody wrote down for Interlock to read is wrong. All problems are in `problems` and in `details`."""

    code = "invalid_document"
    next_step = "Correct every place that the message names."

    def __init__(self, source: str, problems: Sequence[Problem], *, what: str | None = None) -> None:
        """`what` is wrong is said in place of the source's name."""
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problem{'' if len(self.problems) == 1 else 's'}"
        shown = [f"  {problem}".replace("\n", "\n  ") for problem in self.problems[:_SHOWN]]
        if left := len(self.problems) - len(shown):
            shown.append(f"  … and {left} more")
        lines = "\n".join(shown)
        super().__init__(
            f"{what or source} has {count}:\n{lines}",
            details={"source": source, "problems": [each.to_json() for each in self.problems]},
        )


class InvalidManifest(InvalidDocument):
    """A connector's declaration or manifest file is wrong. All problems are in `problems` and in `details`."""

    code = "invalid_manifest"

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        super().__init__(source, problems, what=f"the connector from {source}")


class InvalidProvider(InvalidDocument):
    """A provider's description, or the file that holds some, is wrong. All problems are in `problems` and in `details`."""

    code = "invalid_provider"


class InvalidPathValue(RequestError):
    """An input value cannot stand in a URL path: empty, `.` or `..`, or too long."""

    code = "invalid_path_value"


class InvalidArgument(RequestError):
    """An input value cannot stand among a command's arguments (it would be an option, or holds a NUL), or in a request that is
    made up."""

    code = "invalid_argument"
    next_step = "Give another value; only the connector's author can let options through."


class OperationFailed(ProviderError):
    """The service refused or failed. `effect` says what that means for the effect; `status` is the answer's, if any."""

    code = "operation_failed"

    def __init__(
        self,
        message: str,
        *,
        effect: EffectState = "unknown",
        status: int | None = None,
        retry: Retry | None = None,
        retry_after: float | None = None,
        details: Mapping[str, JSON] | None = None,
    ) -> None:
        known: dict[str, JSON] = {"effect": effect, **({} if status is None else {"status": status}), **(details or {})}
        super().__init__(message, retry=retry, retry_after=retry_after, details=known)
        self.effect: EffectState = effect
        self.status = status


class AuthFailed(OperationFailed):
    """The service does not accept the credential."""

    code = "auth_failed"
    retry = Retry.AFTER_CHANGE
    fault = Fault.OPERATOR
    next_step = "Connect the service again with a valid credential: `interlock connect`."


class Forbidden(OperationFailed):
    """The credential is valid but does not permit this."""

    code = "provider_forbidden"
    retry = Retry.AFTER_CHANGE
    fault = Fault.OPERATOR
    next_step = "Give the account or token the permission at the service, or use another connection."


class ResourceNotFound(OperationFailed):
    """The service knows no such thing, or does not show it to this account."""

    code = "resource_not_found"
    retry = Retry.AFTER_CHANGE
    fault = Fault.CALLER
    next_step = "Check the names and numbers in the input, and that the connection's account can see them."


class ResourceConflict(OperationFailed):
    """The thing at the service is in a state that does not allow this."""

    code = "resource_conflict"
    retry = Retry.AFTER_CHANGE
    fault = Fault.CALLER
    next_step = "Read the thing's present state and decide again."


class InvalidForProvider(OperationFailed):
    """The service refused the input."""

    code = "invalid_for_provider"
    retry = Retry.AFTER_CHANGE
    fault = Fault.CALLER
    next_step = "Correct the input as the service's message says."


class RateLimited(OperationFailed):
    """The service asks to wait; `retry_after` is in seconds where it said how long."""

    code = "rate_limited"
    retry = Retry.LATER
    next_step = "Wait as long as the service asks, then send the request again."


class ProviderUnavailable(OperationFailed):
    """The service failed or is down."""

    code = "provider_unavailable"
    retry = Retry.LATER
    next_step = "Try again later; look at the service's status page."


class UnexpectedAnswer(OperationFailed):
    """The service answered in a way that its declaration does not know."""

    code = "unexpected_answer"
    retry = Retry.NEVER
    next_step = (
        "Compare the service's documentation, and the answer's status (`interlock runs show RUN`), with the connector's "
        "declaration: it may need an update."
    )


class HandlerFailed(OperationFailed):
    """A connector's Python handler raised something of its own, or broke its protocol."""

    code = "handler_failed"
    retry = Retry.NEVER
    next_step = "This is a defect of the connector; report it to its author."


FAILURES: Final[Mapping[str, type[OperationFailed]]] = {
    leaf.code: leaf
    for leaf in (
        AuthFailed,
        Forbidden,
        ResourceNotFound,
        ResourceConflict,
        InvalidForProvider,
        RateLimited,
        ProviderUnavailable,
        UnexpectedAnswer,
    )
}
"""What an error rule may call an answer."""
