"""Fetching tokens as a profile's grant says, by one request or by several in a row."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeAlias

from interlock import sdk
from interlock.connections import answer, exchange
from interlock.connections.answer import Tokens
from interlock.connections.errors import GrantRefused
from interlock.connections.exchange import Client, Errand
from interlock.connections.shapes import Answer
from interlock.kernel import Secret

Send: TypeAlias = Callable[[Errand], Awaitable[Answer]]
"""Carries out one errand through the plane. What it raises says whether anything was sent."""


async def obtain(
    profile: sdk.AuthProfile, values: sdk.fill.Values, *, client: Client | None, send: Send, at: datetime
) -> Tokens:
    """The tokens that the grant gives for these values (`exchange.known`, and what the flow adds). Raises GrantRefused, and what
    `send` raises."""
    grant = profile.grant
    if isinstance(grant, sdk.grants.TokenExchange):
        return await _in_steps(grant, values, client, send)
    request = sdk.grants.exchanges(grant).get("token")
    if request is not None:
        return answer.read(request.answer, await send(exchange.build(request, values, client=client)))
    if isinstance(grant, sdk.grants.JwtBearer) and isinstance(signed := values["assertion"], Secret):
        ends = at + timedelta(seconds=grant.assertion.lifetime_seconds)
        return Tokens(access_token=signed, expires_at=ends)
    raise GrantRefused("unsupported", f"the grant {grant.type!r} fetches no token")


async def _in_steps(
    grant: sdk.grants.TokenExchange, values: sdk.fill.Values, client: Client | None, send: Send
) -> Tokens:
    known = dict(values)
    *before, last = grant.steps
    for number, step in enumerate(before, start=1):
        told = await send(exchange.build(step, known, client=client))
        known |= answer.read_step(step.answer, told, number=number)
    return answer.read(last.answer, await send(exchange.build(last, known, client=client)))
