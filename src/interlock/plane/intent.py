"""Intents: exactly what shall be done, before it is done. The recorded form holds neither body nor secret."""

import operator
from abc import abstractmethod
from functools import cached_property
from types import UnionType
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from interlock.kernel import HOST_PORT, RequestError, digest_bytes
from interlock.plane.contract import Contract, Digest, Moment, Name
from interlock.plane.credentials import MAX_CREDENTIALS, CredentialRef, check_credentials
from interlock.plane.headers import HEADER_NAME, HEADER_VALUE, MAX_HEADERS, RESERVED_HEADERS
from interlock.plane.tls_options import TlsOptions, check_tls, is_none
from interlock.plane.urls import Url, parse_url

WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
"""The methods whose requests have a body, if only an empty one."""

Milliseconds = Annotated[int, Field(ge=1, le=3_600_000)]
HostPort = Annotated[str, StringConstraints(max_length=280, pattern=HOST_PORT)]


class Timeouts(Contract):
    """How long each phase may take, in milliseconds. `connect` covers the name lookup and, apart, the TLS handshake;
    `write` and `read` bound one wait on the wire; `total` bounds everything."""

    connect_ms: Milliseconds = 10_000
    write_ms: Milliseconds = 15_000
    read_ms: Milliseconds = 30_000
    pool_ms: Milliseconds = 10_000
    total_ms: Milliseconds = 60_000


class Intent(Contract):
    """What all intents have in common: whose they are, and until when they may begin and run. One that is `durable` is
    carried out only by a node that writes down what it accepts, so that it answers for it after a crash."""

    intent_id: Name
    tenant_id: Name
    run_id: Name
    attempt_id: Name
    trace_id: Name
    deadline_at: Moment
    idempotency_key: Name | None = None
    durable: bool = Field(default=False, exclude_if=operator.not_)

    @property
    @abstractmethod
    def total_ms(self) -> int:
        """The longest that the execution may take, in milliseconds."""

    @classmethod
    def contract_of(cls) -> str:
        """The contract of this kind of intent, such as `interlock.http-intent/v1`."""
        return cls.model_fields["contract"].default

    @classmethod
    def kinds(cls) -> "dict[str, type[Intent]]":
        """The kinds of intents that this type stands for, by their contracts: itself, or all that derive from it."""
        if "contract" in cls.model_fields:
            return {cls.contract_of(): cls}
        return {name: kind for child in cls.__subclasses__() for name, kind in child.kinds().items()}

    @property
    def contract_name(self) -> str:
        """The contract of this intent."""
        return self.contract_of()

    @property
    def needs(self) -> frozenset[str]:
        """What must have been shown of its target beyond what the class stands for."""
        return frozenset()

    @property
    def has_body(self) -> bool:
        """Whether all that travels beside the record is at hand."""
        return True

    @property
    def beside(self) -> bytes:
        """What travels beside the record."""
        return b""

    def completed(self, beside: bytes) -> Self:
        """This intent, with what travels beside its record. ValueError if the record speaks of something else."""
        whole = self._with(beside)
        if not whole.has_body:
            raise ValueError(f"what came with intent {self.intent_id} is not what its record speaks of")
        return whole

    def _with(self, beside: bytes) -> Self:
        if beside:
            raise ValueError(f"nothing travels beside an {self.contract_name}")
        return self

    @property
    def collected(self) -> tuple[str, int] | None:
        """For lanes that stream: which stream becomes the receipt's body when nobody follows, and at most how many bytes
        of it. None for lanes that fill the body themselves."""
        return None


class WebRequest(Contract):
    """What goes to a URL: with which headers and which secrets, how under TLS, and to which hosts it may go at all."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    credentials: tuple[CredentialRef, ...] = Field(default=(), max_length=MAX_CREDENTIALS)
    tls: TlsOptions | None = Field(default=None, exclude_if=is_none)
    allowed_hosts: tuple[HostPort, ...] = Field(max_length=32)

    own_headers: ClassVar[frozenset[str]] = RESERVED_HEADERS
    """The headers that are not for the caller to set."""

    @staticmethod
    def read_url(url: str) -> Url:
        """Where the request goes. Raises ValueError."""
        return parse_url(url)

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        cls.read_url(url)
        return url

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        if len(headers) > MAX_HEADERS:
            raise ValueError(f"{len(headers)} headers; the limit is {MAX_HEADERS}")
        for name, value in headers:
            if not HEADER_NAME.fullmatch(name):
                raise ValueError(f"{name[:100]!r} is not a header name")
            if name.lower() in cls.own_headers:
                raise ValueError(f"the header {name!r} is set by the lane alone")
            if not HEADER_VALUE.fullmatch(value):
                raise ValueError(f"the header {name!r} has characters or a length that headers cannot have")
        return headers

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        if self.credentials:
            barred = self.own_headers - RESERVED_HEADERS
            check_credentials(self.credentials, self.target, headers=self.headers, barred=barred)
        return self

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        check_tls(self.tls, self.target)
        return self

    @cached_property
    def target(self) -> Url:
        """Where the request goes, in parts."""
        return self.read_url(self.url)

    @property
    def host(self) -> str:
        """`host:port`, as leases and allowances write it."""
        return self.target.host_port


class WebIntent(Intent, WebRequest):
    """What all intents have in common that begin with one request to a URL."""


HttpVersion = Literal["1.1", "2"]

HTTP_1_1: Final[tuple[HttpVersion, ...]] = ("1.1",)
"""What is spoken where an intent does not say."""


def _is_1_1(versions: object) -> bool:
    return versions == HTTP_1_1


def _digest_of_body(fields: dict[str, Any]) -> str:
    return digest_bytes(fields["body"])


def _size_of_body(fields: dict[str, Any]) -> int:
    return len(fields["body"])


class RequestIntent(WebIntent):
    """A request with a body. `body` travels beside the record, which holds only its digest and size; an intent that was
    read back from its record knows them and has no body, so no node executes it."""

    body: SkipJsonSchema[bytes] = Field(default=b"", exclude=True, repr=False)
    body_digest: Digest = Field(default_factory=_digest_of_body)
    body_size: Annotated[int, Field(ge=0)] = Field(default_factory=_size_of_body)

    @property
    def beside(self) -> bytes:
        return self.body

    def _with(self, beside: bytes) -> Self:
        return self.model_copy(update={"body": beside})

    @property
    def has_body(self) -> bool:
        """Whether the body at hand is the one that the record speaks of."""
        return len(self.body) == self.body_size and digest_bytes(self.body) == self.body_digest


class HttpIntent(RequestIntent):
    """One HTTP exchange. In the request mode `stream` the body is what is sent in, to the end of the input; in the response
    mode `stream` the answer's head and the pieces of its body are outputs, as they come, and the receipt has no body.

    `http_versions` are those that may be spoken. With both, the peer chooses under TLS (ALPN), and without TLS it is 1.1; with
    "2" alone nothing else is, without TLS by prior knowledge (RFC 9113 §3.3). It is 1.1 unless an intent says otherwise, so
    that the same intent means the same on every node: HTTP/2 is an extra, and shares a connection between executions."""

    contract: Literal["interlock.http-intent/v1"] = "interlock.http-intent/v1"
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    timeouts: Timeouts = Timeouts()
    max_response_bytes: Annotated[int, Field(ge=0, le=2**31)] = 8_388_608
    request_mode: Literal["whole", "stream"] = "whole"
    response_mode: Literal["unary", "stream"] = "unary"
    http_versions: tuple[HttpVersion, ...] = Field(default=HTTP_1_1, min_length=1, exclude_if=_is_1_1)

    @field_validator("http_versions")
    @classmethod
    def _check_http_versions(cls, versions: tuple[HttpVersion, ...]) -> tuple[HttpVersion, ...]:
        if versions != tuple(sorted({*versions})):
            raise ValueError("the HTTP versions stand in their order, each once")
        return versions

    @model_validator(mode="after")
    def _check_request_mode(self) -> Self:
        if self.request_mode == "stream" and (self.body_size or self.method not in WITH_BODY):
            raise ValueError("a streamed request is a POST, PUT or PATCH, and has no body beside its record")
        return self

    @property
    def collected(self) -> tuple[str, int] | None:
        return ("body", self.max_response_bytes) if self.response_mode == "stream" else None

    @property
    def total_ms(self) -> int:
        return self.timeouts.total_ms


def check_kind(name: str, given: object, kind: type | UnionType, words: str) -> None:
    """Raises RequestError, in `words`, for what is of another kind."""
    if not isinstance(given, kind):
        raise RequestError(f"{name} must be {words}, not {type(given).__name__}")


def check_request(intent: object, target_class: object) -> None:
    """Raises RequestError for what is no intent, or no name of a class of targets."""
    check_kind("the intent", intent, Intent, "an intent, such as an HttpIntent")
    check_kind("target_class", target_class, str, "a text, such as local-process")
