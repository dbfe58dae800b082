"""Asking the service who a credential is, before it is kept: one read through the plane."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from interlock import plane, sdk
from interlock.connections.errors import ProbeFailed
from interlock.connections.model import MAX_LEASE
from interlock.connections.showing import shown
from interlock.kernel import VERSION, Clock, IdSource, InvalidJson, Redactor, Retry, Secret, from_rfc3339, parse_json

_TIMEOUT = timedelta(seconds=20)
_UNAUTHORIZED = 401
_ZONE = re.compile(r" (UTC|[+-][0-9]{2}:?[0-9]{2})$")
"""What GitHub separates from the time by a blank."""

_Use: TypeAlias = tuple[str, str, str]
"""At which host, for which tenant, by which run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What the service said: whose credential it is, its scopes, and when it ends (None: the service does not tell)."""

    subject: str | None
    scopes: frozenset[str] | None
    expires_at: datetime | None = None


class Pending:
    """Credentials that are being probed and are not stored yet, in front of the stored ones. A `CredentialResolver`."""

    def __init__(self, stored: plane.CredentialResolver) -> None:
        self._stored = stored
        self._pending: dict[str, tuple[_Use, Mapping[str, Secret]]] = {}

    def hold(self, handle: str, secrets: Mapping[str, Secret], *, host: str, tenant_id: str, run_id: str) -> None:
        """Know these secrets under the handle, for one use: as `redeem` will be asked for it."""
        self._pending[handle] = ((host, tenant_id, run_id), secrets)

    def forget(self, handle: str) -> None:
        """Know them no more."""
        self._pending.pop(handle, None)

    def redactor(self) -> Redactor:
        """Knows the secrets that are being probed just now."""
        return Redactor(secret for _, secrets in self._pending.values() for secret in secrets.values())

    async def redeem(self, ref: plane.SecretRef, *, host: str, tenant_id: str, run_id: str) -> Secret:
        """The secret for the lane. Raises as the stored ones do."""
        pending = self._pending.get(ref.handle)
        if pending is not None and pending[0] == (host, tenant_id, run_id):
            return pending[1][ref.field]
        return await self._stored.redeem(ref, host=host, tenant_id=tenant_id, run_id=run_id)


async def probe(
    profile: sdk.AuthProfile,
    secrets: Mapping[str, Secret],
    *,
    base_url: str,
    tenant_id: str,
    pending: Pending,
    node: plane.Node,
    authorizer: plane.Authorizer,
    clock: Clock,
    ids: IdSource,
) -> Probed:
    """Send the profile's probe with the credential. Raises ProbeFailed if the service does not accept it or is not there."""
    handle = ids.new("lse")
    credentials = shown(profile, handle)
    if profile.probe is None or not credentials:
        return Probed(subject=None, scopes=None)
    service = plane.parse_base(base_url)
    intent = plane.HttpIntent(
        intent_id=ids.new("snd"),
        tenant_id=tenant_id,
        run_id=handle,
        attempt_id=handle,
        trace_id=handle,
        method="GET",
        url=service.text + profile.probe.path,
        headers=(("accept", "application/json"), ("user-agent", f"interlock/{VERSION}")),
        credentials=credentials,
        allowed_hosts=(service.host_port,),
        timeouts=plane.Timeouts(total_ms=int(_TIMEOUT.total_seconds() * 1000)),
        deadline_at=clock.now() + _TIMEOUT,
    )
    authority = authorizer.issue(
        intent.digest, audience=node.node_id, target_class=plane.LOCAL_HTTP, ttl=_TIMEOUT.total_seconds()
    )
    pending.hold(handle, secrets, host=intent.host, tenant_id=tenant_id, run_id=intent.run_id)
    try:
        receipt = await node.execute(intent, authority=authority, target_class=plane.LOCAL_HTTP)
    finally:
        pending.forget(handle)
    return _read(profile.probe, receipt, base_url, Redactor(secrets.values()), now=clock.now())


def _read(probe: sdk.Probe, receipt: plane.Receipt, base_url: str, redactor: Redactor, *, now: datetime) -> Probed:
    if receipt.failure is not None or receipt.status is None:
        told = receipt.failure.message if receipt.failure else "no answer"
        raise ProbeFailed(
            f"{base_url} could not be asked whose credential this is: {redactor.text(told)}", retry=Retry.LATER
        )
    if receipt.status == _UNAUTHORIZED:
        raise ProbeFailed(f"{base_url} does not accept this credential (401)")
    if receipt.status >= 300:
        raise ProbeFailed(f"{base_url} answered {receipt.status} when asked whose credential this is")
    try:
        body = parse_json(redactor.data(receipt.body), what="probe's answer")
    except InvalidJson as error:
        raise ProbeFailed(f"{base_url} did not answer with JSON when asked whose credential this is") from error
    named = sdk.read_pointer(body, probe.subject)
    stated = {name: redactor.text(value) for name, value in receipt.headers}
    scopes, ends = (stated.get((name or "").lower()) for name in (probe.scopes_header, probe.expires_header))
    return Probed(
        subject=named if isinstance(named, str) and named else None,
        scopes=None if scopes is None else frozenset(part.strip() for part in scopes.split(",") if part.strip()),
        expires_at=None if ends is None else _end(ends, now),
    )


def _end(stated: str, now: datetime) -> datetime | None:
    """The moment of a header: `2026-12-31T10:00:00Z`, `2026-12-31 10:00:00 UTC` or `2026-12-31 10:00:00 +0100`. What cannot
    be read counts as not told."""
    try:
        end = from_rfc3339(_ZONE.sub(lambda found: "Z" if found[1] == "UTC" else found[1], stated.strip()))
    except ValueError:
        return None
    # The credential was accepted just now. GitHub has been seen to state the present for tokens that last for months.
    return end if end > now + MAX_LEASE else None
