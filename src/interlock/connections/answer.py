"""From a provider's answer to tokens, or to a refusal. Pure; nothing that the provider wrote in words goes on."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from interlock import sdk
from interlock.connections import shapes
from interlock.connections.errors import GrantRefused
from interlock.connections.shapes import Answer
from interlock.kernel import JSON, MIN_SECRET_LENGTH, Secret

_USER_CODE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,62}[\x21-\x7e])?")
_INTERVAL: Final = 5.0
_CODES_LIVE: Final = timedelta(minutes=10)
STANDARD: Final[Mapping[str, sdk.grants.RefusalCode]] = MappingProxyType(
    {
        # RFC 6749 §5.2 and §4.1.2.1
        "invalid_request": "misconfigured",
        "invalid_client": "invalid_client",
        "invalid_grant": "invalid_grant",
        "unauthorized_client": "unauthorized_client",
        "unsupported_grant_type": "unsupported",
        "unsupported_response_type": "unsupported",
        "invalid_scope": "invalid_scope",
        "access_denied": "access_denied",
        "server_error": "temporarily_unavailable",
        "temporarily_unavailable": "temporarily_unavailable",
        # RFC 8628 §3.5
        "authorization_pending": "authorization_pending",
        "slow_down": "slow_down",
        "expired_token": "expired_token",
        # RFC 7009 §2.2.1
        "unsupported_token_type": "unsupported",
        # RFC 8707 §2
        "invalid_target": "misconfigured",
    }
)
"""What the standards' own words for a refusal mean."""
_BY_STATUS: Final[Mapping[int, sdk.grants.RefusalCode]] = MappingProxyType(
    {401: "invalid_client", 403: "access_denied", 408: "temporarily_unavailable", 425: "temporarily_unavailable",
     429: "temporarily_unavailable"}
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What a provider granted. `expires_at` and `scopes` are None where it did not say."""

    access_token: Secret
    refresh_token: Secret | None = None
    expires_at: datetime | None = None
    scopes: frozenset[str] | None = None
    token_type: str | None = None
    extra: Mapping[str, Secret] = field(default_factory=dict[str, Secret])

    def after(self, before: Secret | None) -> "Tokens":
        """The same, with the refresh token from before where the provider gave no new one (RFC 6749 §6)."""
        return self if self.refresh_token is not None or before is None else replace(self, refresh_token=before)

    def within(self, idle_seconds: float | None, *, at: datetime) -> "Tokens":
        """The same, of a session that the provider ends when nobody uses it for so long. When it was used last is not known of
        all processes, so it is taken to end that long after it began."""
        if idle_seconds is None:
            return self
        ends = at + timedelta(seconds=idle_seconds)
        return replace(self, expires_at=ends if self.expires_at is None else min(self.expires_at, ends))

    def secrets(self) -> dict[str, Secret]:
        """All of it that is to be sealed, by the names of the profile's fields."""
        kept = {"access_token": self.access_token, **self.extra}
        return kept if self.refresh_token is None else {**kept, "refresh_token": self.refresh_token}


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """What a device grant begins with: the person types `user_code` at `verification_uri`; `device_code` is asked with every
    `interval` seconds."""

    device_code: Secret
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    interval: float
    expires_at: datetime


def read(rule: sdk.grants.TokenAnswer, answer: Answer) -> Tokens:
    """The tokens of an answer. Raises GrantRefused."""
    document = checked(rule, answer)
    token, refresh = (shapes.token_at(document, pointer) for pointer in (rule.access_token, rule.refresh_token))
    if token is None or len(token.reveal()) < MIN_SECRET_LENGTH:
        raise GrantRefused("unreadable_answer")
    return Tokens(
        access_token=token,
        refresh_token=refresh,
        expires_at=shapes.end(rule, document, answer),
        scopes=shapes.scopes(rule, document),
        token_type=shapes.text_at(document, rule.token_type),
        extra=shapes.extras(rule, document),
    )


def read_step(rule: sdk.grants.TokenAnswer, answer: Answer, *, number: int) -> dict[str, sdk.fill.Value]:
    """What the steps after this one know of its answer, as `step1.NAME`. Raises GrantRefused."""
    document = checked(rule, answer)
    found = shapes.extras(rule, document)
    if (token := shapes.token_at(document, rule.access_token)) is not None:
        found["access_token"] = token
    return {f"step{number}.{name}": value for name, value in found.items()}


def read_printed(grant: sdk.grants.NativeCli, printed: bytes, *, asked_at: datetime) -> Tokens:
    """The tokens that a program printed. Raises GrantRefused."""
    if grant.output == "json":
        return read(grant.answer, Answer(status=200, headers={}, body=printed, asked_at=asked_at))
    text = printed.decode("ascii", "replace").strip()
    if not shapes.TOKEN.fullmatch(text) or len(text) < MIN_SECRET_LENGTH:
        raise GrantRefused("unreadable_answer", "what the program printed is no token")
    return Tokens(access_token=Secret(text))


def read_codes(grant: sdk.grants.Device, answer: Answer) -> Codes:
    """The codes of a device grant. Raises GrantRefused."""
    rule = grant.start.answer
    document = checked(rule, answer)
    device, user = shapes.token_at(document, grant.device_code), shapes.text_at(document, grant.user_code)
    uri = shapes.web_at(document, grant.verification_uri)
    if device is None or user is None or uri is None or not _USER_CODE.fullmatch(user):
        raise GrantRefused("unreadable_answer")
    interval = shapes.number(shapes.at(document, grant.interval))
    return Codes(
        device_code=device,
        user_code=user,
        verification_uri=uri,
        verification_uri_complete=shapes.web_at(document, grant.verification_uri_complete),
        interval=_INTERVAL if interval is None else min(max(interval, 1.0), 300.0),
        expires_at=shapes.end(rule, document, answer) or answer.asked_at + _CODES_LIVE,
    )


def check_ended(rule: sdk.grants.TokenAnswer, answer: Answer) -> None:
    """Whether the provider ended a token. What a success has to say beside is not looked at (RFC 7009 §2.2). Raises
    GrantRefused."""
    if not 200 <= answer.status < 300 or shapes.error_at(shapes.document(rule, answer), rule.error) is not None:
        checked(rule, answer)


def checked(rule: sdk.grants.TokenAnswer, answer: Answer) -> JSON:
    """The answer as data, if it is no refusal. Raises GrantRefused.

    An error counts before the status: some providers refuse with 200. What an unknown error of a refusal means follows from
    the status.
    """
    document = shapes.document(rule, answer)
    stated = shapes.error_at(document, rule.error)
    retry_after = shapes.number(answer.headers.get("retry-after"))
    if stated is None and 200 <= answer.status < 300:
        if document is None:
            raise GrantRefused("unreadable_answer")
        return document
    code = rule.error_codes.get(stated or "") or STANDARD.get(stated or "")
    code = code or rule.error_codes.get(str(answer.status)) or _BY_STATUS.get(answer.status)
    code = code or ("temporarily_unavailable" if answer.status >= 500 else "misconfigured")
    raise GrantRefused(code, retry_after=None if retry_after is None else min(max(retry_after, 0.0), 86_400.0))
