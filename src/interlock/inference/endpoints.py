"""Where models are asked, as an installation has them set up."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_UP, Decimal
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

from interlock import plane
from interlock.inference import options
from interlock.inference.errors import ModelRefused
from interlock.inference.messages import Request, Usage
from interlock.inference.port import Model
from interlock.kernel import Secret

OUTPUT_TOKENS: Final = 4096
"""How many tokens an answer may have where nobody says, and a budget has to know before."""

MOST_TOKENS: Final = 10_000_000

_BYTES_PER_TOKEN: Final = 3
"""What is taken for one token, before the provider has counted; models have four or so to each."""


class Feature(StrEnum):
    """What a request may need of a model."""

    TOOLS = "tools"
    RESULT = "result"
    STREAM = "stream"


Price: TypeAlias = Callable[[Usage], Decimal | None]
"""What that usage costs in US dollars. None: nobody knows."""


async def _none(_tenant_id: str) -> Mapping[str, Secret]:
    return {}


def unpriced(_usage: Usage) -> Decimal | None:
    """The price of a model whose price nobody knows."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A model at a provider. Over HTTP it is asked at `base_url`, and nowhere else, with the `secrets` of a tenant shown as
    `show` says. `ceiling` is what a call of it is taken to cost at most where it has no price."""

    provider: str
    name: str
    model: Model = field(repr=False)
    kind: str = "scripted"
    base_url: str | None = None
    show: tuple[tuple[str, str], ...] = ()
    """Headers with secrets, as templates: `("authorization", "Bearer {api_key}")`."""
    secrets: Callable[[str], Awaitable[Mapping[str, Secret]]] = field(default=_none, repr=False)
    lacks: frozenset[Feature] = frozenset()
    options: frozenset[str] = frozenset()
    """Options of the provider's that its setting lets through, beside those that every one of its kind takes."""
    price: Price = field(default=unpriced, repr=False)
    ceiling: Decimal | None = None
    most_output: int | None = None
    """Tokens of an answer of which nobody says how long it may be, where a budget counts it."""

    @property
    def ref(self) -> str:
        """`provider:name`."""
        return f"{self.provider}:{self.name}"

    @property
    def host(self) -> str | None:
        """`host:port`."""
        return None if self.base_url is None else plane.parse_base(self.base_url).host_port

    def credentials(self, handle: str) -> tuple[plane.CredentialRef, ...]:
        """The secrets behind a handle, in their places."""
        return tuple(plane.HeaderCredential(handle=handle, name=name, template=shown) for name, shown in self.show)

    def missing(self, request: Request, *, stream: bool) -> Sequence[Feature]:
        """What the request needs and this model has not."""
        needs = ((Feature.TOOLS, bool(request.tools)), (Feature.RESULT, request.result is not None))
        return [each for each, needed in (*needs, (Feature.STREAM, stream)) if needed and each in self.lacks]

    def wrong_options(self, request: Request) -> str | None:
        """Why the provider is not told the request's options."""
        found = list(options.flaws(request.provider_options, kind=self.kind, declared=self.options))
        told = (f"provider_options.{path} {problem}; {instead}" for path, problem, instead in found)
        return "; ".join(told) or None

    def limit(self, request: Request) -> int:
        """Tokens of an answer at most: what the request says, or the setting, or OUTPUT_TOKENS. Raises ModelRefused."""
        told: object = request.params.get("max_tokens")
        if told is None:
            return self.most_output or OUTPUT_TOKENS
        if not isinstance(told, int) or isinstance(told, bool) or not 1 <= told <= MOST_TOKENS:
            raise ModelRefused(f"params.max_tokens is {str(told)[:60]!r}, and no number from 1 to {MOST_TOKENS}")
        return told

    def bounded(self, request: Request) -> Request:
        """The request, which says how long its answer may be. Raises ModelRefused."""
        return request.model_copy(update={"params": {**request.params, "max_tokens": self.limit(request)}})

    def most(self, request: Request, size: int) -> tuple[Usage, Decimal | None]:
        """What a request of that many bytes may come to if it is `bounded`, before anybody has counted: tokens, and dollars if
        somebody knows. Raises ModelRefused."""
        usage = Usage(input_tokens=size // _BYTES_PER_TOKEN + 1, output_tokens=self.limit(request))
        price = self.price(usage)
        return usage, self.ceiling if price is None else price


class Models(Protocol):
    """The models of an installation."""

    def fetch(self, ref: str) -> Endpoint:
        """The model of that name, `provider:name`. Nothing of a provider is loaded. Raises UnknownModel."""
        ...

    def fallbacks(self, ref: str) -> Sequence[str]:
        """The models to be asked in its place, in order, as the operator has decided."""
        ...

    @property
    def providers(self) -> Sequence[str]:
        """The names of all providers."""
        ...

    @property
    def tries(self) -> int:
        """How often one model is asked for one answer."""
        ...


def micros(dollars: Decimal) -> int:
    """Millionths of a dollar, as budgets count them: whole ones, rounded up."""
    return int((dollars * 1_000_000).to_integral_value(rounding=ROUND_UP))
