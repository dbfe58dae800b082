"""Secrets that stay in places of their own: what a connection keeps of them, and how they are read when they are needed.

A connection seals where its secrets are, so that nobody who can write to the store can lead it elsewhere.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, cast

import orjson

from interlock import sdk
from interlock.connections import errors
from interlock.connections.model import MAX_LEASE, MAX_SECRET_LENGTH, Connection, Credential, SourceKind
from interlock.connections.ports import SecretSource
from interlock.kernel import JSON, MIN_SECRET_LENGTH, Clock, Secret, canonical

SEALED_FIELD: Final = "source"
"""The one field of a sealed version that holds places."""

MAX_PLACE: Final = 1000
_PLACE: Final = re.compile(r"(?:([a-z][a-z0-9_]{0,63})=)?([a-z]+):(.+)")
_MOST_READ: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sourcing:
    """Where the secret fields of a connection are (`places`), with the fields that are no secrets (`params`) and the formulas
    that make further secrets of both (`derive`)."""

    kind: SourceKind
    places: Mapping[str, str]
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    derive: Mapping[str, str] = field(default_factory=dict[str, str])

    def record(self) -> dict[str, JSON]:
        """As JSON, for people: names of places, no secret."""
        return dict(self.places)

    def packed(self) -> dict[str, Secret]:
        """What is sealed of it."""
        whole: JSON = {"kind": self.kind.value, "places": self.places, "params": self.params, "derive": self.derive}
        return {SEALED_FIELD: Secret(canonical(whole).decode())}


def unpacked(held: Mapping[str, Secret]) -> Sourcing:
    """What was sealed. Raises CredentialDamaged, from nothing: what it holds instead may be a secret."""
    try:
        found = cast("dict[str, dict[str, str]]", orjson.loads(held[SEALED_FIELD].reveal()))
        kind = SourceKind(cast("str", found["kind"]))
        return Sourcing(kind=kind, places=found["places"], params=found["params"], derive=found["derive"])
    except (KeyError, TypeError, ValueError):
        raise errors.CredentialDamaged("a sealed credential does not say where its secret is") from None


def parse(said: str) -> tuple[str | None, SourceKind, str]:
    """The field (None: the only one), the kind and the place of `KIND:PLACE` or `FIELD=KIND:PLACE`. Raises ValueError, which
    repeats nothing: somebody may have given the secret itself."""
    match = _PLACE.fullmatch(said)
    kinds = [each.value for each in SourceKind if each is not SourceKind.STORED]
    if match is None or match[2] not in kinds:
        raise ValueError(f"a source is KIND:PLACE or FIELD=KIND:PLACE, and KIND one of {', '.join(kinds)}")
    if len(match[3]) > MAX_PLACE or not match[3].isprintable():
        raise ValueError(f"a place has at most {MAX_PLACE} printable characters")
    return match[1], SourceKind(match[2]), match[3]


class Sources:
    """Reads such secrets. `ways` has who reads which kind; it may be filled after this is made.

    What was read is kept in memory for as long as a lease that was issued meanwhile may live: what a run sends is what was
    read before its lease, which the run's Redactor knows.
    """

    def __init__(self, ways: Mapping[SourceKind, SecretSource], *, clock: Clock) -> None:
        self._ways = ways
        self._clock = clock
        self._read: dict[str, list[tuple[datetime, dict[str, Secret]]]] = {}

    async def read(self, sourcing: Sourcing, *, tenant_id: str) -> dict[str, Secret]:
        """The secrets as they are now. Raises SecretUnavailable, SecretExposed."""
        way = self._ways.get(sourcing.kind)
        if way is None:
            raise errors.SecretUnavailable(f"nothing here reads secrets of the kind {sourcing.kind.value!r}")
        values: dict[str, sdk.fill.Value] = dict(sourcing.params)
        for name, place in sourcing.places.items():
            secret = await way.fetch(place, tenant_id=tenant_id)
            if not MIN_SECRET_LENGTH <= (length := len(secret.reveal())) <= MAX_SECRET_LENGTH:
                raise errors.SecretUnavailable(
                    f"what {sourcing.kind.value} has for {name!r} has {length} characters; a secret has "
                    f"{MIN_SECRET_LENGTH} to {MAX_SECRET_LENGTH}"
                )
            values[name] = secret
        for name, formula in sourcing.derive.items():
            if not set(sdk.fill.holes(formula)) <= values.keys():
                continue
            value = sdk.fill.evaluate(formula, values)
            values[name] = value if isinstance(value, Secret) else Secret(value)
        return {name: value for name, value in values.items() if isinstance(value, Secret)}

    async def fresh(self, credential: Credential, held: Mapping[str, Secret]) -> dict[str, Secret]:
        """The secrets of a version as they are now. Raises as `read`, and CredentialDamaged."""
        at = self._clock.now()
        secrets = await self.read(unpacked(held), tenant_id=credential.tenant_id)
        recent = [each for each in self._read.pop(credential.credential_id, []) if each[0] > at - MAX_LEASE]
        self._read[credential.credential_id] = [*recent, (at, secrets)]
        if len(self._read) > _MOST_READ:
            del self._read[next(iter(self._read))]
        return secrets

    async def as_of(self, credential: Credential, held: Mapping[str, Secret], moment: datetime) -> dict[str, Secret]:
        """The secrets that were last read before a lease was issued. Raises as `fresh`."""
        known = [secrets for at, secrets in self._read.get(credential.credential_id, []) if at <= moment]
        return known[-1] if known else await self.fresh(credential, held)

    async def replaced(self, connection: Connection, credential: Credential, held: Mapping[str, Secret]) -> bool:
        """Whether the places hold something else than what was read of them last."""
        if connection.secret_source is SourceKind.STORED:
            return False
        before = self._read.get(credential.credential_id, [])[-1:]
        return bool(before) and await self.fresh(credential, held) != before[0][1]
