"""What GitHub's resources have in common: headers, scope, limits of time, pages, and settling by more than one reading."""

import functools
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from interlock import sdk
from interlock.kernel import JSON

HEADERS: Final = {"accept": "application/vnd.github+json", "x-github-api-version": "2022-11-28"}

# GitHub ends every request after 10 seconds, so a write that was cut off has come to its end by then; 5 more for reads
# that are served by a replica.
SETTLE_SECONDS: Final = 15

_SCOPES: Final = ("repo",)

get = functools.partial(sdk.get, scopes=_SCOPES, headers=HEADERS, conditional=True)
pages = functools.partial(get, timeout_seconds=120)  # up to 20 pages are followed, each of a second or two
post = functools.partial(sdk.post, scopes=_SCOPES, headers=HEADERS, settle_seconds=SETTLE_SECONDS)
put = functools.partial(sdk.put, scopes=_SCOPES, headers=HEADERS, settle_seconds=SETTLE_SECONDS)
patch = functools.partial(sdk.patch, scopes=_SCOPES, headers=HEADERS, settle_seconds=SETTLE_SECONDS)
delete = functools.partial(sdk.delete, scopes=_SCOPES, headers=HEADERS, settle_seconds=SETTLE_SECONDS)

Number: TypeAlias = Annotated[int, Field(ge=1)]
Text: TypeAlias = Annotated[str, Field(min_length=1)]
Sha: TypeAlias = Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$", description="A full git object name.")]
Moment: TypeAlias = Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="RFC 3339.")]
Revision: TypeAlias = Annotated[str, Field(min_length=1), sdk.slashes()]
"""A branch, a tag or a SHA."""

Side: TypeAlias = Literal["LEFT", "RIGHT"]
"""Of a diff: what was there before, or what is there now."""


class Here(sdk.Record):
    """What every output repeats: the repository as the caller named it, and the account that asked."""

    repo: str = sdk.echo("repo")
    actor: str | None = sdk.subject(description="The connection's account.")


class Listed(Here):
    """What every list repeats."""

    next_page: int | None = sdk.from_next("page", description="The page to go on with; absent on the last one.")


def rule(path: str, **reconcile: object) -> sdk.Reconcile:
    """A way to settle, for functions that choose among several or prepare the input."""
    return sdk.Reconcile.model_validate(sdk.find(path, **reconcile))


def settle(
    operation: sdk.Operation,
    rules: Sequence[sdk.Reconcile],
    input: Mapping[str, JSON],  # noqa: A002
    facts: sdk.Facts,
) -> sdk.Reconciliation:
    """Read by one rule after the other, as long as they say absent."""
    found = sdk.Reconciled(verdict=sdk.Verdict.UNCLEAR, reason="there is no rule to read by")
    for rule in rules:
        found = yield from sdk.reconciliation(operation.model_copy(update={"reconcile": rule}), input, facts)
        if found.verdict is not sdk.Verdict.ABSENT:
            break
    return found
