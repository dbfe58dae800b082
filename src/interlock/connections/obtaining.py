"""Fetching tokens as a profile's grant says, by one request or by several in a row."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeAlias

from interlock import sdk
from interlock.connections import answer, exchange
from interlock.connections.answer import Tokens
from interlock.connections.errors import GrantRefused
from interlock.connections.exchange import Client, Errand
from interlock.connections.shapes import Answer

Send: TypeAlias = Callable[[Errand], Awaitable[Answer]]
"""Carries out one errand through the plane. What it raises says whether anything was sent."""


Run: TypeAlias = Callable[[Sequence[str]], Awaitable[bytes]]
"""Runs a program of this machine, and returns what it printed. Raises ErrandFailed."""


async def obtain(
    profile: sdk.AuthProfile,
    values: sdk.fill.Values,
    *,
    client: Client | None,
    send: Send,
    run: Run | None,
    at: datetime,
) -> Tokens:
    """The tokens that the grant gives for these values (`exchange.known`, and what the flow adds). Raises GrantRefused, and what
    `send` raises."""
    try:
        return await _obtained(profile.grant, values, client, send, run, at)
    except GrantRefused as refused:
        if client is not None or refused.reason != "invalid_client":
            raise
        # Who asks as nobody is refused for what was given.
        raise GrantRefused("invalid_grant", refused.detail) from refused


async def _obtained(
    grant: sdk.grants.Grant,
    values: sdk.fill.Values,
    client: Client | None,
    send: Send,
    run: Run | None,
    at: datetime,
) -> Tokens:
    if isinstance(grant, sdk.grants.TokenExchange):
        known = await _in_steps(grant.steps[:-1], values, client, send)
        return answer.read(grant.steps[-1].answer, await send(exchange.build(grant.steps[-1], known, client=client)))
    if isinstance(grant, sdk.grants.NativeCli) and run is not None:
        return answer.read_printed(grant, await run(grant.argv), asked_at=at)
    if isinstance(grant, sdk.grants.GithubApp) and "code" in values:
        await _in_steps(grant.confirm, values, client, send)
    request = sdk.grants.exchanges(grant).get("token")
    if request is not None:
        tokens = answer.read(request.answer, await send(exchange.build(request, values, client=client)))
        return tokens.within(grant.idle_seconds, at=at) if isinstance(grant, sdk.grants.Session) else tokens
    if isinstance(grant, sdk.grants.JwtBearer):
        return exchange.self_signed(grant, values, at=at)
    raise GrantRefused("unsupported", f"the grant {grant.type!r} fetches no token")


async def _in_steps(
    steps: Sequence[sdk.grants.Exchange], values: sdk.fill.Values, client: Client | None, send: Send
) -> dict[str, sdk.fill.Value]:
    """The values, and what the steps have answered."""
    known = dict(values)
    for number, step in enumerate(steps, start=1):
        told = await send(exchange.build(step, known, client=client))
        known |= answer.read_step(step.answer, told, number=number)
    return known
