"""Faults on demand: what goes wrong, for which requests, how often."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from interlock.testing.github.answers import Answer, Refusal

_APPLIED = frozenset(
    {"cut_before", "cut_answer", "reset", "hang", "hold", "hold_before", "late", "slow", "garbage"}
)  # fmt: skip
_REFUSED = {"status": 503, "rate_limit": 403, "secondary_limit": 403}
KINDS = _APPLIED | _REFUSED.keys()


@dataclass(slots=True, kw_only=True)
class Fault:
    """One fault; `times` counts down. `seconds` is the delay of `slow` and the reset of `rate_limit`."""

    kind: str
    match: str = "*"
    times: int = 1
    apply: bool = True
    seconds: float = 1.0
    retry_after: int | None = None
    status: int = 0

    def refusal(self) -> Answer:
        """The error with which this fault answers."""
        headers = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        message = "Server Error" if self.status >= 500 else "Refused on demand"
        if self.kind == "secondary_limit":
            headers.setdefault("retry-after", "60")
            message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
        return Refusal(self.status or 500, message, headers=headers).answer


def make_fault(
    kind: str,
    *,
    match: str = "*",
    times: int = 1,
    apply: bool | None = None,
    seconds: float = 1.0,
    retry_after: int | None = None,
) -> Fault:
    """A checked fault; `status` and `secondary_limit` take a status, as in `status:503`. Raises ValueError."""
    name, _, number = kind.partition(":")
    if name not in KINDS or (number and name not in {"status", "secondary_limit"}):
        raise ValueError(f"no fault {kind!r}; there are {', '.join(sorted(KINDS))}")
    status = int(number) if number.isdecimal() else _REFUSED.get(name, 0)
    if (number and not number.isdecimal()) or (status and not 400 <= status <= 599):
        raise ValueError(f"the status of {kind!r} is not between 400 and 599")
    if times < 1 or seconds < 0:
        raise ValueError("times is at least 1 and seconds at least 0")
    if apply and name in {"rate_limit", "secondary_limit"}:
        raise ValueError(f"a request that meets {name} is never applied")
    return Fault(
        kind=name,
        match=match,
        times=times,
        apply=name in _APPLIED if apply is None else apply,
        seconds=seconds,
        retry_after=retry_after,
        status=status,
    )


def matches(pattern: str, *, operation_id: str, line: str) -> bool:
    """Whether a glob means this request. With a space it is about `METHOD path`, else about the operation id."""
    return fnmatchcase(line if " " in pattern else operation_id, pattern)
