"""mem0 as a memory keeps the contract: the real library with its vector store on disk, and an embedder that needs no network.

mem0 brings 25 packages along, so it is in the group `bench`: `make .venv/.bench` installs it."""

import os
from collections.abc import AsyncGenerator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from interlock import memory
from interlock.testing.memory import CASES, trying

pytestmark = [
    pytest.mark.rig,
    pytest.mark.anyio,
    pytest.mark.filterwarnings("default"),  # mem0 and qdrant have some of their own
    pytest.mark.skipif(find_spec("mem0") is None, reason="mem0 is not installed: make .venv/.bench"),
]

ANA = memory.Scope(tenant="acme", user="ana")
EMBEDDER = memory.HashedEmbedder(64)


class Hashed:
    """What mem0 asks for vectors."""

    def embed(self, text: str, memory_action: str = "add") -> Sequence[float]:
        return list(EMBEDDER.vector(text))


def config(folder: Path) -> dict[str, Any]:
    unused = {"provider": "openai", "config": {"api_key": "unused"}}
    store = {"path": str(folder / "qdrant"), "collection_name": "kept", "embedding_model_dims": 64, "on_disk": True}
    return {"llm": unused, "embedder": unused, "vector_store": {"provider": "qdrant", "config": store}}


@pytest.fixture(scope="module", autouse=True)
def mem0(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Imported only here: it makes a folder for its settings wherever it is imported."""
    os.environ["MEM0_DIR"] = str(tmp_path_factory.mktemp("mem0"))
    os.environ["MEM0_TELEMETRY"] = "False"
    return import_module("mem0")


@pytest.fixture
async def opened(mem0: Any, tmp_path: Path) -> AsyncGenerator[Any]:
    kept = mem0.AsyncMemory.from_config({**config(tmp_path), "history_db_path": str(tmp_path / "history.db")})
    kept.embedding_model = Hashed()
    yield kept
    kept.close()
    kept.vector_store.client.close()


async def test_it_keeps_the_contract(opened: Any, tmp_path: Path):
    broken: list[str] = []
    held = 0
    for case in CASES:
        reference = memory.ProviderRef(name="mem0", config={"memory": opened})
        async with trying(lambda _, it=reference: it, tmp_path) as trial:
            if case.missing(trial.mem.capabilities()) is not None:
                continue
            try:
                await case.act(trial)
                held += 1
            except Exception as error:  # noqa: BLE001 - whatever breaks it
                broken.append(f"{case}: {type(error).__name__}: {error}")
        opened.vector_store.reset()
    assert not broken
    assert held > 130


async def test_nothing_of_what_was_forgotten_is_left_in_mem0(opened: Any, tmp_path: Path):
    async with memory.Memory.open("mem0", {"memory": opened}, scope=ANA) as mem:
        kept = await mem.remember("zebra one")
        await mem.remember("zebra two", record_id=kept.record_id)
        await mem.forget(kept.record_id)
        everything = await opened.get_all(filters={"user_id": "*"}, top_k=100)
        history = opened.db.connection.execute("SELECT * FROM history").fetchall()
        assert "zebra" not in str(everything)
        assert history == []


async def test_of_a_record_that_is_there_twice_the_last_word_counts(opened: Any):
    async with memory.Memory.open("mem0", {"memory": opened}, scope=ANA) as mem:
        kept = await mem.remember("first")
        (old,) = (await opened.get_all(filters={"user_id": "*"}, top_k=10))["results"]
        await mem.remember("second", record_id=kept.record_id)
        ids = {name: old[name] for name in ("user_id", "agent_id", "run_id")}
        await opened.add(old["memory"], infer=False, metadata=old["metadata"], **ids)
        assert [record.text for record in (await mem.retrieve()).records] == ["second"]
        assert (await mem.forget(kept.record_id)).existed
        assert "first" not in str(await opened.get_all(filters={"user_id": "*"}, top_k=10))


async def test_what_others_keep_in_the_collection_is_left_alone(opened: Any):
    await opened.add("of another program", user_id="ana", infer=False)
    async with memory.Memory.open("mem0", {"memory": opened}, scope=ANA) as mem:
        await mem.remember("ours")
        assert [record.text for record in (await mem.retrieve()).records] == ["ours"]
        assert [record.text for record in (await mem.retrieve("program", mode="semantic")).records] == ["ours"]


async def test_it_is_opened_by_a_configuration_and_there_after_a_restart(tmp_path: Path):
    for number in (1, 2):
        async with memory.Memory.open("mem0", {"config": config(tmp_path), "durable": True}, scope=ANA) as mem:
            provider: Any = mem.provider
            provider._store._mem0.embedding_model = Hashed()
            if number == 1:
                await mem.remember("stays", memory_class="semantic")
            assert [record.text for record in (await mem.retrieve("stays", mode="semantic")).records] == ["stays"]


@pytest.mark.parametrize(
    "wrong", [{}, {"memory": "x"}, {"config": {"llm": 7}}, {"config": {}, "other": 1}, {"config": 7}]
)
async def test_a_wrong_configuration_is_told(wrong: dict[str, Any]):
    with pytest.raises(memory.InvalidConfig):
        async with memory.Memory.open("mem0", wrong, scope=ANA):
            pass
