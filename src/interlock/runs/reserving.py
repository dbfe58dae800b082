"""What a call takes of the budgets while it is under way."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio

from interlock import budgets
from interlock.runs.shield import shielded
from interlock.runs.wiring import Wiring

RENEW_WITHIN = timedelta(seconds=30)
"""A slot that expires sooner than this is renewed."""


@asynccontextmanager
async def reserved(
    wiring: Wiring, call: budgets.Call, *, holder: str, cost: Mapping[str, int]
) -> AsyncGenerator[budgets.Reservation | budgets.Exhausted]:
    """The slots of a call of that cost, for as long as the block lasts; given back however it ends. Or what is used up."""
    taken = wiring.budgets.reserve_uncounted(call, holder=holder)
    if taken is None:
        taken = await shielded(wiring.budgets.reserve(call, holder=holder, cost=cost))
    if isinstance(taken, budgets.Exhausted):
        yield taken
        return
    async with seated(wiring, taken):
        yield taken


@asynccontextmanager
async def seated(wiring: Wiring, taken: budgets.Reservation | None) -> AsyncGenerator[None]:
    """Keep the slots that were taken for as long as the block lasts; given back however it ends."""
    if not taken:
        yield
        return
    held, turn = taken, anyio.Lock()

    async def renew() -> None:
        nonlocal held
        async with turn:
            if held and held.expires_at - wiring.clock.now() < RENEW_WITHIN:
                held = await wiring.budgets.renew(held)

    try:
        with wiring.ownership.renewing(renew):
            yield
    finally:
        with anyio.CancelScope(shield=True):
            async with turn:
                # Under the turn, so that a renewal cannot take the slots again after this.
                await wiring.budgets.release(held)
