"""The embedder that a provider's configuration names."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from interlock import memory
from interlock.adapters.memory.over_http import HttpTransport

Choice: TypeAlias = Annotated[Literal["hashed", "none"] | memory.Endpoint, Field(union_mode="left_to_right")]
"""What a configuration may say: the built-in one, none, or an endpoint."""


def embedder_of(choice: Choice, dimensions: int) -> memory.Embedder | None:
    """Nothing is connected to yet. Raises InvalidConfig."""
    if choice == "none":
        return None
    if choice == "hashed":
        return memory.HashedEmbedder(dimensions)
    assert isinstance(choice, memory.Endpoint)
    return memory.RemoteEmbedder(choice, dimensions, memory.transport_to(choice) or HttpTransport(choice))
