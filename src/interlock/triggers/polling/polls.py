"""A tenant's polls: made, shown, paused, resumed, deleted."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Literal

from interlock import catalog, dispatch, sdk
from interlock.kernel import JSON, Caller, Clock, IdSource, Store, Tx
from interlock.triggers import retrying
from interlock.triggers.named import Named, check_limit, name_problem
from interlock.triggers.polling import model, reading
from interlock.triggers.polling.asking import Asking, Declared
from interlock.triggers.polling.errors import InvalidPoll, PollChanged, PollExists, PollNotFound
from interlock.triggers.polling.model import Poll, State
from interlock.triggers.polling.reading import Item
from interlock.triggers.polling.records import PollRecords

FIRST_LOOK: Final = timedelta(hours=1)
"""How far back a new poll looks for what is there already: clocks of services differ from ours."""


class Polls(Named[Poll]):
    """Everything raises StoreError besides what it names."""

    def __init__(self, store: Store, records: PollRecords, asking: Asking, *, clock: Clock, ids: IdSource) -> None:
        super().__init__(store, records, clock=clock, missing=PollNotFound, changed=PollChanged)
        self._records = records
        self._asking = asking
        self._ids = ids

    async def create(
        self,
        caller: Caller,
        name: str,
        trigger: str,
        *,
        handler: str,
        connection: str | None = None,
        config: Mapping[str, JSON],
        interval: timedelta | None = None,
        since: datetime | None = None,
        priority: Literal["low", "normal", "high"] = "normal",
        retry: sdk.Retries | None = None,
    ) -> Poll:
        """Start `handler` for each item that is new from now on, or since a moment. The service is asked for what is there
        already, so what is wrong with the connection or the config is told at once. What is asked is asked as its maker,
        without roles. `retry` is how often the handler's work is tried, if not as the trigger says. Raises InvalidPoll,
        PollExists, UnknownConnector, RequestError, and what the call fails with.
        """
        now, declared = self._clock.now(), await self._asking.declared(caller.tenant_id, trigger)
        if (problem := name_problem(name, prefix="trg_")) is not None:
            raise InvalidPoll(problem)
        tried = _tried(retry, declared, handler, config)
        pause = _interval(interval, declared)
        made = Poll(
            trigger_id=self._ids.new("trg"),
            tenant_id=caller.tenant_id,
            name=name,
            trigger=trigger,
            connection=connection,
            handler=handler,
            config=config,
            priority=priority,
            interval=pause,
            pace=pause,
            state=State.ACTIVE,
            next_at=now,
            retry=tried,
            mark=None if since is None else reading.mark_at(since),
            created_by=caller.actor,
            created_at=now,
            updated_at=now,
        )
        made, met = (made, []) if since is not None else await self._look(made, declared)
        if not await self._store.write(partial(self._keep, made, met)):
            raise PollExists(f"there is a poll {name!r} already")
        return made

    def _keep(self, made: Poll, met: Sequence[Item], tx: Tx) -> bool:
        kept = self._records.insert(tx, made)
        if kept:
            self._records.meet(tx, made, met, made.created_at)
        return kept

    async def _look(self, poll: Poll, declared: Declared) -> tuple[Poll, list[Item]]:
        """The poll with the mark from which on all is new, and what it has met there."""
        mark = None if declared.listing.moment is None else reading.mark_at(poll.created_at - FIRST_LOOK)
        place, met = reading.begin(declared.listing, mark, poll.created_at), dict[str, Item]()
        following: reading.Place | None = place
        while following is not None:
            read = await self._asking.page(poll, declared, following, mark)
            met.update((each.key, each) for each in read.items)
            following, mark = read.following, read.mark
        return replace(poll, mark=mark), list(met.values())

    async def list_made(self, caller: Caller, *, cursor: str | None = None, limit: int = 100) -> Sequence[Poll]:
        """The tenant's polls in the order of their ids, after `cursor`. Raises RequestError for a bad limit."""
        check_limit(limit)
        return await self._store.read(
            lambda tx: self._records.list_made(tx, caller.tenant_id, cursor=cursor, limit=limit)
        )

    async def pause(self, caller: Caller, ref: str) -> Poll:
        """Ask nothing until it is resumed. Raises PollNotFound, PollChanged."""
        return await self.change(caller, ref, model.paused)

    async def resume(self, caller: Caller, ref: str, *, retry: sdk.Retries | None = None) -> Poll:
        """Ask at once for all that is new since it was paused; also one that waits after failures. `retry`: the work of items is
        tried so often from now on. Raises PollNotFound, PollChanged, RequestError."""
        if retry is not None:
            retrying.policy(retry)
        return await self.change(caller, ref, partial(model.resumed, retry=retry))


def _tried(asked: sdk.Retries | None, declared: Declared, handler: str, config: Mapping[str, JSON]) -> sdk.Retries:
    """How often the work of items is tried. Raises InvalidPoll, RequestError for work that cannot be asked for."""
    found = asked or declared.trigger.retry or sdk.Retries()
    dispatch.Work(handler=handler, payload={}, retry=retrying.policy(found))  # which knows what may be asked for
    if mismatches := catalog.compile_schema(declared.trigger.config_schema)(dict(config)):
        name = f"{declared.connector_id}.{declared.trigger.trigger_id}"
        raise InvalidPoll(f"the config does not fit {name}: {'; '.join(map(str, mismatches))}")
    return found


def _interval(given: timedelta | None, declared: Declared) -> timedelta:
    polling = declared.polling
    seconds = polling.default_seconds if given is None else given.total_seconds()
    if not polling.min_seconds <= seconds <= 86_400:
        raise InvalidPoll(
            f"{declared.connector_id} is asked every {polling.min_seconds:g} to 86400 seconds, not {seconds:g}"
        )
    return timedelta(seconds=seconds)
