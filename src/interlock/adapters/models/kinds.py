"""The APIs that models are asked by: where each is found, how its key is shown, and what a whole stream of it ends with."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One API. `key_variable`: where its key is looked for when nobody says."""

    base_url: str | None
    key_variable: str | None
    show: tuple[tuple[str, str], ...]
    ends: re.Pattern[bytes]
    """What stands in every stream that has come to its end: in a JSON text it could stand only with its quotes escaped."""
    price_as: str | None
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    """What the model layer is told with every question."""


_UNKEPT: Final = {"openai_store": False}
"""OpenAI keeps for weeks what it is asked and what it answers, unless it is told not to: where a conversation is kept is here."""

_CHAT_END: Final = re.compile(rb"^data:\s*\[DONE\]", re.MULTILINE)
_BEARER: Final = (("authorization", "Bearer {api_key}"),)

KINDS: Final[Mapping[str, Kind]] = {
    "openai": Kind(
        base_url="https://api.openai.com/v1",
        key_variable="OPENAI_API_KEY",
        show=_BEARER,
        ends=re.compile(rb'"type"\s*:\s*"(response\.(completed|incomplete|failed)|error)"'),
        price_as="openai",
        settings=_UNKEPT,
    ),
    "openai-chat": Kind(
        base_url="https://api.openai.com/v1",
        key_variable="OPENAI_API_KEY",
        show=_BEARER,
        ends=_CHAT_END,
        price_as="openai",
        settings=_UNKEPT,
    ),
    "anthropic": Kind(
        base_url="https://api.anthropic.com",
        key_variable="ANTHROPIC_API_KEY",
        show=(("x-api-key", "{api_key}"),),
        ends=re.compile(rb'"type"\s*:\s*"(message_stop|error)"'),
        price_as="anthropic",
    ),
    "google": Kind(
        base_url="https://generativelanguage.googleapis.com",
        key_variable="GEMINI_API_KEY",
        show=(("x-goog-api-key", "{api_key}"),),
        ends=re.compile(rb'"(finishReason|blockReason|error)"\s*:'),
        price_as="google",
    ),
    "compatible": Kind(base_url=None, key_variable=None, show=_BEARER, ends=_CHAT_END, price_as=None),
}
"""`openai` is its Responses API, `openai-chat` and `compatible` are Chat Completions, the latter by whoever else serves it."""
