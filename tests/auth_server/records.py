"""What the server knows: clients, codes and tokens."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from auth_server.library import rfc6749

DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
JWT_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GRANTS: Final = frozenset({"authorization_code", "refresh_token", "client_credentials", DEVICE_GRANT, JWT_GRANT})
CLIENT_AUTHS: Final = (
    "client_secret_basic",
    "client_secret_post",
    "private_key_jwt",
    "self_signed_tls_client_auth",
    "none",
)
PERSON: Final = "octo-agent"
"""Who agrees, unless a test says otherwise."""


@dataclass
class Client(rfc6749.ClientMixin):
    """A client as it is registered. A redirect URI on loopback without a port fits any port (RFC 8252 §7.3)."""

    client_id: str
    client_secret: str | None = None
    auth_method: str = "client_secret_basic"
    redirect_uris: tuple[str, ...] = ("http://127.0.0.1/callback",)
    grant_types: frozenset[str] = GRANTS
    scope: str = "read write"
    public_key: str | None = field(default=None, repr=False)
    """PEM, for what the client signs."""
    certificate: str | None = None
    """The digest of the one that it shows under TLS (RFC 8705)."""

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> None:
        return None

    def get_allowed_scope(self, scope: str | None) -> str | None:
        asked = (scope or self.scope).split()
        return " ".join(asked) if set(asked) <= set(self.scope.split()) else None

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri in self.redirect_uris or _without_port(redirect_uri) in self.redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        return self.client_secret is not None and secrets.compare_digest(self.client_secret, client_secret)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == self.auth_method

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.grant_types


def _without_port(uri: str) -> str | None:
    url = urlsplit(uri)
    return urlunsplit(url._replace(netloc=url.hostname)) if url.hostname == "127.0.0.1" else None


CLIENT: Final = Client("client-1", "shh-client-secret+0123456789/")
"""A client with a secret. It holds what is awkward to write into a header."""

PUBLIC: Final = Client("client-public", auth_method="none")
"""A client without a secret, such as a program on somebody's machine."""


@dataclass
class Code(rfc6749.AuthorizationCodeMixin):
    """An authorization code; `family` is what the tokens that it becomes belong to."""

    code: str
    client_id: str
    redirect_uri: str
    scope: str
    subject: str
    code_challenge: str
    code_challenge_method: str
    resource: str | None
    family: str
    expires_at: float
    used: bool = False

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope


@dataclass
class Token(rfc6749.TokenMixin):
    """An access token, with the refresh token that came with it, if one did."""

    access_token: str
    refresh_token: str | None
    client_id: str
    scope: str
    subject: str
    resource: str | None
    family: str
    issued_at: float
    lifetime: int
    now: Callable[[], float] = field(repr=False)
    revoked: bool = False
    replaced_at: float | None = None

    def check_client(self, client: Client) -> bool:
        return self.client_id == client.client_id

    def get_scope(self) -> str:
        return self.scope

    def get_expires_in(self) -> int:
        return self.lifetime

    def is_expired(self) -> bool:
        return self.now() >= self.issued_at + self.lifetime

    def is_revoked(self) -> bool:
        return self.revoked


@dataclass
class Device:
    """A device's code and the person's. `answer` is what the person said."""

    device_code: str
    user_code: str
    client_id: str
    scope: str
    expires_at: float
    now: Callable[[], float] = field(repr=False)
    interval: float = 5.0
    asked_at: float | None = None
    answer: bool | None = None
    used: bool = False

    def get_client_id(self) -> str:
        return self.client_id

    def get_scope(self) -> str:
        return self.scope

    def get_user_code(self) -> str:
        return self.user_code

    def is_expired(self) -> bool:
        return self.now() >= self.expires_at


class Books:
    """All of it, and how the server behaves; a test changes what it wants."""

    def __init__(self, url: str, now: Callable[[], float]) -> None:
        self.url = url
        self.resource = f"{url}/mcp"
        self.now = now
        self.issuer: str | None = url
        """What `iss` says (RFC 9207); None leaves it out."""
        self.clients = {each.client_id: replace(each) for each in (CLIENT, PUBLIC)}
        self.grants = GRANTS
        self.person = PERSON
        self.password = "pw-canary-correct-horse"
        self.app_key: str | None = None
        """The public key of the app (PEM)."""
        self.client_auths: list[str] = list(CLIENT_AUTHS)
        """How clients may show themselves, as the server says of itself."""
        self.client_secrets_live: int | None = None
        """How long the secret of a client that registers is valid, in seconds."""
        self.challenge_scope: str | None = None
        """The scope that the MCP server's 401 asks for."""
        self.app_callback = "http://127.0.0.1:7777/callback"
        """Where the app's owner has browsers led back to."""
        self.app_codes: set[str] = set()
        self.installs_at: str | None = "1001"
        """Which installation a person makes; None: they ask an owner for it."""
        self.denies = False
        """The person says no."""
        self.asks = False
        """The person is asked, on a page with two buttons; otherwise the answer follows at once."""
        self.lifetime = 3600
        """Of an access token, in seconds."""
        self.grants_only: str | None = None
        """The scopes that are granted, whatever was asked for."""
        self.rotates = True
        self.reuse_grace = 0.0
        """For how many seconds a refresh token that was replaced still serves."""
        self.issued: list[str] = []
        """Every code, token and secret that ever left: what must never be found anywhere else."""
        self.codes: dict[str, Code] = {}
        self.tokens: list[Token] = []
        self.devices: dict[str, Device] = {}
        self.families_ended: dict[str, str] = {}
        """Which families ended, and why."""
        self.assertions_used: set[str] = set()
        self.tickets: set[str] = set()
        self.notes: list[str] = []
        """What was written down at the service."""
        self._numbers = count(1)

    def moment(self, seconds: float) -> str:
        """A moment as services write it, to the second."""
        return f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%dT%H:%M:%SZ}"

    def make(self, kind: str) -> str:
        """A new secret, known to be one."""
        made = f"{kind}-canary-{next(self._numbers):04}-{secrets.token_urlsafe(12)}"
        self.issued.append(made)
        return made

    def end_family(self, family: str, why: str) -> None:
        """End all that came of one agreement."""
        self.families_ended.setdefault(family, why)
        for token in self.tokens:
            token.revoked |= token.family == family

    def find_token(self, text: str) -> Token | None:
        """The token of which this is a part."""
        return next((each for each in self.tokens if text in (each.access_token, each.refresh_token)), None)

    def valid(self, access_token: str | None, *, resource: str | None = None) -> Token | None:
        """The token, if it opens the service (`resource` None) or that one now."""
        found = next((each for each in self.tokens if each.access_token == access_token), None)
        if found is None or found.is_expired() or found.revoked or found.resource != resource:
            return None
        return found

    def answer_device(self, user_code: str, *, allowed: bool) -> None:
        """Say, as the person with that code, yes or no."""
        device = next(each for each in self.devices.values() if each.user_code == user_code)
        device.answer = allowed
