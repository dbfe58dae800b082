"""How answers are read, as data: what an error means, how a list goes on, whether a write of unknown outcome happened."""

from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field

from interlock.kernel import Retry
from interlock.sdk.terms import FailureCode, Function, Name, Part, Status, Text


class Condition(Part):
    """What else must hold for an error rule: all that is given. `contains` ignores case; without `pointer` it looks at
    the whole body's text."""

    header: Text | None = None
    equals: str | None = None
    pointer: str | None = None
    contains: Text | None = None


class RetryAfter(Part):
    """Where the service says how long to wait: the first of seconds (or a date) in a header, a moment in a header
    (seconds since 1970), a constant number of seconds."""

    header: Text | None = None
    reset_header: Text | None = None
    seconds: float | None = Field(default=None, ge=0, le=86_400)


class ErrorRule(Part):
    """What an answer means: `status` is exact (`404`) or a class (`5xx`). The first rule that fits decides: the
    operation's, then the connector's, then the built-in ones. A status of success is a failure where a rule with a `when`
    fits. `effect` says what became of a write; left out, a refusal (4xx, but for 408) means none, and anything else unknown."""

    status: Annotated[str, Field(pattern=r"^[1-5](\d\d|xx)$")]
    when: Condition | None = None
    code: FailureCode
    retry: Retry | None = None
    retry_after: RetryAfter | None = None
    effect: Literal["none", "unknown"] | None = None


class Pagination(Part):
    """How a list goes on: by the Link header (`rel="next"`), or by a cursor in the answer that goes into an input field.
    `items` points at the list in the answer; `pages_field` is the input field that says how many pages to follow."""

    style: Literal["link", "cursor"]
    items: str = ""
    pages_field: Name = "max_pages"
    cursor: str | None = None
    cursor_field: Name | None = None


class Match(Part):
    """One comparison of a found record with what was meant. `eq`: equal (a value that is empty, null or not given must
    be absent or empty there); `set`: the same elements in any order; `subset`: each of ours is there; `contains`: their
    text holds ours. An `optional` comparison counts only if the input has the value."""

    value: Any
    op: Literal["eq", "set", "subset", "contains"] = "eq"
    optional: bool = False


def _as_match(value: object) -> object:
    """A bare template is short for equality with it."""
    given = cast("dict[str, object]", value) if isinstance(value, dict) else {}
    return given if "value" in given else {"value": cast("object", value)}


class Reconcile(Part):
    """How reading settles a write whose outcome is unknown.

    GET `path` with `query` (templates: `{input.title}`, `{input.content|base64}`, `{subject}`, `{started_at-60s}`).
    With `items` the answer is a list (further pages by the Link header) and each record is compared; without, it is one
    record. `match` maps pointers into the record (`*` = every element) to what they must equal. `since` points at a
    record's creation time; records older than the run's start, less `skew_seconds`, do not count; `newest_first` tells
    that the list is sorted by it, so that reading can stop. `absent_status` proves absence; `gone` says that absence
    is what was meant. `output` maps output properties to pointers into the record where it differs from the answer.
    Or `function`: a Python generator `module:function(operation, input, facts)` for what data cannot say.
    """

    path: Text | None = None
    query: dict[str, Any] = Field(default={})
    items: str | None = None
    match: dict[str, Annotated[Match, BeforeValidator(_as_match)]] = Field(default={})
    since: str | None = None
    skew_seconds: float = Field(default=30, ge=0, le=3600)
    newest_first: bool = False
    absent_status: tuple[Status, ...] = ()
    gone: bool = False
    output: dict[str, str] = Field(default={})
    max_pages: int = Field(default=3, ge=1, le=20)
    function: Function | None = None
