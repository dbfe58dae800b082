"""A provider's own model class, with a client that sends by our transport and tries nothing twice."""

from typing import Any, Final

import httpx2
from pydantic_ai.models import Model

from interlock.adapters.models.transport import WireTransport

_NO_KEY: Final = "the-key-is-shown-by-the-lane"
"""Libraries want one; the wire leaves theirs out, and the lane puts the true one in."""

_PATIENCE: Final = 3600.0
"""Ours is the deadline; a library's own must not come first."""


def make(kind: str, name: str, *, provider: str, base_url: str) -> Model:
    """The model. One provider's library is imported for it."""
    match kind:
        case "anthropic":
            return _anthropic(name, base_url)
        case "google":
            return _google(name, base_url)
        case _:
            return _openai(kind, name, provider, base_url)


def _client() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=WireTransport(), timeout=_PATIENCE, trust_env=False)


def _openai(kind: str, name: str, provider: str, base_url: str) -> Model:
    from openai import AsyncOpenAI
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.profiles.openai import OpenAIModelProfile
    from pydantic_ai.providers.openai import OpenAIProvider
    from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

    client: Any = AsyncOpenAI(api_key=_NO_KEY, base_url=base_url, http_client=_client(), max_retries=0)
    if kind == "compatible":
        # Others know `max_tokens`; some take no notice of the newer name, and would go on without an end.
        older = OpenAIModelProfile(openai_chat_supports_max_completion_tokens=False)
        return OpenAIChatModel(name, provider=OpenAICompatibleProvider(provider, openai_client=client), profile=older)
    known = OpenAIProvider(openai_client=client)
    return OpenAIResponsesModel(name, provider=known) if kind == "openai" else OpenAIChatModel(name, provider=known)


def _anthropic(name: str, base_url: str) -> Model:
    from anthropic import AsyncAnthropic
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    client = AsyncAnthropic(api_key=_NO_KEY, base_url=base_url, http_client=_client(), max_retries=0)
    return AnthropicModel(name, provider=AnthropicProvider(anthropic_client=client))


def _google(name: str, base_url: str) -> Model:
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.providers.google import GoogleProvider

    return GoogleModel(name, provider=GoogleProvider(api_key=_NO_KEY, http_client=_client(), base_url=base_url))
