"""Postgres: connections as we want them, and what its errors mean."""

from typing import Any, Final

import psycopg
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError

from interlock.adapters.sql.address import PostgresDatabase
from interlock.adapters.sql.errors import (
    GRANT,
    RowRefused,
    StoreBusy,
    StoreDamaged,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)
from interlock.kernel import InterlockError, RequestError

CONNECT_SECONDS = 10

IDLE_MS = 5_000
"""How long a transaction may stand still before the server ends it: its process is frozen, or cut off, and what it has locked is
wanted by others. Ours do nothing but speak to the server."""

_IDLE, _INTERVAL, _COUNT, _UNHEARD_MS = 5, 2, 3, 10_000
_LINK: Final = {
    "keepalives_idle": _IDLE,
    "keepalives_interval": _INTERVAL,
    "keepalives_count": _COUNT,
    "tcp_user_timeout": _UNHEARD_MS,
}
"""How a connection notices, within eleven seconds, that its link was cut or its server lost: no answer comes then, and no
error, and the system would wait for hours. A server that is at work answers these however long its work takes."""

_LINK_THERE: Final = (
    f"-c tcp_keepalives_idle={_IDLE} -c tcp_keepalives_interval={_INTERVAL} -c tcp_keepalives_count={_COUNT}"
    f" -c tcp_user_timeout={_UNHEARD_MS}"
)
"""The same for the server, which would keep the sessions of those that are cut off."""

_UNAVAILABLE: Final = (StoreUnavailable, "cannot be reached")
_BY_STATE: Final[dict[str, tuple[type[InterlockError], str]]] = {
    "25006": (StoreReadOnly, "is read-only"),
    "25P03": (StoreUnavailable, "ended a transaction that stood still"),
    "40001": (StoreBusy, "was changed by others at the same time, again and again"),
    "40P01": (StoreBusy, "was changed by others at the same time, again and again"),
    "42501": (StoreReadOnly, "may not be used by this user"),
    "53100": (StoreFull, "has no room left"),
    "55P03": (StoreBusy, "is locked"),
}
_BY_CLASS: Final[dict[str, tuple[type[InterlockError], str]]] = {
    "08": _UNAVAILABLE,
    "28": (StoreUnavailable, "refuses this user"),
    "53": (StoreUnavailable, "has run out of resources"),
    "57": (StoreUnavailable, "was shut down or gave up"),
    "58": (StoreUnavailable, "has trouble with its disk"),
    "XX": (StoreDamaged, "is damaged"),
}
_STEPS: Final[dict[type[InterlockError], str]] = {
    StoreReadOnly: GRANT,
    StoreDamaged: "Look at the server's log, keep a copy of the database, and restore a backup.",
}
"""What to do, where the error's own words are about files."""

RACES: Final = frozenset({"40001", "40P01", "23505"})
"""What a concurrent transaction can cause: a second try sees its result, and does the right thing."""


def sqlstate(error: Exception) -> str | None:
    """The five-letter code of a driver's error, None for anything else."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return cause.sqlstate if isinstance(cause, psycopg.Error) else None


def explain(error: Exception, *, where: object) -> Exception:
    """What a driver's error means for the caller, chained to it; any other exception as it is."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, psycopg.Error):
        return error
    state = cause.sqlstate
    if state is None and isinstance(cause, psycopg.DataError) and "NUL" in str(cause):  # the driver's own refusal
        nul = RequestError("a text has a NUL character (0x00) in it, which the store keeps nowhere")
        nul.__cause__ = error
        return nul
    if state is None:
        # Where libpq ends a statement by itself, the server being gone, psycopg names no class of errors at all.
        gone = isinstance(cause, psycopg.OperationalError) or type(cause) is psycopg.DatabaseError
        kind, what = _UNAVAILABLE if gone else (RowRefused, "refused a value")
    else:
        kind, what = _BY_STATE.get(state) or _BY_CLASS.get(state[:2]) or (RowRefused, "refused a statement")
    meaning = kind(f"{where} {what} ({' '.join(str(cause).split())})", next_step=_STEPS.get(kind))
    meaning.__cause__ = error
    return meaning


_PLANS: Final = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off"
"""Plans are made once. Without index scans forced, one that is made while the tables are empty reads them whole for ever after;
compiling such a plan would cost more than running it."""


def engine(place: PostgresDatabase, *, size: int, hot: bool = False) -> Engine:
    """SQLAlchemy with a pool of that many connections; `hot`, with plans that are made once."""
    idle = f"-c idle_in_transaction_session_timeout={IDLE_MS}"
    return create_engine(
        place.url,
        pool_size=size,
        max_overflow=0,
        connect_args={
            **_link(place),
            "application_name": "interlock",
            "options": _options(place, f"{idle} {_PLANS}" if hot else idle),
        },
    )


def connect_lane(place: PostgresDatabase) -> psycopg.Connection:
    """A connection for the hot path: each statement is its own transaction, and plans are made once."""
    return psycopg.connect(
        place.url.set(drivername="postgresql").render_as_string(hide_password=False),
        autocommit=True,
        **_link(place),
        application_name="interlock-lane",
        options=_options(place, _PLANS),
    )


def _link(place: PostgresDatabase) -> dict[str, Any]:
    """What the address does not say itself."""
    ours = {"connect_timeout": CONNECT_SECONDS, **_LINK}
    return {name: value for name, value in ours.items() if name not in place.url.query}


def _options(place: PostgresDatabase, ours: str) -> str:
    """Ours beside those of the address: given apart, they would take their place."""
    theirs = place.url.query.get("options", ())
    return " ".join([*((theirs,) if isinstance(theirs, str) else theirs), _LINK_THERE, ours])
