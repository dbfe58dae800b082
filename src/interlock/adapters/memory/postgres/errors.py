"""What Postgres says, as the room of memory says it."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import psycopg

from interlock import memory

_GRANT: Final = "Open it once as the owner of its tables with `grant_to`, or grant this role what docs/memory.md says."
_SETUP: Final = "Correct the address or the role, and open it again."
_ANEW: Final = "Restore its tables from a backup, or open it again to begin anew."
_NO_TABLE: Final = "42P01"
_WRONG: Final = {
    "28": ("refuses this role", _SETUP),
    "3D": ("is not there", _SETUP),
    "3F": ("is there no longer", _ANEW),
}
"""By the class of the state: what somebody has to put right."""

_AWAY: Final = {
    "08": "cannot be reached",
    "25": "is read-only, or ended a transaction that stood still",
    "40": "was changed by others at the same time",
    "53": "has run out of room or of connections",
    "55": "is locked",
    "57": "was shut down or gave up",
    "58": "has trouble with its disk",
    "XX": "is damaged",
}
"""By the class of the state: what may be well again later."""


@contextmanager
def told(where: str) -> Generator[None]:
    """Raises InvalidConfig and ProviderUnavailable for what the server says; what the contract does not know stays as it
    is. Nothing that is kept, and no password, is in a message."""
    try:
        yield
    except psycopg.Error as error:
        if (meaning := _meaning(where, error)) is None:
            raise
        raise meaning from error


def _meaning(where: str, error: psycopg.Error) -> memory.MemoryFault | None:
    state, said = error.sqlstate, error.diag.message_primary or _first_line(error)
    if state == psycopg.errors.InsufficientPrivilege.sqlstate:
        return memory.InvalidConfig(f"{where} may not be used by this role: {said}", next_step=_GRANT)
    if state is None:
        gone = isinstance(error, psycopg.OperationalError) or type(error) is psycopg.DatabaseError
        return memory.ProviderUnavailable(f"{where} cannot be reached: {said}") if gone else None
    if (wrong := _WRONG.get("3F" if state == _NO_TABLE else state[:2])) is not None:
        what, step = wrong
        return memory.InvalidConfig(f"{where} {what}: {said}", next_step=step)
    if state[:2] in _AWAY:
        return memory.ProviderUnavailable(f"{where} {_AWAY[state[:2]]}: {said}")
    return None


def _first_line(error: psycopg.Error) -> str:
    return (str(error).strip().splitlines() or ["no answer"])[0]
