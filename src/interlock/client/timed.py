"""The schedules and polls of a server."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, cast

import orjson

from interlock import sdk, triggers
from interlock.client.accounts import CHECKING
from interlock.client.link import Link, members, part, reading, rows, value
from interlock.kernel import JSON, from_rfc3339


class Schedules:
    """As `app.Schedules`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def create(
        self,
        name: str,
        *,
        cron: str | None = None,
        zone: str = "UTC",
        every: float | None = None,
        start: datetime | None = None,
        at: datetime | None = None,
        handler: str | None = None,
        capability: str | None = None,
        input: Mapping[str, JSON] | None = None,  # noqa: A002 - the domain's word
        connection: str | None = None,
        priority: triggers.schedules.Priority = "normal",
        catch_up: Literal["skip", "one", "all"] = "one",
        cap: int = 10,
    ) -> triggers.schedules.Schedule:
        """As `app.Schedules.create`."""
        asked = {
            "name": name,
            "cron": cron,
            "zone": zone,
            "every": every,
            "start": start,
            "at": at,
            "handler": handler,
            "capability": capability,
            "input": input or {},
            "connection": connection,
            "priority": priority,
            "catch_up": catch_up,
            "cap": cap,
        }
        return _schedule(await self._link.post("/schedules", asked))

    async def fetch(self, schedule: str) -> triggers.schedules.Schedule:
        """As `app.Schedules.fetch`."""
        return _schedule(await self._link.get(f"/schedules/{part(schedule)}"))

    async def list(self, *, cursor: str | None = None, limit: int = 100) -> Sequence[triggers.schedules.Schedule]:
        """As `app.Schedules.list`."""
        told = await self._link.get("/schedules", cursor=cursor, limit=limit)
        return [_schedule(each) for each in rows(told, "schedules")]

    async def preview(self, schedule: str, *, limit: int = 5) -> Sequence[datetime]:
        """As `app.Schedules.preview`."""
        told = await self._link.get(f"/schedules/{part(schedule)}/next", limit=limit)
        with reading("times"):
            return [from_rfc3339(cast("str", each)) for each in rows(told, "next")]

    async def pause(self, schedule: str) -> triggers.schedules.Schedule:
        """As `app.Schedules.pause`."""
        return _schedule(await self._link.post(f"/schedules/{part(schedule)}/pause", {}))

    async def resume(self, schedule: str) -> triggers.schedules.Schedule:
        """As `app.Schedules.resume`."""
        return _schedule(await self._link.post(f"/schedules/{part(schedule)}/resume", {}))

    async def delete(self, schedule: str) -> triggers.schedules.Schedule:
        """As `app.Schedules.delete`."""
        return _schedule(await self._link.post(f"/schedules/{part(schedule)}/delete", {}))


class Polls:
    """As `app.Polls`."""

    def __init__(self, link: Link) -> None:
        self._link = link

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
        retry: sdk.Retries | None = None,
    ) -> triggers.polling.Poll:
        """As `app.Polls.create`."""
        asked: dict[str, Any] = {
            "name": name,
            "trigger": trigger,
            "handler": handler,
            "connection": connection,
            "config": config or {},
            "every": every,
            "since": since,
            "priority": priority,
            "retry": None if retry is None else retry.model_dump(mode="json"),
        }
        return _poll(await self._link.post("/polls", asked, seconds=CHECKING))

    async def fetch(self, poll: str) -> triggers.polling.Poll:
        """As `app.Polls.fetch`."""
        return _poll(await self._link.get(f"/polls/{part(poll)}"))

    async def list(self, *, cursor: str | None = None, limit: int = 100) -> Sequence[triggers.polling.Poll]:
        """As `app.Polls.list`."""
        told = await self._link.get("/polls", cursor=cursor, limit=limit)
        return [_poll(each) for each in rows(told, "polls")]

    async def pause(self, poll: str) -> triggers.polling.Poll:
        """As `app.Polls.pause`."""
        return _poll(await self._link.post(f"/polls/{part(poll)}/pause", {}))

    async def resume(self, poll: str) -> triggers.polling.Poll:
        """As `app.Polls.resume`."""
        return _poll(await self._link.post(f"/polls/{part(poll)}/resume", {}))

    async def delete(self, poll: str) -> triggers.polling.Poll:
        """As `app.Polls.delete`."""
        return _poll(await self._link.post(f"/polls/{part(poll)}/delete", {}))


def _poll(told: JSON) -> triggers.polling.Poll:
    """Raises NotInterlock."""
    facts = members(told)
    with reading("poll"):
        retry = sdk.Retries.model_validate_json(orjson.dumps(facts["retry"]))
    return value(triggers.polling.Poll, {**facts, "retry": retry})


def _schedule(told: JSON) -> triggers.schedules.Schedule:
    """Raises NotInterlock."""
    facts = members(told)
    does = "capability" if "capability" in facts else "handler"
    with reading("schedule"):
        facts |= {
            "timing": triggers.schedules.from_json(facts["timing"]),
            "does": does,
            "subject": facts[does],
            "number": facts["runs"],
        }
    return value(triggers.schedules.Schedule, facts)
