"""The values of an install: somebody's minutes at a service's own pages, which end in a connection or in nothing."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from interlock import sdk
from interlock.connections.model import Sealed
from interlock.kernel import JSON, Secret, canonical, digest_bytes, from_rfc3339, to_rfc3339

INSTALL_LIFE: Final = timedelta(seconds=600)
"""An install that has not come to its end by then has expired."""

_TOKEN_BYTES: Final = 32


class Flow(StrEnum):
    """How the service is asked: in a browser that comes back, on a second device, or by a program alone."""

    AUTHORIZATION_CODE = "authorization_code"
    DEVICE = "device"
    AUTOMATIC = "automatic"


class InstallState(StrEnum):
    """Where an install stands; `install_machine.ALLOWED` draws the machine."""

    INSTALLING = "installing"
    AWAITING_CALLBACK = "awaiting_callback"
    EXCHANGING = "exchanging"
    PROVEN = "proven"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Reason(StrEnum):
    """Why an install came to nothing: all that is ever told and kept of it. No word of the service's own."""

    TIME_OVER = "time_over"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    ACCESS_DENIED = "access_denied"
    INVALID_SCOPE = "invalid_scope"
    INVALID_GRANT = "invalid_grant"
    INVALID_CLIENT = "invalid_client"
    UNAUTHORIZED_CLIENT = "unauthorized_client"
    CODE_EXPIRED = "expired_token"
    UNSUPPORTED = "unsupported"
    MISCONFIGURED = "misconfigured"
    SERVICE_FAILED = "service_failed"
    ADDRESS_REFUSED = "address_refused"
    TEMPORARILY_UNAVAILABLE = "temporarily_unavailable"
    UNREADABLE_ANSWER = "unreadable_answer"
    ISSUER_MISMATCH = "issuer_mismatch"
    UNCONFIRMED_ISSUER = "unconfirmed_issuer"
    PROBE_FAILED = "probe_failed"
    SUBJECT_MISMATCH = "subject_mismatch"
    SERVICE_MISMATCH = "service_mismatch"
    CONNECTION_CHANGED = "connection_changed"
    PROFILE_CHANGED = "profile_changed"
    NOT_INSTALLED = "not_installed"
    SCOPES_LOST = "scopes_lost"

    @property
    def told(self) -> str:
        """It in words of ours, for people."""
        return _TOLD[self]

    @property
    def is_operators(self) -> bool:
        """Whether it is for the operator to mend, and no use to try again before."""
        return self in _NEXT

    def next_step(self, connector_id: str) -> str:
        """What is done now, in words for the operator."""
        if self in _ELSEWHERE:
            return f"Connect it under another name: `interlock connect {connector_id} --name NAME`."
        first = f"{_NEXT[self]} Then connect" if self in _NEXT else "Connect"
        return f"{first} again: `interlock connect {{connector}}`.".replace("{connector}", connector_id)

    @classmethod
    def of(cls, refusal: sdk.grants.RefusalCode) -> "Reason":
        """What a refusal means for an install. To be asked to wait where nothing is waited for is no answer."""
        return cls.MISCONFIGURED if refusal in ("authorization_pending", "slow_down") else cls(refusal)


_TOLD: Final[Mapping[Reason, str]] = {
    Reason.TIME_OVER: "the time for it is over",
    Reason.CANCELLED: "it was cancelled",
    Reason.INTERRUPTED: "it was interrupted on our side",
    Reason.ACCESS_DENIED: "the service says that access was denied",
    Reason.INVALID_SCOPE: "the service does not grant what was asked for",
    Reason.INVALID_GRANT: "the service does not accept what it was asked with",
    Reason.INVALID_CLIENT: "the service does not know our client, or does not believe that it is us",
    Reason.UNAUTHORIZED_CLIENT: "the service does not let our client connect in this way",
    Reason.UNSUPPORTED: "the service does not offer this way to connect",
    Reason.MISCONFIGURED: "it was asked for in a wrong way: the profile, what was given, or our client is set up wrongly",
    Reason.UNREADABLE_ANSWER: "the service gave an answer that cannot be read",
    Reason.CODE_EXPIRED: "nobody typed the code in time",
    Reason.SERVICE_FAILED: "the service could not be asked, or did not answer",
    Reason.ADDRESS_REFUSED: "the service is at an address that may not be reached from here",
    Reason.TEMPORARILY_UNAVAILABLE: "the service is not available at the moment",
    Reason.ISSUER_MISMATCH: "the answer came from somebody else than the service that was asked",
    Reason.UNCONFIRMED_ISSUER: "the service names an authorization server that our client is not known to be registered at",
    Reason.PROBE_FAILED: "the service gave a credential, and then did not accept it",
    Reason.SUBJECT_MISMATCH: "this is another account than the one that the connection is for",
    Reason.SERVICE_MISMATCH: "the connection leads to another address of the service",
    Reason.CONNECTION_CHANGED: "the connection was changed meanwhile",
    Reason.PROFILE_CHANGED: "the connector's profile was changed meanwhile",
    Reason.NOT_INSTALLED: "the app is not installed for the account that was named",
    Reason.SCOPES_LOST: "the service grants less than the connection has, and less than was asked for",
}

_ELSEWHERE: Final = frozenset({Reason.SUBJECT_MISMATCH, Reason.SERVICE_MISMATCH})
"""What is wrong is the name alone."""

_NEXT: Final[Mapping[Reason, str]] = {
    Reason.INVALID_CLIENT: (
        "Compare the client's id and its secret or key, as given or under [oauth.{connector}] in the settings, with what the "
        "service has."
    ),
    Reason.UNAUTHORIZED_CLIENT: "Have the service allow this way for our client, [oauth.{connector}] in the settings.",
    Reason.MISCONFIGURED: (
        "Look at what was given, at the profile (`interlock connectors show {connector}`), and at our client, "
        "[oauth.{connector}] in the settings: which addresses to come back to are registered at the service."
    ),
    Reason.UNCONFIRMED_ISSUER: (
        "Find out whether our client is registered at the authorization server that is named, which was shown no secret: if it "
        "is, write its address as `issuer` under [oauth.{connector}] in the settings."
    ),
    Reason.ADDRESS_REFUSED: (
        "If the address is meant, add its host:port to `egress_allow` under [execution] in interlock.toml, or to "
        "INTERLOCK_EXECUTION__EGRESS_ALLOW, which is a JSON list."
    ),
}
"""What the operator does first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the service said of the new credential: whose it is, what it may do, when it ends."""

    subject: str | None
    scopes: frozenset[str]
    expires_at: datetime | None

    def record(self) -> dict[str, JSON]:
        """As JSON."""
        ends = None if self.expires_at is None else to_rfc3339(self.expires_at)
        return {"subject": self.subject, "scopes": sorted(self.scopes), "expires_at": ends}

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> "Found":
        """The inverse of `record`."""
        ends = record["expires_at"]
        return cls(
            subject=record["subject"],
            scopes=frozenset(record["scopes"]),
            expires_at=None if ends is None else from_rfc3339(ends),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """One try to connect a service, or to give a connection a new credential.

    Until it is completed it changes nothing else: a first one makes its connection at the end, and one that reauthorises
    (`connection_id` is set) leaves the old credential in use until the new one is proven. So there is nothing to restore when
    it is cancelled, fails or expires.

    Of its three tokens (in the link, in the state, in the browser's cookie) only digests are kept. `sealed` holds first the
    PKCE verifier or the device code, then the new credential; it is gone when the install ends.
    """

    install_id: str
    tenant_id: str
    connector_id: str
    profile_id: str
    connection_name: str
    connection_id: str | None
    actor: str
    flow: Flow
    state: InstallState
    reason: Reason | None = None
    base_url: str | None = None
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    scopes_asked: frozenset[str] = frozenset()
    link_digest: str | None = None
    state_digest: str | None = None
    browser_digest: str | None = None
    redirect_uri: str | None = None
    issuer: str | None = None
    oauth_client_id: str | None = None
    sealed: Sealed | None = None
    found: Found | None = None
    expires_at: datetime
    revision: int = 1
    created_at: datetime
    updated_at: datetime

    @property
    def missing_scopes(self) -> frozenset[str]:
        """What was asked for and not granted."""
        return frozenset() if self.found is None else self.scopes_asked - self.found.scopes

    @property
    def unasked_scopes(self) -> frozenset[str]:
        """What was granted and not asked for."""
        return frozenset() if self.found is None else self.found.scopes - self.scopes_asked

    @property
    def was_answered(self) -> bool:
        """Whether the service has sent somebody back, with whatever answer."""
        if self.found is not None or self.reason is Reason.INTERRUPTED:
            return True
        unheard = (
            InstallState.INSTALLING,
            InstallState.AWAITING_CALLBACK,
            InstallState.CANCELLED,
            InstallState.EXPIRED,
        )
        return self.state not in unheard

    def record(self) -> dict[str, JSON]:
        """The install as JSON, for people and APIs; without digests."""
        return {
            "install_id": self.install_id,
            "tenant_id": self.tenant_id,
            "connector_id": self.connector_id,
            "profile_id": self.profile_id,
            "connection_name": self.connection_name,
            "connection_id": self.connection_id,
            "actor": self.actor,
            "flow": self.flow.value,
            "state": self.state.value,
            "reason": None if self.reason is None else self.reason.value,
            "base_url": self.base_url,
            "params": self.params,
            "scopes_asked": sorted(self.scopes_asked),
            "found": None if self.found is None else self.found.record(),
            "missing_scopes": sorted(self.missing_scopes),
            "unasked_scopes": sorted(self.unasked_scopes),
            "expires_at": to_rfc3339(self.expires_at),
            "created_at": to_rfc3339(self.created_at),
            "updated_at": to_rfc3339(self.updated_at),
        }


def new_token(random_bytes: Callable[[int], bytes]) -> Secret:
    """256 bits as base64url: for a link, a state or a cookie."""
    return Secret(base64.urlsafe_b64encode(random_bytes(_TOKEN_BYTES)).rstrip(b"=").decode())


def token_digest(token: Secret) -> str:
    """What is kept of a token. It has 256 bits of chance, so a plain hash gives nothing away."""
    return digest_bytes(token.reveal().encode())


def binding(install: Install) -> bytes:
    """The associated data that ties what is sealed to its install."""
    return canonical(
        {
            "contract": "interlock.install/v1",
            "tenant_id": install.tenant_id,
            "install_id": install.install_id,
        }
    )
