"""`il.polls`: what services report when they are asked."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from interlock.app.arguments import checked
from interlock.kernel import JSON, Caller

if TYPE_CHECKING:  # and late in the functions
    from interlock import sdk, triggers
    from interlock.app.assembly import Parts


class Polls:
    """Polls of this tenant."""

    def __init__(self, parts: "Parts", caller: Caller) -> None:
        self._parts = parts
        self._caller = caller

    @checked
    async def create(
        self,
        name: str,
        trigger: str,
        *,
        handler: str,
        connection: str | None = None,
        config: Mapping[str, JSON] | None = None,
        every: float | None = None,
        since: datetime | None = None,
        priority: Literal["low", "normal", "high"] = "normal",
        retry: "sdk.Retries | None" = None,
    ) -> "triggers.polling.Poll":
        """Ask for what is new of `trigger` (such as `github.issue_updated`) and start `handler` for each item. It is asked at
        most `every` so many seconds, more often while there is news, and never more often than the connector allows. Items
        count from now on, or from `since`. `retry`: how often its work is tried, if not as the trigger says. Raises
        InvalidPoll, PollExists, UnknownConnector, RequestError, and what the first look fails with."""
        from interlock import triggers

        if priority not in ("low", "normal", "high"):
            raise triggers.polling.InvalidPoll(f"priority is low, normal or high, not {priority!r}")
        try:
            interval = None if every is None else timedelta(seconds=every)
        except (ValueError, OverflowError) as error:
            raise triggers.polling.InvalidPoll(f"{every} seconds is no interval") from error
        return await self._parts.timed.polls.create(
            self._caller,
            name,
            trigger,
            handler=handler,
            connection=connection,
            config=config or {},
            interval=interval,
            since=since,
            priority=priority,
            retry=retry,
        )

    @checked
    async def fetch(self, poll: str) -> "triggers.polling.Poll":
        """One poll, by its name or id. Raises PollNotFound."""
        return await self._parts.timed.polls.fetch(self._caller, poll)

    @checked
    async def list(self, *, cursor: str | None = None, limit: int = 100) -> "Sequence[triggers.polling.Poll]":
        """Polls in the order of their names; go on with `cursor` = the last name."""
        return await self._parts.timed.polls.list_named(self._caller, cursor=cursor, limit=limit)

    @checked
    async def pause(self, poll: str) -> "triggers.polling.Poll":
        """Ask nothing until it is resumed. Raises PollNotFound."""
        return await self._parts.timed.polls.pause(self._caller, poll)

    @checked
    async def resume(self, poll: str) -> "triggers.polling.Poll":
        """Ask at once for all that is new since it was paused. Raises PollNotFound."""
        return await self._parts.timed.polls.resume(self._caller, poll)

    @checked
    async def delete(self, poll: str) -> "triggers.polling.Poll":
        """Keep it no more; what it started goes on. Raises PollNotFound."""
        return await self._parts.timed.polls.delete(self._caller, poll)
