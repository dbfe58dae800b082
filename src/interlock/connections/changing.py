"""The one way in which a stored connection changes: by compare-and-set, together with the events that tell of it."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple, TypeAlias

from interlock.connections import errors, history
from interlock.connections.grant import is_text
from interlock.connections.history import ConnectionEvent, Told
from interlock.connections.model import Connection
from interlock.connections.ports import Records, Standing
from interlock.kernel import Caller, IdSource, Store, Tx

MAX_TRIES: Final = 5

Listener: TypeAlias = Callable[[Sequence[ConnectionEvent]], None]
"""Hears what was committed, at once and in order. It must not wait, and its errors are its own."""


class Change(NamedTuple):
    """What a connection becomes, what is told of it, and what else is written with it."""

    after: Connection
    told: Sequence[Told]
    also: Callable[[Tx], None] | None = None


class Saved(NamedTuple):
    """A connection as it was written, and the events that tell of it, for `publish` once they are committed."""

    connection: Connection
    events: Sequence[ConnectionEvent]


class Changing:
    """Reads a connection, has somebody decide what it becomes, and writes that if it is still the one that was read."""

    def __init__(self, store: Store, records: Records, *, ids: IdSource, listener: Listener | None = None) -> None:
        self._store = store
        self._records = records
        self._ids = ids
        self._listener = listener

    def look_up(self, tx: Tx, caller: Caller, ref: str) -> Standing | None:
        """The tenant's connection by id or name, if the caller may use it; None also for what can be neither."""
        # What no name can be is not asked for: a database may refuse such text.
        found = self._records.find(tx, caller.tenant_id, ref) if is_text(ref) else None
        return found if found is not None and caller.may_use(found[0].connection_id) else None

    def save(
        self, tx: Tx, connection: Connection, told: Iterable[Told], *, before: int | None, at: datetime
    ) -> Saved | None:
        """What was written. None, and nothing written, if the name is taken or the stored revision is not `before`."""
        saved = Saved(*history.append(connection, told, ids=self._ids, at=at))
        return saved if self._records.save(tx, saved.connection, before=before, events=saved.events) else None

    def publish(self, saved: Saved) -> Connection:
        """Tell who listens, once it is committed. The connection, for whoever asked for the change."""
        if saved.events and self._listener is not None:
            self._listener(saved.events)
        return saved.connection

    async def change(
        self, caller: Caller, ref: str, decide: Callable[[Standing], Change | None], *, at: datetime
    ) -> Connection:
        """The connection after the change, or as it is if `decide` wants none. `decide` is pure, and asked anew when others
        were quicker.

        Raises ConnectionNotFound, ConnectionChanged, and what `decide` raises.
        """

        def write(tx: Tx) -> Saved | None:
            standing = self.look_up(tx, caller, ref)
            if standing is None:
                raise errors.ConnectionNotFound(ref)
            wanted = decide(standing)
            if wanted is None:
                return Saved(standing[0], ())
            saved = self.save(tx, wanted.after, wanted.told, before=standing[0].revision, at=at)
            if saved is not None and wanted.also is not None:
                wanted.also(tx)
            return saved

        for _ in range(MAX_TRIES):
            if (saved := await self._store.write(write)) is not None:
                return self.publish(saved)
        raise errors.ConnectionChanged(f"connection {ref!r} is being changed by others")
