"""Credentials by reference: which secret a request is to show, and where. Never the secret itself."""

import re
from abc import abstractmethod
from collections.abc import Iterable
from typing import Annotated, Final, Literal, NamedTuple, Self, TypeAlias
from urllib.parse import quote

from pydantic import Field, StringConstraints, model_validator

from interlock.plane.contract import Contract, Name
from interlock.plane.headers import HEADER_NAME, HEADER_VALUE, RESERVED_HEADERS
from interlock.plane.urls import Url

MAX_CREDENTIALS: Final = 8
"""Credentials in one intent."""

MAX_QUERY_SECRET: Final = 4096
"""Characters of a secret that stands in a query, as it stands there."""

_FRAMING: Final = RESERVED_HEADERS - {"authorization"}
_PARAMETER: Final = re.compile(r"[!-~]{1,100}")
_FIELD: Final = re.compile(r"\{([a-z][a-z0-9_]{0,39})\}")

FieldName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
"""A part of a credential."""

Template = Annotated[str, StringConstraints(max_length=200)]


class SecretRef(NamedTuple):
    """What a credential resolver is asked for: one field of the credential behind a handle, which is a lease id."""

    handle: str
    field: str


class _Written(Contract):
    """A secret that is written into a text: the template has exactly one `{field}`, which names the part of the credential
    that replaces it."""

    handle: Name
    name: Name
    template: Template

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(_FIELD.findall(self.template)) != 1 or not HEADER_VALUE.fullmatch(self.template):
            raise ValueError("a credential template is header text with exactly one {field}")
        self._check_name()
        return self

    @abstractmethod
    def _check_name(self) -> None:
        """Raises ValueError if a credential cannot stand there."""

    @property
    def ref(self) -> SecretRef:
        """As a credential resolver takes it."""
        return SecretRef(self.handle, _FIELD.findall(self.template)[0])

    def _filled(self, value: str) -> str:
        return _FIELD.sub(lambda _match: value, self.template)


class HeaderCredential(_Written):
    """Which secret goes into which header."""

    place: Literal["header"] = "header"

    def _check_name(self) -> None:
        if not HEADER_NAME.fullmatch(self.name) or self.name.lower() in _FRAMING:
            raise ValueError(f"a credential cannot stand in the header {self.name!r}")

    def render(self, value: str) -> str:
        """The header's value with the secret in it. Raises ValueError, without the secret, if it cannot stand there."""
        text = self._filled(value)
        if not HEADER_VALUE.fullmatch(text):
            raise ValueError(f"the credential's field {self.ref.field!r} does not fit into a header")
        return text


class QueryCredential(_Written):
    """Which secret goes into which parameter of the query."""

    place: Literal["query"] = "query"

    def _check_name(self) -> None:
        if not _PARAMETER.fullmatch(self.name):
            raise ValueError(f"a credential cannot stand in the query parameter {self.name!r}")

    def render(self, value: str) -> str:
        """`name=value`, percent-encoded, with the secret in it. Raises ValueError, without the secret, if it cannot stand
        there."""
        try:
            text = quote(self._filled(value), safe="")
        except UnicodeEncodeError:
            text = None
        if text is None or len(text) > MAX_QUERY_SECRET:
            raise ValueError(f"the credential's field {self.ref.field!r} does not fit into a query")
        return f"{quote(self.name, safe='')}={text}"


class ClientCertificate(Contract):
    """A certificate that shows who we are under TLS: the field `chain` of the credential is it with those that it hangs on,
    and the field `key` is its private key, both in PEM, the key without a password."""

    place: Literal["certificate"] = "certificate"
    handle: Name
    chain: FieldName = "certificate"
    key: FieldName = "private_key"

    @property
    def chain_ref(self) -> SecretRef:
        """The certificates, as a credential resolver takes it."""
        return SecretRef(self.handle, self.chain)

    @property
    def key_ref(self) -> SecretRef:
        """The private key, as a credential resolver takes it."""
        return SecretRef(self.handle, self.key)


CredentialRef: TypeAlias = Annotated[
    HeaderCredential | QueryCredential | ClientCertificate, Field(discriminator="place")
]
"""A secret and its place in a request: a header, a parameter of the query, or the TLS handshake."""


def check_credentials(
    credentials: Iterable[CredentialRef], target: Url, *, headers: Iterable[tuple[str, str]], barred: frozenset[str]
) -> None:
    """Raises ValueError where a credential's place is taken, by the request itself, by what the lane alone sets there
    (`barred`) or by another credential, and for a certificate without TLS."""
    named = {name.lower() for name, _value in headers}
    asked = target.parameters if "?" in target.target else set[str]()
    certificates = 0
    for credential in credentials:
        if isinstance(credential, ClientCertificate):
            certificates += 1
        elif isinstance(credential, QueryCredential):
            if credential.name in asked:
                raise ValueError(f"the query parameter {credential.name!r} is the credential's")
            asked.add(credential.name)
        else:
            name = credential.name.lower()
            if name in barred:
                raise ValueError(f"a credential cannot stand in the header {credential.name!r}")
            if name in named:
                raise ValueError(f"the header {credential.name!r} is the credential's")
            named.add(name)
    check_certificate(certificates, target)


def check_certificate(count: int, target: Url) -> None:
    """Raises ValueError unless so many certificates can be shown there."""
    if count > 1:
        raise ValueError(f"{count} client certificates; a TLS handshake shows one")
    if count and target.scheme != "https":
        raise ValueError("a client certificate needs a URL under TLS")
