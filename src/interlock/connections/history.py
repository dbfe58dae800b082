"""What happened to a connection: one chain of events each, in which every event holds the hash of the one before. Pure.

The head stands in the connection's row, so an event is written with the change that it tells, or not at all.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, cast

import orjson

from interlock.connections.model import Connection
from interlock.kernel import JSON, IdSource, canonical, digest_bytes, to_rfc3339

ONLY_HERE: Final[Mapping[str, JSON]] = {"only_here": True}
"""Told of a connection that was revoked without its service being asked to end anything."""


class Happening(StrEnum):
    """What can happen. `degraded` and `reauth_required` say that a connection broke, `recovered` that it serves again."""

    CONNECTED = "connected"
    REPLACED = "replaced"
    DEGRADED = "degraded"
    RECOVERED = "recovered"
    REAUTH_REQUIRED = "reauth_required"
    REFRESHED = "refreshed"
    REFRESH_FAILED = "refresh_failed"
    CHECKED = "checked"
    LEASE_REVOKED = "lease_revoked"
    REVOKED = "revoked"
    PROVIDER_REVOKED = "provider_revoked"
    PROVIDER_REVOKE_FAILED = "provider_revoke_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Something that happened, before it has its place in the chain. It holds no secret."""

    kind: Happening
    actor: str
    reason: str | None = None
    data: Mapping[str, JSON] = field(default_factory=dict[str, JSON])


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionEvent:
    """One event of a connection's chain. `body` is its canonical JSON, `hash` that text's digest."""

    event_id: str
    connection_id: str
    tenant_id: str
    seq: int
    type: Happening
    at: datetime
    body: str
    hash: str

    def record(self) -> dict[str, JSON]:
        """The event as JSON, with its hash."""
        return {**cast("dict[str, JSON]", orjson.loads(self.body)), "hash": self.hash}

    @property
    def data(self) -> Mapping[str, JSON]:
        """What is told besides."""
        return cast("dict[str, JSON]", orjson.loads(self.body)["data"])


def genesis(connection_id: str) -> str:
    """What the first event of a connection names as its predecessor."""
    return digest_bytes(b"interlock/connection/v1:" + connection_id.encode())


def append(
    connection: Connection, told: Iterable[Told], *, ids: IdSource, at: datetime
) -> tuple[Connection, tuple[ConnectionEvent, ...]]:
    """The connection with its new head, and the events to write with it."""
    events: list[ConnectionEvent] = []
    head, seq = connection.head_hash or genesis(connection.connection_id), connection.head_seq
    for each in told:
        seq += 1
        event_id = ids.new("cev")
        body = canonical(
            {
                "actor": each.actor,
                "at": to_rfc3339(at),
                "connection_id": connection.connection_id,
                "data": each.data,
                "event_id": event_id,
                "prev": head,
                "reason": each.reason,
                "seq": seq,
                "type": each.kind.value,
            }
        )
        head = digest_bytes(body)
        events.append(
            ConnectionEvent(
                event_id=event_id,
                connection_id=connection.connection_id,
                tenant_id=connection.tenant_id,
                seq=seq,
                type=each.kind,
                at=at,
                body=body.decode(),
                hash=head,
            )
        )
    return replace(connection, head_seq=seq, head_hash=head if seq else None), tuple(events)


def check(connection: Connection, events: Sequence[ConnectionEvent]) -> str | None:
    """What is wrong with the whole chain of a connection, all of whose events these are; None if nothing is."""
    head = genesis(connection.connection_id)
    for place, event in enumerate(events, start=1):
        if digest_bytes(event.body.encode()) != event.hash:
            return f"event {place} does not have its hash: it was changed"
        facts: dict[str, Any] = orjson.loads(event.body)
        said = (facts["connection_id"], facts["seq"], facts["prev"], facts["type"], facts["at"], facts["event_id"])
        stands = (event.connection_id, event.seq, head, event.type.value, to_rfc3339(event.at), event.event_id)
        if said != stands or event.seq != place or event.connection_id != connection.connection_id:
            return f"event {place} does not follow the one before it: events were moved, added or cut"
        head = event.hash
    if (len(events), head) != (connection.head_seq, connection.head_hash or genesis(connection.connection_id)):
        return f"the chain's head is event {connection.head_seq}, and there are {len(events)} events"
    return None
