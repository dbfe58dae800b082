"""A LangGraph store as a memory keeps the contract, with an index of its own and without."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from langgraph.store.base import IndexConfig
from langgraph.store.memory import InMemoryStore

from interlock import memory
from interlock.testing.memory import CASES, trying
from interlock.testing.memory.machine import against_dictionaries

EMBEDDER = memory.HashedEmbedder(64)


def embed(texts: Any) -> list[list[float]]:
    return [list(EMBEDDER.vector(text)) for text in texts]


def reference(index: IndexConfig | None) -> memory.ProviderRef:
    return memory.ProviderRef(name="langgraph", config={"store": InMemoryStore(index=index)})


@pytest.mark.anyio
@pytest.mark.faults  # for it takes long
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


@pytest.mark.anyio
async def test_the_store_is_asked_for_no_more_than_the_scope():
    async with memory.Memory.open(reference(None), scope=memory.Scope(tenant="acme")) as mem:
        for session in ("s1", "s2"):
            await mem.narrowed(user="ana", session=session).remember(session)
        provider: Any = mem.provider
        found = await provider._store.load(memory.Scope(tenant="acme", session="s1"), 10)
        assert [document["scope"]["session"] for document in found] == ["s1"]


@pytest.mark.hypothesis
def test_it_answers_as_dictionaries_do():
    machine = against_dictionaries(lambda _: reference(None))
    run_state_machine_as_test(
        machine, settings=settings(max_examples=settings().max_examples // 10, stateful_step_count=15)
    )
