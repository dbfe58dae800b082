"""What a tenant makes under a name, such as schedules and polls: found by that or by its id, listed, changed, deleted."""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Final, Generic, Protocol, TypeVar

from interlock.kernel import Caller, Clock, ConflictError, NotFoundError, RequestError, Store, Tx

MOST: Final = 500
"""On one page."""

_TRIES: Final = 5
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


class Thing(Protocol):
    """One of them."""

    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Thing)


class NamedRecords(Protocol[T]):
    """Every method runs in the caller's transaction."""

    def insert(self, tx: Tx, thing: T, /) -> bool:
        """Keep a new one. False if the tenant has one of that name."""
        ...

    def replace(self, tx: Tx, before: T, after: T, /) -> bool:
        """Put `after` in the place of `before`, unless others changed it meanwhile: then False, and nothing is written."""
        ...

    def find(self, tx: Tx, tenant_id: str, ref: str) -> T | None:
        """The tenant's one of that name or id."""
        ...

    def list_named(self, tx: Tx, tenant_id: str, *, cursor: str | None, limit: int) -> Sequence[T]:
        """The tenant's in the order of their names, after `cursor`."""
        ...

    def delete(self, tx: Tx, thing: T, /) -> bool:
        """Keep it no more, nor what hangs on it. False if it is not there."""
        ...


class Named(Generic[T]):
    """Those of all tenants. Everything raises StoreError besides what it names."""

    def __init__(
        self,
        store: Store,
        records: NamedRecords[T],
        *,
        clock: Clock,
        missing: Callable[[str, Iterable[str]], NotFoundError],
        changed: Callable[[str], ConflictError],
    ) -> None:
        """`missing` tells of a name, and of those there are; `changed` of a change that others made meanwhile."""
        self._store = store
        self._kept = records
        self._clock = clock
        self._missing = missing
        self._changed = changed

    async def fetch(self, caller: Caller, ref: str) -> T:
        """The tenant's one of that name or id. Raises NotFoundError."""
        return await self._store.read(partial(self._fetch, caller.tenant_id, ref))

    async def list_named(self, caller: Caller, *, cursor: str | None = None, limit: int = 100) -> Sequence[T]:
        """The tenant's by their names, after `cursor`. Raises RequestError for a bad limit."""
        check_limit(limit)
        return await self._store.read(
            lambda tx: self._kept.list_named(tx, caller.tenant_id, cursor=cursor, limit=limit)
        )

    async def delete(self, caller: Caller, ref: str) -> T:
        """Keep it no more; what it started goes on. Raises NotFoundError."""

        def delete(tx: Tx) -> T:
            found = self._fetch(caller.tenant_id, ref, tx)
            if not self._kept.delete(tx, found):
                raise self._missing(ref, ())
            return found

        return await self._store.write(delete)

    async def change(self, caller: Caller, ref: str, change: Callable[[T, datetime], T]) -> T:
        """What it becomes now. Raises NotFoundError, and ConflictError where others kept changing it."""

        def step(tx: Tx) -> T | None:
            before = self._fetch(caller.tenant_id, ref, tx)
            after = change(before, self._clock.now())
            return after if self._kept.replace(tx, before, after) else None

        for _ in range(_TRIES):
            if (changed := await self._store.write(step)) is not None:
                return changed
        raise self._changed(f"{ref} is being changed by others")

    def _fetch(self, tenant_id: str, ref: str, tx: Tx) -> T:
        if (found := self._kept.find(tx, tenant_id, ref)) is None:
            known = self._kept.list_named(tx, tenant_id, cursor=None, limit=MOST)
            raise self._missing(ref, [each.name for each in known])
        return found


def check_limit(limit: int) -> None:
    """Raises RequestError."""
    if not 1 <= limit <= MOST:
        raise RequestError(f"limit must be 1 to {MOST}, not {limit}")


def name_problem(name: str, *, prefix: str) -> str | None:
    """What is wrong with a name; ids begin with `prefix`."""
    if _NAME.fullmatch(name) and not name.startswith(prefix):
        return None
    return f"a name is 1 to 63 lower-case letters, digits, '.', '_' and '-', and no id, not {name[:70]!r}"
