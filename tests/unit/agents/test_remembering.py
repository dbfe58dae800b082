"""Memory as operations: whose it is stands in the spec, and a model only says what."""

import dataclasses

import pytest

from interlock import agents, kernel, memory
from interlock.kernel import JSON

FORMS = ("remember", "recall", "forget")


def spec(told: dict[str, JSON] | None = None, **members: JSON) -> agents.Spec:
    source = {"kind": "memory", "ref": "remember"}
    operations = [{"name": name, "source": {**source, "ref": name}} for name in FORMS]
    document = {"id": "desk", "instructions": "Help.", "memory": told or {}, "operations": operations, **members}
    return agents.assemble(document, source="test", registry=agents.Registry(sources=[agents.Remembering()]))


def call(
    made: agents.Spec, name: str, *, key: str = "k1", session: str | None = None, **given: JSON
) -> agents.Invocation:
    operation = made.find_operation(name)
    assert operation is not None
    return agents.Invocation(
        operation=operation,
        arguments=given,
        key=key,
        again=False,
        caller=kernel.Caller(tenant_id="default", actor="local:me"),
        environment="dev",
        turn_id="run_1",
        session_id=session,
        agent_id=made.id,
        context={},
        timeout_s=1,
        memory=made.memory,
    )


def test_what_a_second_time_means_is_what_the_tools_say():
    assert [each.idempotency.value for each in spec().operations] == ["dedupe", "pure", "idempotent"]


def test_an_agent_that_remembers_has_a_memory():
    with pytest.raises(agents.InvalidSpec, match=r"operations\[0\]: the agent has no memory"):
        spec(memory=None)
    with pytest.raises(agents.InvalidSpec, match=r"operations\[0\]: its memory keeps nothing"):
        spec({"capture": "off"})
    wrong: list[JSON] = [{"name": "a", "source": {"kind": "memory", "ref": "recal"}}]
    with pytest.raises(agents.InvalidSpec, match="did you mean 'recall'"):
        spec(operations=wrong)


def test_the_scope_is_the_specs():
    told = spec({"scope": "session", "namespace": "eu"}).memory
    assert told is not None
    scope = agents.scope_of(told, tenant_id="t", agent_id="desk", session_id="ags_1")
    assert scope.parts == ("t", None, "desk/eu", "ags_1")
    with pytest.raises(agents.OperationFailed, match="this turn is of none"):
        agents.scope_of(told, tenant_id="t", agent_id="desk", session_id=None)
    assert agents.scope_of(agents.Memory(), tenant_id="t", agent_id="desk", session_id="ags_1").parts[3] is None


@pytest.mark.anyio
async def test_what_is_kept_is_found_in_its_own_scope_alone():
    reference = memory.ProviderRef(name="memory", config={})
    async with memory.Memory.open(reference, scope=memory.Scope.of(tenant="default")) as opened:

        async def at(scope: memory.Scope) -> memory.Memory:
            return memory.Memory(opened.provider, scope)

        source, made = agents.Remembering(at), spec({"scope": "session"})
        keep = call(made, "remember", session="ags_1", text="Ana prefers short answers")
        kept = await source.perform(keep)
        assert kept == await source.perform(dataclasses.replace(keep, again=True))
        found = await source.perform(call(made, "recall", session="ags_1", query="short answers"))
        assert isinstance(found, dict)
        assert found["entries"] == 1
        others = await source.perform(call(made, "recall", session="ags_2", query="short answers"))
        assert isinstance(others, dict)
        assert others["entries"] == 0
        again = call(made, "remember", key="k2", session="ags_1", text="Ana prefers short answers")
        echo = await source.perform(again)  # it was recalled in this turn, and is not learned as new
        assert isinstance(kept, dict)
        assert echo == {"kept": False, "record_ids": kept["record_ids"]}
        with pytest.raises(memory.InvalidInput, match="scope"):
            await source.perform(call(made, "recall", session="ags_1", query="a", scope="other"))
