"""What a person or program hands over to become a connection, checked whole before anything is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Final

from interlock import plane
from interlock.connections.errors import InvalidGrant
from interlock.connections.model import MAX_LEASE, MAX_SECRET_LENGTH
from interlock.connections.sources import Sourcing
from interlock.kernel import MIN_SECRET_LENGTH, Redactor, Secret, is_id

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
"""Hosts that http may lead to: this machine."""
MAX_SCOPES: Final = 500
_MAX_TEXT: Final = 200
_MAX_ADDRESS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenGrant:
    """A token for an account at a service.

    `fields` are the secret fields that the connector's auth profile declares, `secrets` their values, of which those of `plain`
    hold no secret: they are only shown together with one. `subject` and
    `scopes` are what the service said about the token. `base_url` only if the service is not at the profile's own
    address. Without a name the connection is called after its connector. With `sourcing` the secrets are not kept: it says
    where they are. For as long as the `overlap` the leases on the version before go on.
    """

    connector_id: str
    profile_id: str
    fields: tuple[str, ...]
    secrets: Mapping[str, Secret]
    name: str | None = None
    subject: str | None = None
    scopes: frozenset[str] = field(default_factory=frozenset[str])
    base_url: str | None = None
    expires_at: datetime | None = None
    sourcing: Sourcing | None = None
    overlap: timedelta = timedelta(0)
    plain: tuple[str, ...] = ()

    @property
    def connection_name(self) -> str:
        """The name under which the connection will be known."""
        return self.connector_id if self.name is None else self.name

    def checked(self, now: datetime, *, by: str = "") -> "TokenGrant":
        """The grant, of that actor, with its address in normal form. Raises InvalidGrant with every problem at once. No
        message holds a part of a secret."""
        if exposed := _exposed(self, by):
            raise InvalidGrant(self.connector_id, exposed)
        problems = [*_texts(self), *_secrets(self)]
        if is_id(self.connection_name, "con"):
            problems.append("the name has the shape of a connection id")
        if len(self.scopes) > MAX_SCOPES:
            problems.append(f"{len(self.scopes)} scopes; the limit is {MAX_SCOPES}")
        base_url = None if self.base_url is None else _normal(self.base_url, problems)
        if self.expires_at is not None and self.expires_at <= now:
            problems.append(f"the token expired at {self.expires_at.isoformat()}")
        if not timedelta(0) <= self.overlap <= MAX_LEASE:
            problems.append(f"an overlap has 0 to {MAX_LEASE.total_seconds():.0f} s: no lease lives longer")
        if problems:
            raise InvalidGrant(self.connector_id, problems)
        return replace(self, base_url=base_url)


def _exposed(grant: TokenGrant, by: str) -> list[str]:
    """Where a secret stands among what is kept as it is."""
    hidden = [secret for name, secret in grant.secrets.items() if name not in grant.plain]
    kept = {"name": grant.connection_name, "base_url": grant.base_url or "", "actor": by}
    if grant.sourcing is not None:
        kept |= {f"place of {name!r}": place for name, place in grant.sourcing.places.items()}
        kept |= {f"field {name!r}": value for name, value in grant.sourcing.params.items()}
    redactor = Redactor(hidden)
    return [f"the {label} holds the secret, and would be kept as it is" for label, text in kept.items()
            if redactor.finds(text.encode("utf-8", "surrogatepass"))]  # fmt: skip


def _texts(grant: TokenGrant) -> list[str]:
    named = {"connector_id": grant.connector_id, "profile_id": grant.profile_id, "name": grant.connection_name}
    if grant.subject is not None:
        named["subject"] = grant.subject
    problems = [
        f"{label} must be 1 to {_MAX_TEXT} printable characters, no blank at either end; not {text[:50]!r}"
        for label, text in named.items()
        if not is_text(text)
    ]
    problems += [f"{scope[:50]!r} is not a scope" for scope in grant.scopes if not is_text(scope)]
    return problems


def is_text(text: str) -> bool:
    """Whether the text can be a name here: 1 to 200 printable characters, no blank at either end."""
    return 0 < len(text) <= _MAX_TEXT and text.isprintable() and text == text.strip()


def _secrets(grant: TokenGrant) -> list[str]:
    expected, given = set(grant.fields), set(grant.secrets)
    problems = [f"the secret field {name!r} is missing" for name in sorted(expected - given)]
    problems += [f"{name[:50]!r} is not a secret field of this profile" for name in sorted(given - expected)]
    for name in sorted((expected & given) - set(grant.plain)):
        value = grant.secrets[name].reveal()
        if not MIN_SECRET_LENGTH <= len(value) <= MAX_SECRET_LENGTH:
            problems.append(
                f"{name!r} has {len(value)} characters; a secret has {MIN_SECRET_LENGTH} to {MAX_SECRET_LENGTH}"
            )
    return problems


def _normal(base_url: str, problems: list[str]) -> str:
    if len(base_url) > _MAX_ADDRESS:
        problems.append(f"base_url has {len(base_url)} characters; the limit is {_MAX_ADDRESS}")
        return base_url
    try:
        url = plane.parse_base(base_url)
    except ValueError as error:
        # It is not repeated: somebody may have put a password into it.
        problems.append(f"base_url must be a scheme, a host and at most a port and a path: {error}")
        return base_url
    if url.scheme != "https" and not _is_loopback(url.host):
        problems.append(
            f"base_url {url.text!r} would send the secret in the clear; only https, or http to this machine"
        )
    return url.text


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
