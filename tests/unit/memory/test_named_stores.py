"""A store of others is given open, or named as what gives one."""

from typing import Any

import pytest

from interlock import memory

pytestmark = pytest.mark.anyio

ANA = memory.Scope(tenant="acme", user="ana")


async def test_a_store_can_be_named_where_none_can_be_given():
    config = {"store": "interlock.testing.memory.stores:langgraph"}
    async with memory.Memory.open("langgraph", config, scope=ANA) as mem:
        await mem.remember("kept in a store that a text names")
        assert len((await mem.retrieve("a store", mode="semantic")).hits) == 1


@pytest.mark.parametrize("store", ["no_such_module:open", "json:no_such", "json:loads", "json", "", 5, None])
async def test_what_names_none_is_told(store: Any):
    with pytest.raises(memory.InvalidConfig, match="store"):
        async with memory.Memory.open("langgraph", {"store": store}, scope=ANA):
            pass
