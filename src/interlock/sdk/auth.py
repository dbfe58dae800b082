"""Auth profiles, as data: what is given, how a request shows it, and how tokens come to be (`grants`)."""

from typing import Annotated, Literal, TypeAlias

import pydantic

from interlock.kernel import JSON
from interlock.sdk import fill
from interlock.sdk.grants import Grant, Manual, McpOAuth, NativeCli, NoGrant, OAuthGrant, Session
from interlock.sdk.terms import Name, Part, Text

ManagementMode: TypeAlias = Literal["manual", "hosted", "external_secret", "provider_app", "provider_native"]
"""Who keeps the credential in order: a person who gives it, our connect page, a secret store, an app's own key at the provider,
a program of the provider on this machine."""

Posture: TypeAlias = Literal["none", "paste", "browser", "device", "automatic", "cli"]
"""What a person does: nothing; gives the fields; agrees in a browser; types a code elsewhere; gives the fields, which tokens are
then fetched with; logs the provider's program in."""

Renewal: TypeAlias = Literal["none", "refresh", "again"]
"""How a token is followed by the next one: not at all, by its refresh token, by asking as the first time."""


class Field(Part):
    """Something that a person or the operator gives. `pattern` must fit the whole value (linear-time, so without looking ahead
    or behind); a secret has no default and no choices, and is never shown again."""

    name: Name
    title: Text | None = None
    description: Text | None = None
    secret: bool = False
    pattern: Text | None = None
    example: Text | None = None
    default: Text | None = None
    choices: tuple[Text, ...] = ()
    optional: bool = False


class HeaderPlace(Part):
    """A request shows the credential in a header."""

    place: Literal["header"]
    name: Text
    template: Text


class QueryPlace(Part):
    """A request shows the credential in a parameter of its query."""

    place: Literal["query"]
    name: Text
    template: Text


class CertificatePlace(Part):
    """A request shows the credential by a client certificate: the fields that hold the chain and its key (PEM)."""

    place: Literal["certificate"]
    chain_field: Name
    key_field: Name


Placement: TypeAlias = Annotated[HeaderPlace | QueryPlace | CertificatePlace, pydantic.Field(discriminator="place")]


class Probe(Part):
    """How to ask the service who a credential is: GET `path`, which may have a query; `subject` is a pointer to the account's
    name in the answer, left out where it names nobody; `scopes_header` holds the granted scopes, separated by commas;
    `expires_header` the moment at which the credential ends, as RFC 3339 or as GitHub writes it."""

    path: Text
    subject: str | None = None
    scopes_header: Text | None = None
    expires_header: Text | None = None


class AuthProfile(Part):
    """One way to connect. Fields that are no secrets may stand in `base_url` (`https://{site}.acme.dev`). `derive` makes
    further values of what is given and granted, by formulas such as `base64({username}:{password})`; a placement's template
    holds exactly one of all these."""

    profile_id: Name
    display_name: Text | None = None
    base_url: Text
    fields: tuple[Field, ...] = ()
    derive: dict[Name, Text] = pydantic.Field(default={})
    apply: tuple[Placement, ...] = ()
    grant: Grant = Manual(type="manual")
    scopes_offered: tuple[Text, ...] = ()
    probe: Probe | None = None

    @property
    def secret_fields(self) -> tuple[str, ...]:
        """The names of the fields that are secrets."""
        return tuple(each.name for each in self.fields if each.secret)

    @property
    def granted_fields(self) -> tuple[str, ...]:
        """What the grant adds to what is given: the tokens, and what the profile keeps of the answers besides."""
        grant = self.grant
        if isinstance(grant, NoGrant | Manual):
            return ()
        extra = [name for each in self._answers() for name in each]
        renewed = ("refresh_token",) if self.renewal == "refresh" else ()
        return tuple(dict.fromkeys(("access_token", *renewed, *extra)))

    @property
    def durable_fields(self) -> tuple[str, ...]:
        """What a sealed version of the credential may hold."""
        return (*self.secret_fields, *self.granted_fields, *self.derive)

    @property
    def shown_fields(self) -> tuple[str, ...]:
        """What requests show to the service."""
        return tuple(dict.fromkeys(name for each in self.apply for name in placed(each)))

    @property
    def written_fields(self) -> tuple[str, ...]:
        """What of it stands in a header or an address, as it is."""
        written = [each for each in self.apply if not isinstance(each, CertificatePlace)]
        return tuple(dict.fromkeys(name for each in written for name in placed(each)))

    @property
    def plain_fields(self) -> tuple[str, ...]:
        """Of what is derived, that which holds no secret: requests show it, and answers may say it."""
        plain = {each.name for each in self.fields if not each.secret}
        return tuple(name for name, formula in self.derive.items() if set(fill.holes(formula)) <= plain)

    @property
    def lease_fields(self) -> tuple[str, ...]:
        """What a lease may be redeemed for: all that is shown to the service, and never what only makes new tokens."""
        given = self.secret_fields if isinstance(self.grant, Manual) else ()
        granted = tuple(name for name in self.granted_fields if name != "refresh_token")
        return tuple(dict.fromkeys((*given, *granted, *self.derive, *self.shown_fields)))

    @property
    def management_modes(self) -> tuple[ManagementMode, ...]:
        """Who may keep the credential in order."""
        return _MODES[self.grant.type]

    @property
    def install(self) -> Posture:
        """What a person does to connect."""
        if self.grant.type == "github_app" and self.grant.install_url is None:
            return "automatic"
        return _INSTALL[self.grant.type]

    @property
    def reauth(self) -> Posture:
        """What a person does when the credential no longer serves and cannot be renewed: as at first, but that fields are
        given where tokens came by themselves."""
        return "paste" if self.install == "automatic" and self.fields else self.install

    @property
    def renewal(self) -> Renewal:
        """How a token is followed by the next one."""
        grant = self.grant
        if isinstance(grant, NoGrant | Manual):
            return "none"
        if isinstance(grant, McpOAuth) or (isinstance(grant, OAuthGrant) and grant.refresh is not None):
            return "refresh"
        return "none" if grant.type in ("authorization_code", "device") else "again"

    def published(self) -> dict[str, JSON]:
        """What people and programs that connect go by: who keeps the credential, and what a person does."""
        return {
            "profile_id": self.profile_id,
            "grant": self.grant.type,
            "management_modes": list(self.management_modes),
            "install": self.install,
            "reauth": self.reauth,
            "renewal": self.renewal,
            "fields": [each.model_dump(mode="json", exclude_defaults=True) for each in self.fields],
        }

    def _answers(self) -> list[dict[str, str]]:
        """What is kept of each answer."""
        grant = self.grant
        if isinstance(grant, NativeCli):
            return [grant.answer.extra]
        if isinstance(grant, Session):
            return [grant.login.answer.extra]
        if grant.type == "exchange":
            return [grant.steps[-1].answer.extra]
        token = None if isinstance(grant, NoGrant | Manual | McpOAuth) else grant.token
        return [] if token is None else [token.answer.extra]


def pattern_of(pattern: str) -> pydantic.TypeAdapter[str]:
    """Checks a whole text against the pattern, in linear time. Raises pydantic_core.SchemaError for what is none."""
    return pydantic.TypeAdapter(Annotated[str, pydantic.StringConstraints(pattern=rf"^(?:{pattern})$")])


def fits(pattern: str, text: str) -> bool:
    """Whether the whole text has the form of the pattern."""
    try:
        pattern_of(pattern).validate_python(text)
    except pydantic.ValidationError:
        return False
    return True


def placed(placement: HeaderPlace | QueryPlace | CertificatePlace) -> tuple[str, ...]:
    """The fields that the placement shows."""
    if isinstance(placement, CertificatePlace):
        return (placement.chain_field, placement.key_field)
    return tuple(fill.holes(placement.template))


_MODES: dict[str, tuple[ManagementMode, ...]] = {
    "none": (),
    "manual": ("manual", "external_secret"),
    "authorization_code": ("hosted",),
    "client_credentials": ("manual", "external_secret"),
    "device": ("hosted",),
    "jwt_bearer": ("manual", "external_secret"),
    "github_app": ("provider_app",),
    "exchange": ("manual", "external_secret"),
    "session": ("manual", "external_secret"),
    "native_cli": ("provider_native",),
    "mcp": ("hosted",),
}
_INSTALL: dict[str, Posture] = {
    "none": "none",
    "manual": "paste",
    "authorization_code": "browser",
    "client_credentials": "automatic",
    "device": "device",
    "jwt_bearer": "automatic",
    "github_app": "browser",
    "exchange": "automatic",
    "session": "automatic",
    "native_cli": "cli",
    "mcp": "browser",
}
