"""`memory.Shelf`: tables in a Postgres database, in a schema of their own and never the ledger's."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from hashlib import sha256
from typing import Final, Self, TypeVar

import anyio.to_thread
import psycopg
from psycopg import sql

from interlock import memory
from interlock.adapters.memory.postgres.errors import told
from interlock.adapters.memory.postgres.links import Link, Links
from interlock.adapters.memory.postgres.opening import is_enforced, prepare
from interlock.adapters.memory.postgres.place import Place, Standing
from interlock.adapters.memory.postgres.rows import PostgresRows
from interlock.adapters.memory.postgres.schema import SETTINGS
from interlock.kernel import canonical

T = TypeVar("T")

_PLANS: Final = {
    # Its process is frozen or cut off, and others wait for what it has locked.
    "idle_in_transaction_session_timeout": "15s",
    # A search takes a moment: to compile it, or to join a hundred thousand rows on the disk, takes longer.
    "jit": "off",
    "work_mem": "32MB",
}
"""How each transaction is carried out."""

_AGAIN: Final = "Look for it, or repeat it: with the same idempotency key it is kept once."
_READ: Final = sql.SQL("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
_WRITE: Final = sql.SQL("BEGIN ISOLATION LEVEL READ COMMITTED")


class PostgresShelf:
    """A database, with a few connections. Each transaction says its scope, until it ends."""

    def __init__(self, place: Place, *, size: int) -> None:
        self._place = place
        self._links = Links(place.address, size)
        self._turns = anyio.CapacityLimiter(size)
        self._writers = anyio.CapacityLimiter(max(1, size - 1))  # those who wait for another's write keep no reader
        self.standing: Standing

    @classmethod
    async def open(cls, place: Place, *, size: int) -> Self:
        """The tables, made if they are not there. Raises InvalidConfig, ProviderUnavailable."""
        shelf = cls(place, size=size)
        try:
            shelf.standing = await shelf._in_turn(lambda link: prepare(link, place))
        except BaseException:
            await shelf.close()
            raise
        return shelf

    async def write(self, scope: memory.Scope, act: Callable[[memory.Rows], T]) -> T:
        async with self._writers:
            return await self._in_turn(lambda link: self._transaction(link, scope, act, writes=True))

    async def read(self, scope: memory.Scope, act: Callable[[memory.Rows], T]) -> T:
        return await self._in_turn(lambda link: self._transaction(link, scope, act, writes=False))

    async def health(self) -> memory.Health:
        holds = await self._in_turn(lambda link: is_enforced(link, self._place))
        detail = "" if holds else "row-level security does not hold this role: the queries alone keep scopes apart"
        return memory.Health(ok=holds or not self._place.needs_row_security, detail=detail)

    async def close(self) -> None:
        self._links.close()

    async def _in_turn(self, act: Callable[[Link], T]) -> T:
        """What is done with a connection. Whoever is no longer waited for loses it at once, so that a server which does not
        answer keeps nobody."""
        turn = _Turn()
        try:
            return await anyio.to_thread.run_sync(self._do, turn, act, abandon_on_cancel=True, limiter=self._turns)
        finally:
            turn.end()

    def _do(self, turn: "_Turn", act: Callable[[Link], T]) -> T:
        with told(str(self._place)):
            while True:
                link = self._links.take()
                try:
                    with turn.holding(link):
                        return act(link)
                except _Stale:
                    self._links.drop()  # they are as old as this one; a new one is not
                finally:
                    self._links.give(link)

    def _transaction(self, link: Link, scope: memory.Scope, act: Callable[[memory.Rows], T], *, writes: bool) -> T:
        try:
            link.together(_WRITE if writes else _READ, self._said(scope, writes=writes))
        except psycopg.OperationalError as error:
            if link.is_lost and link.used:
                raise _Stale from error
            raise
        try:
            done = act(PostgresRows(link, scope, has_vectors=self._place.has_vectors))
        except BaseException:
            link.roll_back()
            raise
        try:
            link.together(sql.SQL("COMMIT"))
        except psycopg.OperationalError as error:
            if writes and link.is_lost:
                message = f"the connection to {self._place} was lost while it kept this: nobody can tell whether it did"
                raise memory.ProviderUnavailable(message, next_step=_AGAIN) from error
            raise
        return done

    def _said(self, scope: memory.Scope, *, writes: bool) -> sql.Composable:
        """Whose rows the transaction sees. Those that write into one tenant do so one after the other: what one finds is still
        so when it has written."""
        settings = dict(zip(SETTINGS, (part or "" for part in scope.parts), strict=True))
        settings |= {"search_path": self.standing.path, **_PLANS}
        parts = [
            sql.SQL("set_config({}, {}, true)").format(sql.Literal(name), sql.Literal(value))
            for name, value in settings.items()
        ]
        if writes:
            parts.append(sql.SQL("pg_advisory_xact_lock({})").format(sql.Literal(_lock(self._place.schema, scope))))
        return sql.SQL("SELECT {}").format(sql.SQL(", ").join(parts))


class _Stale(Exception):
    """A connection that was kept, and was lost before anything was done with it."""


class _Turn:
    """What somebody does with a connection, until it is done or nobody waits for it any longer."""

    def __init__(self) -> None:
        self._link: Link | None = None
        self._ended = False
        self._lock = threading.Lock()

    @contextmanager
    def holding(self, link: Link) -> Generator[None]:
        """While it is used."""
        with self._lock:
            self._link = link
            if self._ended:
                link.cut()
        try:
            yield
        finally:
            with self._lock:
                self._link = None

    def end(self) -> None:
        """Whoever still uses it has an error at once."""
        with self._lock:
            self._ended = True
            if self._link is not None:
                self._link.cut()


def _lock(schema: str, scope: memory.Scope) -> int:
    """The number of the lock that the writers of a tenant take in turn."""
    named = sha256(canonical([schema, scope.tenant])).digest()
    return int.from_bytes(named[:8], "big", signed=True)
