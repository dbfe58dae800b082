"""A LangGraph store as a memory keeps the contract, with an index of its own and without."""

from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import IndexConfig
from langgraph.store.memory import InMemoryStore

from interlock import memory
from interlock.testing.memory import CASES, trying

pytestmark = pytest.mark.anyio

EMBEDDER = memory.HashedEmbedder(64)


def embed(texts: Any) -> list[list[float]]:
    return [list(EMBEDDER.vector(text)) for text in texts]


def reference(index: IndexConfig | None) -> memory.ProviderRef:
    return memory.ProviderRef(name="langgraph", config={"store": InMemoryStore(index=index)})


@pytest.mark.parametrize("index", [None, IndexConfig(dims=64, embed=embed)], ids=["plain", "indexed"])
async def test_it_keeps_the_contract(index: IndexConfig | None, tmp_path: Path):
    broken: list[str] = []
    held = 0
    for case in CASES:
        async with trying(lambda _: reference(index), tmp_path) as trial:
            if case.missing(trial.mem.capabilities()) is not None:
                continue
            try:
                await case.act(trial)
                held += 1
            except Exception as error:  # noqa: BLE001 - whatever breaks it
                broken.append(f"{case}: {type(error).__name__}: {error}")
    assert not broken
    assert held > 120
