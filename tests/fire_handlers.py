"""What workers do in `soak_under_fire.py`: one comment for each event, which is not to be written twice. Some fail once it is."""

from collections.abc import Mapping
from typing import Any, Final
from zlib import crc32

from interlock import dispatch
from interlock.kernel import JSON

ISSUES: Final = 100
"""The comments are spread over so many, as they are where things happen: recovery reads what one of them has new."""


def name_of(payload: Mapping[str, Any]) -> str:
    """What the event is called, by what it was started with: nothing else is called so."""
    if "signal" in payload:
        return f"webhook {payload['signal']['data']['issue']['number']}"
    if "schedule" in payload:
        return f"{payload['schedule']} {payload['due_at']}"
    return f"submitted {payload['number']}"


def _chance(name: str) -> int:
    """Of a hundred, always the same."""
    return crc32(name.encode()) % 100


def is_rejected(name: str) -> bool:
    """Whether the handler gives it up once it has commented."""
    return _chance(name) == 7


@dispatch.handler("soak")
async def soak(event: dispatch.Event, context: dispatch.Context) -> JSON:
    name = name_of(event.payload)
    asked = {"repo": "acme/rocket", "issue_number": 1 + crc32(name.encode()) % ISSUES, "body": name}
    await context.invoke("github.comment.create", asked, step="say", connection=event.connection_id)
    if _chance(name) % 10 == 3 and context.attempt == 1:
        raise RuntimeError("this one fails at first")
    if is_rejected(name):
        raise dispatch.Reject("this one is given up")
    return name
