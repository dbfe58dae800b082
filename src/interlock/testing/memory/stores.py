"""Stores of others to try their providers on: new each time, in this process, on an embedder that needs nothing."""

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from interlock import memory

_EMBEDDER = memory.HashedEmbedder(64)


def langgraph() -> Any:
    """LangGraph's InMemoryStore, with an index."""
    index = {"dims": _EMBEDDER.dimensions, "embed": _embedded}
    return import_module("langgraph.store.memory").InMemoryStore(index=index)


def mem0() -> Any:
    """mem0's AsyncMemory over a Qdrant in this process, without a model."""
    os.environ["MEM0_TELEMETRY"] = "False"
    client = import_module("qdrant_client").QdrantClient(":memory:")
    store = {"client": client, "collection_name": "kept", "embedding_model_dims": _EMBEDDER.dimensions}
    unused = {"provider": "openai", "config": {"api_key": "unused"}}
    config = {"llm": unused, "embedder": unused, "vector_store": {"provider": "qdrant", "config": store}}
    opened = import_module("mem0").AsyncMemory.from_config({**config, "history_db_path": ":memory:"})
    opened.embedding_model = _Embedder()
    return opened


class _Embedder:
    """What mem0 asks for vectors."""

    def embed(self, text: str, memory_action: str = "add") -> Sequence[float]:
        del memory_action
        return list(_EMBEDDER.vector(text))

    def embed_batch(self, texts: Sequence[str], memory_action: str = "add") -> list[Sequence[float]]:
        return [self.embed(text, memory_action) for text in texts]


def _embedded(texts: Sequence[str]) -> list[list[float]]:
    return [list(_EMBEDDER.vector(text)) for text in texts]
