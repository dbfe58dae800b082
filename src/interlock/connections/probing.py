"""Asking the service who a credential is, before it is kept: one read through the plane."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from interlock import plane, sdk
from interlock.connections.answer import Answer
from interlock.connections.errands import Errands
from interlock.connections.errors import ErrandFailed, ProbeFailed
from interlock.connections.installs import Reason
from interlock.connections.model import MAX_LEASE
from interlock.connections.showing import shown
from interlock.kernel import InvalidJson, Redactor, Retry, Secret, from_rfc3339, parse_json

_UNAUTHORIZED = 401
_ZONE = re.compile(r" (UTC|[+-][0-9]{2}:?[0-9]{2})$")
"""What GitHub separates from the time by a blank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What the service said: whose credential it is, its scopes, and when it ends (None: the service does not tell)."""

    subject: str | None
    scopes: frozenset[str] | None
    expires_at: datetime | None = None


async def probe(
    profile: sdk.AuthProfile, secrets: Mapping[str, Secret], *, base_url: str, tenant_id: str, errands: Errands
) -> Probed:
    """Send the profile's probe with the credential. Raises ProbeFailed if the service does not accept it or is not there."""
    if profile.probe is None or not profile.apply:
        return Probed(subject=None, scopes=None)
    try:
        answer = await errands.ask(
            "GET",
            plane.parse_base(base_url).text + profile.probe.path,
            headers=(("accept", "application/json"),),
            show=partial(shown, profile),
            secrets=secrets,
            tenant_id=tenant_id,
        )
    except ErrandFailed as error:
        told = f"{base_url} could not be asked whose credential this is: {error.message}"
        raise _failed(told, error.reason, retry=Retry.LATER) from error
    hidden = [secret for name, secret in secrets.items() if name not in profile.plain_fields]
    return _read(profile.probe, answer, base_url, Redactor(hidden))


def _read(probe: sdk.Probe, answer: Answer, base_url: str, redactor: Redactor) -> Probed:
    if answer.status == _UNAUTHORIZED:
        raise ProbeFailed.refusal(f"{base_url} does not accept this credential (401)")
    if answer.status >= 300:
        reason = Reason.TEMPORARILY_UNAVAILABLE if answer.status >= 500 else Reason.PROBE_FAILED
        raise _failed(f"{base_url} answered {answer.status} when asked whose credential this is", reason)
    named = None if probe.subject is None else _named(probe.subject, redactor.data(answer.body), base_url)
    scopes, ends = (answer.headers.get((name or "").lower()) for name in (probe.scopes_header, probe.expires_header))
    return Probed(
        subject=named if isinstance(named, str) and named else None,
        scopes=None if scopes is None else frozenset(part.strip() for part in scopes.split(",") if part.strip()),
        expires_at=None if ends is None else _end(ends, answer.asked_at),
    )


def _named(subject: str, answer: bytes, base_url: str) -> object:
    try:
        return sdk.read_pointer(parse_json(answer, what="probe's answer"), subject)
    except InvalidJson as error:
        told = f"{base_url} did not answer with JSON when asked whose credential this is"
        raise _failed(told, Reason.UNREADABLE_ANSWER) from error


def _failed(told: str, reason: Reason, *, retry: Retry | None = None) -> ProbeFailed:
    error = ProbeFailed(told, retry=retry)
    error.reason = reason
    return error


def _end(stated: str, now: datetime) -> datetime | None:
    """The moment of a header: `2026-12-31T10:00:00Z`, `2026-12-31 10:00:00 UTC` or `2026-12-31 10:00:00 +0100`. What cannot
    be read counts as not told."""
    try:
        end = from_rfc3339(_ZONE.sub(lambda found: "Z" if found[1] == "UTC" else found[1], stated.strip()))
    except ValueError:
        return None
    # The credential was accepted just now. GitHub has been seen to state the present for tokens that last for months.
    return end if end > now + MAX_LEASE else None
