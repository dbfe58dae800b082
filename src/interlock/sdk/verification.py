"""How a webhook proves its origin, as data: where the signature stands, what is signed, by which algorithm, how fresh it is,
what tells one delivery from another, and how the service makes sure that somebody listens.

What many services do is in `schemes.yaml`, by the service's name; a manifest takes one over with `scheme`.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Annotated, Any, Final, Literal, TypeAlias, cast

from pydantic import Field

from interlock.kernel import JSON, JsonLimits, parse_yaml
from interlock.sdk.terms import Name, Part, Text

Algorithm: TypeAlias = Literal[
    "hmac_sha1", "hmac_sha256", "hmac_sha512", "sha256", "ed25519", "ecdsa_p256", "jwt", "token", "basic", "unsigned"
]
"""`sha256` is a digest over the secret and then the content, which is weaker than an HMAC and all that some services have."""

BEARER: Final = frozenset({"jwt", "token", "basic"})
"""Who has seen one request can send any other: nothing of the body is signed, and nothing of it is worth less than the rest."""

MAX_BYTES: Final = 25 * 1_048_576
"""Of a body, whatever a verification says: GitHub sends as much."""

HOLE: Final = re.compile(r"\{([^{}]*)\}")
HOLES: Final = frozenset({"body", "timestamp", "id", "url", "method", "form"})
"""What may stand in a signed content, besides `header:NAME`."""


class Timestamp(Part):
    """When a delivery was signed: in a header, in a pair of the signature's header, or at a place of the body. One that is older
    or newer than `tolerance_seconds` is refused."""

    header: Text | None = None
    pair: Text | None = None
    pointer: str | None = None
    unit: Literal["s", "ms", "rfc3339"] = "s"
    tolerance_seconds: int = Field(default=300, ge=1, le=3600)


class DeliveryId(Part):
    """What tells one delivery from another and stays the same when it is delivered again: a header, or a place in the body."""

    header: Text | None = None
    pointer: str | None = None


class Reply(Part):
    """A member of the answer to a handshake: a constant, what stands at a place of the body, or that place's HMAC in hex under
    the route's secret."""

    value: Any = None
    pointer: str | None = None
    hmac_of: str | None = None


class Handshake(Part):
    """How the service makes sure that somebody listens.

    It is one if the query has `parameter` (whose value is the answer, as text), if every place of `when` in the body holds its
    value (the answer is made of `reply`, as JSON; without one it is empty), or if the service hands the secret over in
    `secret_header` (which the answer repeats) or at `secret_pointer`; a secret is taken once, while the route waits for one.
    `signed`: it proves itself as any other delivery does."""

    parameter: Text | None = None
    when: dict[str, Any] = Field(default={})
    reply: dict[str, Reply] = Field(default={})
    secret_header: Text | None = None
    secret_pointer: str | None = None
    signed: bool = True

    @property
    def hands_over(self) -> bool:
        """Whether the service, and not a person, says what the secret is."""
        return self.secret_header is not None or self.secret_pointer is not None


class Claims(Part):
    """What a JWT has to say: its issuer, for whom it is (`audience`; left out: the route's own URL), and these other claims. Its
    keys are the route's (a JWK set); where a route has none, those at `keys_url`, from a host that the settings allow."""

    issuers: tuple[Text, ...]
    audience: Text | None = None
    algorithms: tuple[Literal["RS256", "ES256", "PS256", "Ed25519"], ...] = ("RS256",)
    equal: dict[str, Any] = Field(default={})
    keys_url: Annotated[str, Field(pattern=r"^https?://[^\s@#]{1,500}$")] | None = None


class Verification(Part):
    """How a webhook proves its origin.

    `shape` is how the header holds signatures: one after `prefix` (raw), as `key=value` (pairs; those of `pair` count), or many
    with `separator` between them (list; those after `prefix` count). Of several, one has to be right. `content` is what is
    signed: `{body}` as it came, `{timestamp}` and `{id}` as they were sent, `{url}` of the route as the service knows it,
    `{method}`, `{form}` (names and values of a form, sorted), `{header:NAME}`. `key` is how the secret is written: a public key
    for ed25519 (hex, base64, whpk) and ecdsa_p256 (spki: PEM, or base64 of DER), a JWK set for jwt. A `token` stands in the
    header, or at each place of `pointer` in the body. What is unsigned needs a justification, which the catalogue shows.
    `digest_parameter`: the signed URL has a parameter of that name, with the SHA-256 (hex) of a body that is no form.
    `acknowledge` is the status of answers that say nothing more. A body has at most `max_bytes`.
    """

    algorithm: Algorithm
    header: Text | None = None
    prefix: str = ""
    shape: Literal["raw", "pairs", "list"] = "raw"
    separator: Literal[" ", ","] = " "
    pair: Text = "v1"
    content: Text = "{body}"
    encoding: Literal["hex", "base64"] = "hex"
    key: Literal["text", "base64", "hex", "whsec", "whpk", "spki", "jwks"] = "text"
    pointer: str | None = None
    timestamp: Timestamp | None = None
    delivery_id: DeliveryId | None = None
    handshake: Handshake | None = None
    claims: Claims | None = None
    secret_field: Name | None = None
    justification: Text | None = None
    digest_parameter: Text | None = None
    acknowledge: Literal[200, 202, 204] = 200
    max_bytes: int = Field(default=5 * 1_048_576, ge=1024, le=MAX_BYTES)

    @property
    def holes(self) -> frozenset[str]:
        """What the signed content is made of."""
        return frozenset(HOLE.findall(self.content))

    @property
    def is_signed(self) -> bool:
        """Whether a signature covers the content."""
        return self.algorithm not in BEARER and self.algorithm != "unsigned"

    @property
    def covers_id(self) -> bool:
        """Whether who changes the delivery id breaks the proof, or could have made it anyhow."""
        if self.delivery_id is None or not self.is_signed:
            return self.delivery_id is not None and self.algorithm in BEARER
        header = self.delivery_id.header
        if header is None:
            return "body" in self.holes
        return "id" in self.holes or any(each.lower() == f"header:{header.lower()}" for each in self.holes)

    @property
    def is_fresh(self) -> bool:
        """Whether an old delivery that is sent again is told by its age."""
        return self.algorithm == "jwt" or (self.timestamp is not None and self.is_signed)


class Event(Part):
    """Which deliveries are a trigger's: a header, or a place in the body, has one of these values."""

    header: Text | None = None
    pointer: str | None = None
    values: tuple[Text, ...]


@cache
def schemes() -> Mapping[str, Mapping[str, JSON]]:
    """What services do, by their names, as plain data of `Verification`."""
    text = resources.files("interlock.sdk").joinpath("schemes.yaml").read_text(encoding="utf-8")
    return cast("Mapping[str, Mapping[str, JSON]]", parse_yaml(text, limits=JsonLimits(), what="schemes.yaml"))


def with_scheme(draft: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a verification, in which `scheme` was replaced by what it names; what stands beside it counts first.
    Raises ValueError for a scheme that there is not."""
    given = dict(draft)
    name = given.pop("scheme", None)
    if name is None:
        return given
    known = schemes()
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"there is no scheme {str(name)[:60]!r}; there are: {', '.join(sorted(known))}")
    return {**known[name], **given}


def read_verification(draft: Mapping[str, Any]) -> Verification:
    """The verification of plain data, in which `scheme` may stand. Raises ValueError, and pydantic's ValidationError."""
    import orjson

    return Verification.model_validate_json(orjson.dumps(with_scheme(draft)))


def scheme(name: str, **more: Any) -> Verification:
    """The verification of a service by its name; `more` takes the place of what the scheme says. Raises ValueError."""
    return read_verification({"scheme": name, **more})
