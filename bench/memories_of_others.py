"""mem0 and LangGraph's store in this process, on the same embedder."""

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interlock import memory


class Mem0:
    """mem0 2.x without a model (`infer=False`), on its local vector store. Its search by words needs fastembed, which loads a
    model from the network, so that it is left out; its own telemetry is switched off."""

    def __init__(self, folder: Path, embedder: memory.HashedEmbedder) -> None:
        os.environ["MEM0_TELEMETRY"] = "False"
        os.environ["MEM0_DIR"] = str(folder)
        config: dict[str, Any] = {
            "vector_store": {
                "provider": "qdrant",
                "config": {
                    "path": str(folder / "vectors"),
                    "collection_name": "notes",
                    "embedding_model_dims": embedder.dimensions,
                    "on_disk": True,
                },
            },
            # Neither is asked: the embedder is replaced below, and nothing is inferred.
            "embedder": {"provider": "openai", "config": {"api_key": "none", "embedding_dims": embedder.dimensions}},
            "llm": {"provider": "openai", "config": {"api_key": "none"}},
            "history_db_path": str(folder / "history.db"),
        }
        self._memory: Any = importlib.import_module("mem0").Memory.from_config(config)
        self._memory.embedding_model = _Embedding(embedder)
        self._numbers: dict[str, int] = {}

    def keep(self, texts: Sequence[str]) -> None:
        for number, text in enumerate(texts):
            (made,) = self._memory.add(text, user_id="ana", infer=False)["results"]
            self._numbers[made["id"]] = number

    def search(self, asked: str, limit: int) -> list[int]:
        found = self._memory.search(asked, filters={"user_id": "ana"}, top_k=limit, threshold=0.0)["results"]
        return [self._numbers[each["id"]] for each in found]

    def close(self) -> None:
        self._memory.vector_store.client.close()


class LangGraph:
    """LangGraph's InMemoryStore with an index."""

    def __init__(self, embedder: memory.HashedEmbedder) -> None:
        store = importlib.import_module("langgraph.store.memory")
        base = importlib.import_module("langgraph.store.base")
        self._put: Any = base.PutOp
        index = {"dims": embedder.dimensions, "embed": _Embedding(embedder).embed_batch}
        self._store: Any = store.InMemoryStore(index=index)

    def keep(self, texts: Sequence[str]) -> None:
        self._store.batch(
            [self._put(("acme", "ana"), str(number), {"text": text}) for number, text in enumerate(texts)]
        )

    def search(self, asked: str, limit: int) -> list[int]:
        return [int(found.key) for found in self._store.search(("acme", "ana"), query=asked, limit=limit)]


class _Embedding:
    """Our embedder as others ask one."""

    def __init__(self, embedder: memory.HashedEmbedder) -> None:
        self._embedder = embedder

    def embed(self, text: str, memory_action: str | None = None) -> list[float]:
        del memory_action
        return list(self._embedder.vector(text))

    def embed_batch(self, texts: Sequence[str], memory_action: str | None = None) -> list[list[float]]:
        return [self.embed(text, memory_action) for text in texts]
