"""The error tree. A failure says what went wrong, whose fault it is, what a retry would mean, and what to do next.

    InterlockError
    ├── RequestError        the caller asked for something that cannot be done as asked
    │   ├── NotFoundError       … because it names a thing that is not there (or not theirs)
    │   └── ConflictError       … because it contradicts what is already recorded
    ├── ConfigurationError  the operator's settings, files or keys are wrong or missing
    ├── ConnectionError_    a connection cannot serve: expired, revoked, wrong tenant, missing scope
    ├── ProviderError       the outside service refused or failed
    ├── PlaneError          the effect could not be carried out by the execution plane
    ├── UnknownOutcome      an effect may or may not have happened
    ├── VerificationError   evidence does not prove what it claims
    ├── StoreError          the database refused, is damaged, or is of another version
    └── InternalError       a defect of Interlock itself

The leaves live in the rooms that raise them, each with a code of its own. Denied, held and shed are values, not errors.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import ClassVar

from interlock.kernel.canonical import JSON, MAX_INTEGER, canonical


class Retry(StrEnum):
    """What sending the same request again would mean."""

    NEVER = "never"
    LATER = "later"
    AFTER_CHANGE = "after_change"


class Fault(StrEnum):
    """Who has to act."""

    CALLER = "caller"
    OPERATOR = "operator"
    PROVIDER = "provider"
    INTERLOCK = "interlock"


_RUN = re.compile(r"\bRUN\b")


class InterlockError(Exception):
    """The root. `code` is stable and machine-readable; the message is for people and may change."""

    code: ClassVar[str] = "interlock_error"
    retry: Retry = Retry.NEVER
    fault: Fault = Fault.INTERLOCK
    next_step: str = "Report this with the run id and the output of `interlock doctor`."

    def __init__(
        self,
        message: str,
        *,
        next_step: str | None = None,
        retry: Retry | None = None,
        fault: Fault | None = None,
        retry_after: float | None = None,
        run_id: str | None = None,
        details: Mapping[str, JSON] | None = None,
    ) -> None:
        """`retry_after` is in seconds, where the other side named a time.

        Every error can be kept: text and details that have no canonical JSON are replaced by what tells them.
        """
        self.message = _text(message)
        super().__init__(self.message)
        self.retry = retry or type(self).retry
        self.fault = fault or type(self).fault
        self.next_step = _text(next_step or type(self).next_step)
        self.retry_after = retry_after if retry_after is not None and abs(retry_after) <= MAX_INTEGER else None
        self.run_id = run_id
        self.details: dict[str, JSON] = _details(details) if details else {}

    def to_json(self) -> dict[str, JSON]:
        """The shape in which errors leave Interlock everywhere: CLI, HTTP, ledger."""
        details = dict(self.details)
        if self.retry_after is not None:
            details["retry_after"] = self.retry_after
        return {
            "code": self.code,
            "message": self.message,
            "retry": self.retry.value,
            "fault": self.fault.value,
            # A placeholder is for who reads the table of errors.
            "next_step": self.next_step if self.run_id is None else _RUN.sub(self.run_id, self.next_step),
            "run_id": self.run_id,
            "details": details,
        }


def _text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _details(details: Mapping[str, JSON]) -> dict[str, JSON]:
    kept = dict(details)
    try:
        canonical(kept)
    except ValueError as unfit:
        return {"left_out": _text(f"the details: {unfit}")}
    return kept


class RequestError(InterlockError):
    """The caller asked for something that cannot be done as asked."""

    code = "invalid_request"
    retry = Retry.AFTER_CHANGE
    fault = Fault.CALLER
    next_step = "Correct the request as the message says and send it again."


class NotFoundError(RequestError):
    """The request names something that does not exist in this tenant."""

    code = "not_found"


class ConflictError(RequestError):
    """The request contradicts what is already recorded."""

    code = "conflict"
    retry = Retry.NEVER


class ConfigurationError(InterlockError):
    """A setting, file, key or optional part that the operator provides is wrong or missing."""

    code = "invalid_configuration"
    retry = Retry.AFTER_CHANGE
    fault = Fault.OPERATOR
    next_step = "Correct the setting that the message names; `interlock doctor` checks all of them."


class ConnectionError_(InterlockError):  # noqa: N801 - the builtin has the plain name
    """A connection cannot serve this call."""

    code = "connection_error"
    retry = Retry.AFTER_CHANGE
    fault = Fault.OPERATOR
    next_step = "Look at `interlock connections list` and connect the service again."


class ProviderError(InterlockError):
    """The outside service refused or failed."""

    code = "provider_error"
    retry = Retry.LATER
    fault = Fault.PROVIDER
    next_step = "Look at what was sent and what came back: `interlock runs show RUN`."


class PlaneError(InterlockError):
    """The execution plane could not carry the effect out."""

    code = "plane_error"
    retry = Retry.LATER
    fault = Fault.INTERLOCK


class UnknownOutcome(InterlockError):
    """The effect may or may not have happened, and reading could not settle it."""

    code = "unknown_outcome"
    retry = Retry.NEVER
    fault = Fault.PROVIDER
    next_step = (
        "Look at the service, then record what you saw: `interlock runs settle RUN --happened` or `--not-happened`."
    )


class VerificationError(InterlockError):
    """Evidence does not prove what it claims."""

    code = "verification_failed"
    retry = Retry.NEVER
    fault = Fault.CALLER
    next_step = "Do not rely on it; ask whoever gave it to you for the original."


class StoreError(InterlockError):
    """The database refused, is damaged, or is of another version."""

    code = "store_error"
    retry = Retry.LATER
    fault = Fault.OPERATOR
    next_step = "Run `interlock doctor`."


class InternalError(InterlockError):
    """A defect of Interlock itself."""

    code = "internal_error"


def no_such(what: str, ref: str, known: Iterable[str]) -> str:
    """What is told of a name that a tenant has given to nothing; of those that are `known` the nearest."""
    near = difflib.get_close_matches(ref[:200], known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"no {what} {ref[:200]!r} in this tenant{hint}"
