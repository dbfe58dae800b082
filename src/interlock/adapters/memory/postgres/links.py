"""Connections to Postgres that are kept for the next one who needs one, and can be cut from outside."""

import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import psycopg
from psycopg import conninfo, pq, sql

from interlock.kernel import Secret

CONNECT_SECONDS: Final = 10

_OURS: Final[dict[str, Any]] = {
    "application_name": "interlock-memory",
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""What the address does not say itself. A link that was cut is noticed within eleven seconds, however long the server works."""


class Link:
    """One connection. It is used by one thread at a time; another one may cut it."""

    def __init__(self, address: Secret) -> None:
        """Raises psycopg.Error."""
        theirs = conninfo.conninfo_to_dict(address.reveal())
        self._connection = psycopg.connect(
            conninfo.make_conninfo("", **(_OURS | theirs)),
            autocommit=True,  # transactions are begun and ended in words
            prepare_threshold=None,  # plans are made for what is asked, and a pooler in between need know none
        )
        # A handle of our own, for the library may close its own at any moment, and its number be somebody else's then.
        self._wire = socket.fromfd(self._connection.fileno(), socket.AF_INET, socket.SOCK_STREAM)
        self.used = False
        """Whether it has been used before, and may be gone for long."""

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What the server answers. Raises psycopg.Error."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def together(self, *statements: sql.Composable) -> None:
        """Several statements in one message. Raises psycopg.Error."""
        self._connection.execute(sql.SQL("; ").join(statements))

    def roll_back(self) -> None:
        """End the transaction, if there is one and anybody hears it."""
        with suppress(psycopg.Error):
            self._connection.execute("ROLLBACK")

    @property
    def is_idle(self) -> bool:
        """Whether it is there, and in no transaction."""
        return self._connection.info.transaction_status is pq.TransactionStatus.IDLE

    @property
    def is_lost(self) -> bool:
        """Whether it is there no longer."""
        return self._connection.info.transaction_status is pq.TransactionStatus.UNKNOWN

    def cut(self) -> None:
        """Whoever waits for an answer has an error at once."""
        with suppress(OSError):
            self._wire.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give it up."""
        self._connection.close()
        self._wire.close()


class Links:
    """What is kept of them."""

    def __init__(self, address: Secret, size: int) -> None:
        self._address = address
        self._size = size
        self._idle: list[Link] = []
        self._closed = False
        self._lock = threading.Lock()

    def take(self) -> Link:
        """One that is free, or a new one. Raises psycopg.Error."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return Link(self._address)

    def give(self, link: Link) -> None:
        """Keep it for the next one, if it can be used again."""
        with self._lock:
            if not self._closed and link.is_idle and len(self._idle) < self._size:
                link.used = True
                self._idle.append(link)
                return
        link.close()

    def drop(self) -> None:
        """Close those that are kept."""
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle:
            link.close()

    def close(self) -> None:
        """Close those that are kept, and keep none from now on."""
        self._closed = True
        self.drop()
