"""A tenant's polls: made, shown, paused, resumed, deleted."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Literal

from interlock import catalog, dispatch
from interlock.kernel import JSON, Caller, Clock, IdSource, RequestError, Store, Tx
from interlock.triggers.polling import model, reading
from interlock.triggers.polling.asking import Asking, Declared
from interlock.triggers.polling.errors import InvalidPoll, PollChanged, PollExists, PollNotFound
from interlock.triggers.polling.model import Poll, State
from interlock.triggers.polling.reading import Item
from interlock.triggers.polling.records import PollRecords

FIRST_LOOK: Final = timedelta(hours=1)
"""How far back a new poll looks for what is there already: clocks of services differ from ours."""

_MOST: Final = 500
_TRIES: Final = 5
_NAME: Final = re.compile(r"(?!trg_)[a-z0-9][a-z0-9._-]{0,62}")


class Polls:
    """Everything raises StoreError besides what it names."""

    def __init__(self, store: Store, records: PollRecords, asking: Asking, *, clock: Clock, ids: IdSource) -> None:
        self._store = store
        self._records = records
        self._asking = asking
        self._clock = clock
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
    ) -> Poll:
        """Start `handler` for each item that is new from now on, or since a moment. The service is asked for what is there
        already, so what is wrong with the connection or the config is told at once. What is asked is asked as its maker,
        without roles. Raises InvalidPoll, PollExists, UnknownConnector, and what the call fails with.
        """
        now, declared = self._clock.now(), await self._asking.declared(caller.tenant_id, trigger)
        if not _NAME.fullmatch(name):
            raise InvalidPoll(f"a name is 1 to 63 lower-case letters, digits, '.', '_' and '-', not {name[:70]!r}")
        dispatch.Work(handler=handler, payload={})  # which knows what a handler may be called
        if mismatches := catalog.compile_schema(declared.trigger.config_schema)(dict(config)):
            raise InvalidPoll(f"the config does not fit {trigger}: {'; '.join(map(str, mismatches))}")
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
            mark=None if since is None else reading.mark_at(since),
            created_by=caller.actor,
            created_at=now,
            updated_at=now,
        )
        made, met = (made, []) if since is not None else await self._look(made, declared)

        def keep(tx: Tx) -> bool:
            kept = self._records.insert(tx, made)
            if kept:
                self._records.meet(tx, made, met, now)
            return kept

        if not await self._store.write(keep):
            raise PollExists(f"there is a poll {name!r} already")
        return made

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

    async def fetch(self, caller: Caller, ref: str) -> Poll:
        """The tenant's poll of that name or id. Raises PollNotFound."""
        return await self._store.read(partial(self._fetch, caller.tenant_id, ref))

    async def list_polls(self, caller: Caller, *, cursor: str | None = None, limit: int = 100) -> Sequence[Poll]:
        """The tenant's polls by their names, after `cursor`. Raises RequestError for a bad limit."""
        if not 1 <= limit <= _MOST:
            raise RequestError(f"limit must be 1 to {_MOST}, not {limit}")
        return await self._store.read(
            lambda tx: self._records.list_polls(tx, caller.tenant_id, cursor=cursor, limit=limit)
        )

    async def pause(self, caller: Caller, ref: str) -> Poll:
        """Ask nothing until it is resumed. Raises PollNotFound, PollChanged."""
        return await self._change(caller, ref, model.paused)

    async def resume(self, caller: Caller, ref: str) -> Poll:
        """Ask at once for all that is new since it was paused; also one that waits after failures. Raises PollNotFound,
        PollChanged."""
        return await self._change(caller, ref, model.resumed)

    async def delete(self, caller: Caller, ref: str) -> Poll:
        """Keep it no more; what it started goes on. Raises PollNotFound."""

        def delete(tx: Tx) -> Poll:
            found = self._fetch(caller.tenant_id, ref, tx)
            if not self._records.delete(tx, found):
                raise PollNotFound(ref)
            return found

        return await self._store.write(delete)

    async def _change(self, caller: Caller, ref: str, change: Callable[[Poll, datetime], Poll]) -> Poll:
        def step(tx: Tx) -> Poll | None:
            before = self._fetch(caller.tenant_id, ref, tx)
            after = change(before, self._clock.now())
            return after if self._records.replace(tx, before, after) else None

        for _ in range(_TRIES):
            if (changed := await self._store.write(step)) is not None:
                return changed
        raise PollChanged(f"{ref} is being changed by others")

    def _fetch(self, tenant_id: str, ref: str, tx: Tx) -> Poll:
        if (found := self._records.find(tx, tenant_id, ref)) is None:
            known = self._records.list_polls(tx, tenant_id, cursor=None, limit=_MOST)
            raise PollNotFound(ref, [each.name for each in known])
        return found


def _interval(given: timedelta | None, declared: Declared) -> timedelta:
    polling = declared.polling
    seconds = polling.default_seconds if given is None else given.total_seconds()
    if not polling.min_seconds <= seconds <= 86_400:
        raise InvalidPoll(
            f"{declared.connector_id} is asked every {polling.min_seconds:g} to 86400 seconds, not {seconds:g}"
        )
    return timedelta(seconds=seconds)
