"""Vectors from an endpoint that speaks as OpenAI's does (`POST …/embeddings`): what is asked, what is believed of the answer."""

import math
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Protocol, Self, TypeAlias, cast

import orjson
from pydantic import Field

from interlock.kernel import JSON, InvalidJson, JsonLimits, parse_json
from interlock.memory.embedding import Vector
from interlock.memory.errors import BrokenCapability, InvalidConfig, InvalidInput, MemoryFault, ProviderUnavailable
from interlock.memory.records import MAX_DIMENSIONS
from interlock.memory.value import Name, Value
from interlock.memory.words import words

MAX_REQUEST: Final = 1_048_576
"""Bytes of texts in one request, about."""

MAX_DELAY: Final = 86_400.0
"""Seconds that an endpoint may ask to be left alone for, at most."""

_NUMBER: Final = 32
"""Bytes that one number of a vector may take in an answer."""

_AROUND: Final = 65_536
"""Bytes of an answer beside its vectors."""

_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Endpoint(Value):
    """An endpoint for embeddings, as it stands in a provider's configuration. `url` is what `/embeddings` follows
    (`https://api.example.com/v1`); `key_env` names the environment variable that has the key. With `send_dimensions` the model is
    told how long vectors are to be, if it is one that can be told."""

    url: Annotated[str, Field(min_length=1, max_length=2_000)]
    model: Name
    key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")] | None = None
    send_dimensions: bool = False
    batch: Annotated[int, Field(ge=1, le=2_048)] = 64
    """Texts of one request."""
    longest: Annotated[int, Field(ge=1, le=1_048_576)] = 24_000
    """Characters of a text; what is behind them is not in its vector."""
    timeout: Annotated[float, Field(gt=0, le=600)] = 30.0
    """Seconds of one request."""
    allow: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Addresses, networks or `host:port` that may be reached although they are not public."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint answered. The names of headers are in small letters."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class Transport(Protocol):
    """How a request gets to the endpoint: over a connection of its own, or by whatever carries a platform's effects."""

    @property
    def largest(self) -> int:
        """Bytes of the largest answer that it brings: so many texts are asked for at once."""
        ...

    async def post(self, body: bytes, *, most: int, tenant: str) -> Answer:
        """Send JSON to the endpoint's `/embeddings`, with the key, for a tenant. Raises ProviderUnavailable where there is no
        whole answer, DeadlineExceeded, InvalidConfig for an address that may not be reached, and BrokenCapability for an answer
        of more than `most` bytes."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


Carry: TypeAlias = Callable[[Endpoint], Transport]
"""Makes the way to an endpoint."""

_CARRY: Final[ContextVar[Carry | None]] = ContextVar("interlock_memory_carry", default=None)


@contextmanager
def carried_by(carry: Carry | None) -> Generator[None]:
    """Whatever is opened meanwhile reaches its endpoints this way, also a provider within a provider; None: as it is."""
    token = _CARRY.set(carry or _CARRY.get())
    try:
        yield
    finally:
        _CARRY.reset(token)


def transport_to(endpoint: Endpoint) -> Transport | None:
    """The way to an endpoint that whoever opens a memory has said; None: none was."""
    carry = _CARRY.get()
    return None if carry is None else carry(endpoint)


class RemoteEmbedder:
    """An Embedder behind an endpoint. A text without words is not sent: its vector is all zeros. What is sent is nobody's in
    particular; `of` makes it a tenant's."""

    def __init__(self, endpoint: Endpoint, dimensions: int, transport: Transport) -> None:
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            raise InvalidInput(f"the dimensions of an embedding are from 1 to {MAX_DIMENSIONS}")
        self._endpoint = endpoint
        self._transport = transport
        self._tenant = ""
        self.dimensions = dimensions
        self.name = f"{endpoint.model}-{dimensions}"[:200]

    def of(self, tenant: str) -> Self:
        """The same, for a tenant: over the same connections, which stay this one's."""
        theirs = copy(self)
        theirs._tenant = tenant  # noqa: SLF001 - it is one of its own kind
        return theirs

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Raises ProviderUnavailable and DeadlineExceeded where it may do later (`details.retry_after`: in how many seconds),
        InvalidConfig for a key, a model or an address that is refused, InvalidInput for texts that are, BrokenCapability for
        an answer that is none."""
        made: list[Vector] = [(0.0,) * self.dimensions] * len(texts)
        sent = [(at, text[: self._endpoint.longest]) for at, text in enumerate(texts) if any(True for _ in words(text))]
        each = 1_024 + self.dimensions * _NUMBER
        fitting = max(1, (self._transport.largest - _AROUND) // each)
        for part in _batches(sent, min(self._endpoint.batch, fitting)):
            vectors = await self._asked([text for _, text in part])
            for (at, _), vector in zip(part, vectors, strict=True):
                made[at] = vector
        return made

    async def close(self) -> None:
        """Let go of connections."""
        await self._transport.close()

    async def _asked(self, texts: Sequence[str]) -> list[Vector]:
        body: dict[str, object] = {"model": self._endpoint.model, "input": list(texts), "encoding_format": "float"}
        if self._endpoint.send_dimensions:
            body["dimensions"] = self.dimensions
        most = min(_AROUND + len(texts) * (1_024 + self.dimensions * _NUMBER), self._transport.largest)
        answer = await self._transport.post(orjson.dumps(body), most=most, tenant=self._tenant)
        if answer.status != 200:
            raise _refused(answer)
        return self._read(answer.body, len(texts), most)

    def _read(self, body: bytes, count: int, most: int) -> list[Vector]:
        limits = JsonLimits(max_bytes=most, max_depth=8, max_nodes=1_000 + count * (self.dimensions + 16))
        try:
            document = parse_json(body, limits=limits, what="answer")
        except InvalidJson as error:
            raise self._broken(f"no JSON of the size that is due: {error.message}") from None
        listed = document.get("data") if isinstance(document, dict) else None
        if not isinstance(listed, list) or len(listed) != count:
            raise self._broken(f"no list of {count} vectors")
        found: dict[int, Vector] = {}
        for at, each in enumerate(listed):
            place = each.get("index", at) if isinstance(each, dict) else None
            if isinstance(place, int) and not isinstance(place, bool) and 0 <= place < count:
                found[place] = self._vector(cast("dict[str, JSON]", each).get("embedding"))
        if len(found) != count:
            raise self._broken("vectors that are not numbered from 0 on, each once")
        return [found[at] for at in range(count)]

    def _vector(self, told: JSON) -> Vector:
        if not isinstance(told, list) or not all(type(each) in (int, float) for each in told):
            raise self._broken("a vector that is no list of numbers")
        if len(told) != self.dimensions:
            raise self._broken(f"a vector of {len(told)} dimensions where {self.dimensions} are due")
        vector = tuple(map(float, cast("list[Any]", told)))
        if not all(map(math.isfinite, vector)):
            raise self._broken("a number that is not finite")
        return vector

    def _broken(self, what: str) -> BrokenCapability:
        return BrokenCapability(
            f"the endpoint of {self.name} answered with {what}",
            next_step="Look at the model and the dimensions that the endpoint is configured with.",
        )


def _batches(sent: Sequence[tuple[int, str]], most: int) -> Iterator[list[tuple[int, str]]]:
    """At most so many texts at once, and about MAX_REQUEST bytes."""
    part: list[tuple[int, str]] = []
    size = 0
    for each in sent:
        length = len(each[1].encode())
        if part and (len(part) == most or size + length > MAX_REQUEST):
            yield part
            part, size = [], 0
        part.append(each)
        size += length
    if part:
        yield part


def _refused(answer: Answer) -> MemoryFault:
    """What a status means: later, or after a change, and whose."""
    status = answer.status
    told = f"the endpoint for embeddings answered with HTTP {status}{_code_of(answer.body)}"
    details: dict[str, JSON] = {"status": status}
    if status in {408, 409, 425, 429} or status >= 500:
        if (delay := _delay(answer.headers.get("retry-after", ""))) is not None:
            details["retry_after"] = delay
        return ProviderUnavailable(told, details=details, next_step="Try again later; `details.retry_after` says when.")
    if status in {400, 413, 422}:
        return InvalidInput(
            told, details=details, next_step="Send shorter texts (`longest`) or fewer at once (`batch`)."
        )
    step = "Look at the key, the model and the address that the endpoint is configured with."
    return InvalidConfig(told, details=details, next_step=step)


def _delay(told: str) -> float | None:
    """Seconds, as far as they are told as a number."""
    seconds = float(told) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,3})?", told) else None
    return None if seconds is None else min(seconds, MAX_DELAY)


def _code_of(body: bytes) -> str:
    """The endpoint's own code of an error, which is a word; its message may repeat what was sent, and is left out."""
    try:
        document = parse_json(body, limits=JsonLimits(max_bytes=65_536, max_depth=8, max_nodes=1_000), what="answer")
    except InvalidJson:
        return ""
    error = document.get("error") if isinstance(document, dict) else None
    code = (error.get("code") or error.get("type")) if isinstance(error, dict) else None
    return f" ({code})" if isinstance(code, str) and _CODE.fullmatch(code) else ""
