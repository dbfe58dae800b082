"""What is started at its time, for processes that are killed while they are at it."""

from datetime import timedelta
from typing import TYPE_CHECKING

from interlock import dispatch
from interlock.app import Interlock
from interlock.kernel import JSON, SystemClock

if TYPE_CHECKING:
    from fault_world import Order

TOKEN = "ghp_a_token_for_the_fault_tests"


@dispatch.handler("noted")
async def noted(event: dispatch.Event, context: dispatch.Context) -> None:
    """Take what was started for what it is."""


async def see_to(il: Interlock) -> None:
    """What a worker does, until nothing is left."""
    await il._parts.timed.keeper.start_due()
    await il._parts.timed.poller.poll_due()
    worker = il.worker(noted)
    while due := await il.dispatch.list():
        for each in due:
            await worker.handle(each.due.job)


async def scheduled(il: Interlock, order: "Order") -> JSON:
    """A handler and a capability are started at once."""
    now = SystemClock().now()
    await il.schedules.create(
        "call", at=now, capability="acme.issue.create", input={"repo": order.repo, "title": "one"}
    )
    await il.schedules.create("event", at=now, handler="noted")
    await see_to(il)
    return None


async def polled(il: Interlock, order: "Order") -> JSON:
    """What is there already is met by a poll, and handled."""
    await il.connections.connect_token("github", TOKEN, base_url=order.server_url)
    since = SystemClock().now() - timedelta(days=1)
    await il.polls.create("issues", "github.issue_updated", handler="noted", config={"repo": order.repo}, since=since)
    await see_to(il)
    return None
