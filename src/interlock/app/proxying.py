"""Lists that go on over several requests of one's own."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

from interlock import sdk
from interlock.kernel import JSON

if TYPE_CHECKING:
    from interlock import runs

MAX_PAGES: Final = 1000

Send: TypeAlias = "Callable[[Mapping[str, JSON]], Awaitable[runs.Outcome]]"
"""Asks for the page of these parameters."""


async def follow(send: Send, params: Mapping[str, JSON], *, paging: sdk.Paging, pages: int) -> "runs.Outcome":
    """The last page's outcome. Its output has the bodies of all `pages`, at most so many, and whether there are `more`. A page
    that is held, denied or shed is the last, and comes alone."""
    found: list[dict[str, JSON]] = []
    while isinstance((outcome := await send(params)).output, dict):
        found.append(outcome.output)
        following = sdk.next_params(paging, params, outcome.output)
        if following is None or len(found) == pages:
            bodies: list[JSON] = [each.get("body") for each in found]
            told: dict[str, JSON] = {"status": found[-1]["status"], "headers": found[-1]["headers"]}
            return replace(outcome, output={**told, "pages": bodies, "more": following is not None})
        params = following
    return outcome
