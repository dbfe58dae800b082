"""What can go wrong between here and the server, and errors of the server as they are here."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from interlock.kernel import JSON, Fault, InterlockError, Retry, StoreError, UnknownOutcome


class ServerUnreachable(StoreError):
    """The server is not there, or took no request: nothing was done."""

    code = "server_unreachable"
    next_step = "Check the address (`--server`, INTERLOCK_SERVER), and that `interlock serve` runs there."


class AnswerLost(UnknownOutcome):
    """The request left, and its answer did not come: the server may have done it."""

    code = "answer_lost"
    fault = Fault.OPERATOR
    next_step = "`interlock runs list` shows what the server did. The same --idempotency-key again never acts twice."


class NotInterlock(StoreError):
    """What answers there is no Interlock, or of another version."""

    code = "not_interlock"
    retry = Retry.AFTER_CHANGE
    next_step = "Check the address (`--server`, INTERLOCK_SERVER), and that both sides have the same version."


class RemoteError(InterlockError):
    """An error of the server that this version does not know. `code` and the rest are those that it told."""

    code = "remote_error"

    def __init__(self, told: Mapping[str, JSON]) -> None:
        super().__init__(**_facts(told))
        self.told_code = str(told.get("code", self.code))

    def to_json(self) -> dict[str, JSON]:
        """As the server told it."""
        return {**super().to_json(), "code": self.told_code}


def raised(told: Mapping[str, JSON]) -> InterlockError:
    """The error that a problem document tells, of the class that has its code here."""
    kind = next(_of_code(str(told.get("code")), InterlockError), None)
    if kind is None:
        return RemoteError(told)
    error = kind.__new__(kind)
    InterlockError.__init__(
        error, **_facts(told)
    )  # each class has arguments of its own, and the document what came of them
    return error


def _of_code(code: str, tree: type[InterlockError]) -> Iterator[type[InterlockError]]:
    if tree.code == code:
        yield tree
    for each in tree.__subclasses__():
        yield from _of_code(code, each)


def _facts(told: Mapping[str, JSON]) -> dict[str, Any]:
    details = cast("Mapping[str, JSON]", told.get("details") if isinstance(told.get("details"), Mapping) else {})
    after, run_id = details.get("retry_after"), told.get("run_id")
    return {
        "message": str(told.get("message", "the server refused")),
        "next_step": str(told.get("next_step", "")) or None,
        "retry": Retry(told["retry"]) if told.get("retry") in [*Retry] else None,
        "fault": Fault(told["fault"]) if told.get("fault") in [*Fault] else None,
        "retry_after": after if isinstance(after, int | float) else None,
        "run_id": run_id if isinstance(run_id, str) else None,
        "details": {name: value for name, value in details.items() if name != "retry_after"},
    }
