"""Polls what is due, each poll by one process: what a page brought, where the next begins and the work that it starts are one
commit. A process that lost its poll to another, since it was too slow, commits nothing more of it."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import anyio
from anyio.abc import TaskGroup

from interlock import catalog, dispatch, runs
from interlock.kernel import (
    JSON,
    UNTRACED,
    Backoff,
    Caller,
    Clock,
    IdSource,
    InterlockError,
    RequestError,
    Store,
    StoreError,
    Tracing,
    Tx,
    canonical,
    digest_bytes,
    read_json,
    to_rfc3339,
)
from interlock.triggers import retrying, webhooks
from interlock.triggers.polling import model, reading
from interlock.triggers.polling.asking import Asking, Declared
from interlock.triggers.polling.errors import PollChanged, PollNotFound
from interlock.triggers.polling.model import Poll
from interlock.triggers.polling.records import PollRecords

_log = logging.getLogger(__name__)

_CHANCE: Final = partial(Backoff(base=1.0).delay, 1)
"""Between 0 and 1."""

_BATCH: Final = 100
_AT_ONCE: Final = 8
_CURSOR_KEPT: Final = timedelta(days=7)
"""How long items without a moment of their own are known."""

_REJECTED_KNOWN: Final = timedelta(days=30)
"""How long an item that cannot be handed on is known: as long as it is kept."""

_LONGEST_REASON: Final = 500


class Poller:
    """Looks for polls that are due. Any number of processes may each have one."""

    def __init__(
        self,
        store: Store,
        records: PollRecords,
        came: webhooks.Records,
        asking: Asking,
        intake: dispatch.Dispatch,
        *,
        clock: Clock,
        ids: IdSource,
        chance: Callable[[], float] = _CHANCE,
        tracing: Tracing = UNTRACED,
    ) -> None:
        self._tracing = tracing
        self._store = store
        self._records = records
        self._came = came
        self._ids = ids
        self.asking = asking
        self._intake = intake
        self._clock = clock
        self._chance = chance
        self._under_way: set[str] = set()
        self._places = anyio.CapacityLimiter(_AT_ONCE)

    async def keep(self, *, every: float) -> None:
        """For ever, when one is due, and at least once in so many seconds. A poll that is slow holds up no other."""
        async with anyio.create_task_group() as tasks:
            while True:
                pause = every
                try:
                    if (following := await self._start_due(tasks)) is not None:
                        pause = min(every, max(0.0, (following - self._clock.now()).total_seconds()))
                except Exception as error:  # noqa: BLE001 - the host's work must not end with this
                    _log.warning("polling goes on later: %s", error)
                await self._clock.sleep(pause)

    async def poll_due(self) -> None:
        """Poll all that is due now and not under way, to the end. Raises StoreError."""
        async with anyio.create_task_group() as tasks:
            await self._start_due(tasks)

    async def _start_due(self, tasks: TaskGroup) -> datetime | None:
        """Start what is due now, as far as there is room; when the next one is due. Raises StoreError."""
        now = self._clock.now()
        limit = _BATCH + len(self._under_way)
        first = await self._store.read(lambda tx: self._records.list_next(tx, limit=limit))
        for each in first:
            if each.next_at is None or each.next_at > now:
                return each.next_at
            if len(self._under_way) >= _BATCH:
                return None  # all that may wait for a place do
            if each.trigger_id not in self._under_way:
                self._under_way.add(each.trigger_id)
                tasks.start_soon(self._poll_in_turn, each)
        return None

    async def _poll_in_turn(self, poll: Poll) -> None:
        try:
            async with self._places:
                await self.poll(poll)
        except Exception as error:  # noqa: BLE001 - it is to keep no other poll from being asked
            _log.error("%s is polled again later", poll.trigger_id, exc_info=error)
        finally:
            self._under_way.discard(poll.trigger_id)

    async def poll(self, poll: Poll) -> None:
        """Ask for all that is new, unless another process does."""
        try:
            held = await self._step(poll, model.taken(poll, self._clock.now()))
        except (PollChanged, StoreError) as error:
            _log.debug("%s is left to others: %s", poll.name, error)
            return
        try:
            facts = {"interlock.poll.id": poll.trigger_id, "interlock.tenant.id": poll.tenant_id}
            with self._tracing.span(f"poll {poll.trigger}", facts=facts):
                await self._read_on(held)
        except PollChanged:
            _log.info("%s was paused or taken by another process", poll.name)
        except StoreError as error:
            _log.warning("%s is polled again later: %s", poll.name, error)

    async def replay(self, rejected: webhooks.Delivery) -> webhooks.Delivery:
        """Hand on an item that did not fit, now that it does. Raises NotReplayable, PollNotFound, and as the catalogue."""
        found = await self._store.read(lambda tx: self._records.find(tx, rejected.tenant_id, rejected.route_id))
        if found is None:
            raise PollNotFound(rejected.route_id)
        declared = await self.asking.declared(found.tenant_id, found.trigger)
        value = read_json(rejected.body or b"null")
        if problem := _joined(catalog.compile_schema(declared.trigger.signal_schema)(value)):
            raise webhooks.NotReplayable(f"the item {rejected.external_id} is no {found.trigger} yet: {problem}")
        now = self._clock.now()
        item = reading.Item(key=rejected.external_id or rejected.delivery_id, at=rejected.received_at, value=value)

        def admit(tx: Tx) -> webhooks.Delivery:
            run_id = self._intake.admit_in(tx, _maker(found), _work(found, item, now)).run_id
            done: dict[str, JSON] = {"at": to_rfc3339(now), "runs": [{"trigger": found.trigger, "run_id": run_id}]}
            return self._came.note_replay(tx, rejected, done)

        return await self._store.write(admit)

    async def _read_on(self, held: Poll) -> None:
        before = held.found
        try:
            declared = await self.asking.declared(held.tenant_id, held.trigger)
            place: reading.Place | None = reading.begin(declared.listing, held.mark, self._clock.now())
            while place is not None:
                read = await self.asking.page(held, declared, place, held.mark)
                held, place = await self._keep(held, declared, read), read.following
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True), suppress(PollChanged, StoreError):
                await self._step(held, model.let_go(held, self._clock.now()))
            raise
        except (PollChanged, StoreError):
            raise
        except InterlockError as error:
            await self._fail(held, f"{error.code}: {error.message}", at_least=error.retry_after or 0.0)
        except Exception as error:  # noqa: BLE001 - it is to keep no other poll from being asked
            _log.error("%s cannot be polled", held.name, exc_info=error)
            await self._fail(held, f"internal_error: {type(error).__name__}", at_least=0.0)
        else:
            news = held.found > before
            now = self._clock.now()
            await self._step(held, model.ended(held, now, declared.polling, news=news, chance=self._chance()))

    async def _fail(self, held: Poll, problem: str, *, at_least: float) -> None:
        now = self._clock.now()
        await self._step(held, model.failed(held, now, problem=problem, at_least=at_least, chance=self._chance()))

    async def _keep(self, held: Poll, declared: Declared, read: reading.Read) -> Poll:
        """Commit a page: what it started, and where the poll goes on."""
        fits = catalog.compile_schema(declared.trigger.signal_schema)
        now = self._clock.now()

        def keep(tx: Tx) -> Poll:
            listed = {each.key: each for each in read.items}
            known = self._records.known(tx, held, listed)
            new = [each for key, each in listed.items() if key not in known]
            after = model.read_on(held, now, mark=read.mark, new=len(new))
            if not self._records.replace(tx, held, after):
                raise PollChanged(f"{held.name} was taken by another process")
            self._records.meet(tx, held, new, now)
            for item in new:
                problem = item.problem or _joined(fits(item.value))
                try:
                    if not problem:
                        self._intake.admit_in(tx, _maker(held), _work(held, item, now))
                except RequestError as error:
                    problem = str(error)
                if problem:
                    self._reject(tx, held, item, problem, now)
            self._records.forget(tx, held, read.forget_before or now - _CURSOR_KEPT)
            return after

        return await self._store.write(keep)

    def _reject(self, tx: Tx, held: Poll, item: reading.Item, problem: str, now: datetime) -> None:
        """Keep what cannot be handed on, as it came and once, for people to look at: it would be as wrong the next time."""
        delivery_id, body = self._ids.new("dlv"), canonical(item.value)
        rejected = webhooks.Delivery(
            delivery_id=delivery_id,
            tenant_id=held.tenant_id,
            route_id=held.trigger_id,
            connector_id=held.connector_id,
            external_id=item.key,
            digest=digest_bytes(body),
            state=webhooks.DeliveryState.REJECTED,
            reason="unfit",
            received_at=now,
            size=len(body),
            body=body,
            headers={},
            facts={"trigger": held.trigger, "poll": held.name, "why": problem[:_LONGEST_REASON]},
        )
        claim = webhooks.Claim(
            tenant_id=held.tenant_id,
            route_id=held.trigger_id,
            key=item.key,
            delivery_id=delivery_id,
            expires_at=now + _REJECTED_KNOWN,
        )
        [holder] = self._came.claim(tx, [claim], now=now)
        if holder == delivery_id:
            self._came.add_deliveries(tx, [rejected])

    async def _step(self, before: Poll, after: Poll) -> Poll:
        """Raises PollChanged if it is not this process's to change any more."""
        if not await self._store.write(lambda tx: self._records.replace(tx, before, after)):
            raise PollChanged(f"{before.name} was taken by another process")
        return after


def _joined(mismatches: Sequence[catalog.Mismatch]) -> str:
    return "; ".join(f"{each.path}: {each.expected} is expected" for each in mismatches[:5])


def _maker(poll: Poll) -> Caller:
    """Whoever made it, without the roles that they had then."""
    return Caller(tenant_id=poll.tenant_id, actor=poll.created_by)


def _work(poll: Poll, item: reading.Item, now: datetime) -> dispatch.Work:
    signal: dict[str, JSON] = {
        "type": poll.trigger,
        "source": poll.connection or poll.connector_id,
        "id": item.key,
        "at": to_rfc3339(item.at or now),
        "data": item.value,
    }
    return dispatch.Work(
        handler=poll.handler,
        payload={"signal": signal, "trigger": poll.trigger, "poll": poll.name, "config": dict(poll.config)},
        origin=runs.Origin.TRIGGER,
        priority=dispatch.Priority[poll.priority.upper()],
        retry=retrying.policy(poll.retry),
        deadline_at=retrying.deadline(poll.retry, now),
    )
