"""Snapshots, written and read."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

from pydantic import ValidationError

from interlock import runs
from interlock.agents import turns
from interlock.agents.snapshots.errors import (
    ForeignSnapshot,
    InvalidSnapshot,
    SnapshotOfAnother,
    SnapshotTampered,
    SnapshotTooNew,
)
from interlock.kernel import JSON, InvalidJson, JsonLimits, canonical, from_rfc3339, parse_json, to_rfc3339

CONTRACT: Final = "interlock.agent-snapshot/v1"
LIMITS: Final = JsonLimits(max_bytes=67_108_864, max_depth=100, max_nodes=2_000_000)

_NAMED: Final = re.compile(r"interlock\.agent-snapshot/v([0-9]{1,6})\Z")
_VERSION: Final = 1
_MEMBERS: Final = frozenset(
    {"agent_id", "contract", "fingerprint", "journal_seq", "key_id", "state", "taken_at", "tenant_id"}
)

Migration: TypeAlias = Callable[[dict[str, JSON]], dict[str, JSON]]

MIGRATIONS: Final[Mapping[int, Migration]] = {}
"""By the version that each is for: what makes a snapshot of that version one of the next. They are pure, and see what was signed
once its signature holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A turn's state after its journal's event `journal_seq`. `state.turn_id` is its run."""

    tenant_id: str
    agent_id: str
    fingerprint: str
    journal_seq: int
    state: turns.State
    taken_at: datetime
    key_id: str


def dump(
    signer: runs.Signer, state: turns.State, *, tenant_id: str, agent_id: str, journal_seq: int, taken_at: datetime
) -> bytes:
    """A snapshot, signed."""
    said: dict[str, JSON] = {
        "contract": CONTRACT,
        "tenant_id": tenant_id,
        "agent_id": agent_id,
        "fingerprint": state.fingerprint,
        "journal_seq": journal_seq,
        "state": state.model_dump(mode="json"),
        "taken_at": to_rfc3339(taken_at),
        "key_id": signer.key_id,
    }
    return canonical({**said, "signature": signer.sign(canonical(said))})


def load(
    data: bytes,
    *,
    keys: Mapping[str, str],
    tenant_id: str,
    fingerprint: str | None = None,
    migrations: Mapping[int, Migration] = MIGRATIONS,
) -> Snapshot:
    """What a snapshot says, once its signature by one of the trusted `keys` holds. With a `fingerprint`, it has to be of that
    spec. Raises InvalidSnapshot, SnapshotTooNew, ForeignSnapshot, SnapshotTampered, SnapshotOfAnother."""
    said, signature, version = _read(data)
    key_id = str(said["key_id"])
    if (key := keys.get(key_id)) is None:
        raise ForeignSnapshot(f"the snapshot is signed with the key {key_id[:80]}, which is not trusted here")
    if not isinstance(signature, str) or not runs.is_signed(canonical(said), signature, key):
        raise SnapshotTampered(f"the snapshot is not what was signed with the key {key_id[:80]}")
    if said["tenant_id"] != tenant_id:
        raise ForeignSnapshot(
            "the snapshot is of another tenant",
            next_step="Begin the conversation in the tenant of its turn (`--tenant NAME`), or from a turn of this one.",
        )
    for before in range(version, _VERSION):
        if (migrate := migrations.get(before)) is None:
            raise InvalidSnapshot(f"the snapshot is of version {before}, which cannot be read any more")
        said = migrate(said)
    found = _made(said)
    if fingerprint is not None and found.fingerprint != fingerprint:
        raise SnapshotOfAnother(f"the snapshot is of a turn by {found.fingerprint}, and not by {fingerprint}")
    return found


def _read(data: bytes) -> tuple[dict[str, JSON], JSON, int]:
    try:
        value = parse_json(data, limits=LIMITS, what="snapshot", unique=True)
        canonical(value)
    except InvalidJson as error:
        raise InvalidSnapshot(error.message) from error
    except ValueError as error:
        raise InvalidSnapshot(f"the snapshot has {error}") from error
    said = value if isinstance(value, dict) else {}
    named = _NAMED.match(str(said.get("contract")))
    if named is None or not {"key_id", "signature", "tenant_id"} <= said.keys():
        raise InvalidSnapshot(f'the file does not have "contract": "{CONTRACT}", and what belongs to it')
    version = int(named[1])
    if version > _VERSION:
        raise SnapshotTooNew(f"the snapshot is of version {version}; this one of Interlock reads up to {_VERSION}")
    return said, said.pop("signature"), version


def _made(said: Mapping[str, Any]) -> Snapshot:
    if said.keys() ^ _MEMBERS:
        raise InvalidSnapshot(f"the snapshot lacks or has too much: {', '.join(sorted(said.keys() ^ _MEMBERS))[:300]}")
    try:
        state = turns.State.model_validate_json(canonical(said["state"]))
        if state.fingerprint != said["fingerprint"]:
            raise ValueError("it names two specs")
        return Snapshot(
            tenant_id=str(said["tenant_id"]),
            agent_id=str(said["agent_id"]),
            fingerprint=state.fingerprint,
            journal_seq=int(said["journal_seq"]),
            state=state,
            taken_at=from_rfc3339(said["taken_at"]),
            key_id=str(said["key_id"]),
        )
    except (ValidationError, ValueError, TypeError) as error:
        first = str(error).partition("\n")[0]
        raise InvalidSnapshot(f"the snapshot tells no state of a turn: {first[:300]}") from error
