"""What an operator says of models: `[inference]`."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from interlock import plane

_PROVIDER: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_MODEL: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}:[^\s\x00-\x1f\x7f]{1,136}")
_OPTION: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_SOURCE: Final = re.compile(r"[a-z]{1,20}:[^\x00-\x1f\x7f]{1,1000}")


def _provider(text: str) -> str:
    if _PROVIDER.fullmatch(text) is None:
        raise ValueError("must be a name of small letters, digits, dashes and underscores, such as local-llama")
    return text


def _model(text: str) -> str:
    if _MODEL.fullmatch(text) is None:
        raise ValueError("must be provider:name, such as openai:gpt-5-mini")
    return text


def _base_url(text: str) -> str:
    plane.parse_base(text)
    return text


def _source(text: str) -> str:
    if text and _SOURCE.fullmatch(text) is None:
        raise ValueError("must be KIND:PLACE, such as env:OPENAI_API_KEY; the key itself has no place here")
    return text


def _option(text: str) -> str:
    if _OPTION.fullmatch(text) is None:
        raise ValueError("must be the name of an option, such as min_p")
    from interlock import inference  # here, for settings are read by commands that ask no model

    if not inference.is_declarable(text):
        raise ValueError(f"{text} cannot be let through: it would move state, effects or money out of sight")
    return text


Dollars = Annotated[Decimal, Field(ge=0, le=1_000_000)]


class ProviderSettings(BaseModel):
    """Where models are asked. `kind` is the API: `openai` (Responses), `openai-chat`, `anthropic`, `google`, or `compatible` for
    whoever else serves Chat Completions, who needs a `base_url`. `api_key` is where the key is (`env:NAME`, `file:PATH` …), "" if
    there is none. `lacks`: what its models have not. `input_usd` and `output_usd` are for a million tokens, `ceiling_usd` for one
    call at most, where no price is known. `max_output_tokens` bounds an answer that a budget counts where its request does not.
    `options`: what of `provider_options` is let through beside what all of its kind take."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["openai", "openai-chat", "anthropic", "google", "compatible"]
    base_url: Annotated[str, AfterValidator(_base_url)] | None = None
    api_key: Annotated[str, AfterValidator(_source)] | None = None
    lacks: tuple[Literal["tools", "result", "stream"], ...] = ()
    options: Annotated[tuple[Annotated[str, AfterValidator(_option)], ...], Field(max_length=100)] = ()
    input_usd: Dollars | None = None
    output_usd: Dollars | None = None
    ceiling_usd: Dollars | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind == "compatible" and self.base_url is None:
            raise ValueError("`kind` is compatible, which needs a `base_url`")
        if (self.input_usd is None) is not (self.output_usd is None):
            raise ValueError("`input_usd` and `output_usd` go together")
        return self


class InferenceSettings(BaseModel):
    """Models. `providers` are set up by their names, which models begin with; `fallbacks` are those that are asked in a model's
    place, in order, when it has no answer; `tries` is how often one of them is asked for one answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    providers: Mapping[Annotated[str, AfterValidator(_provider)], ProviderSettings] = Field(
        default_factory=dict[str, ProviderSettings]
    )
    fallbacks: Mapping[Annotated[str, AfterValidator(_model)], tuple[Annotated[str, AfterValidator(_model)], ...]] = (
        Field(default_factory=dict[str, tuple[str, ...]])
    )
    tries: Annotated[int, Field(ge=1, le=10)] = 3
