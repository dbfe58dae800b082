"""Two specs side by side."""

from typing import Any

from hypothesis import given

import made_up_specs
from interlock import agents


def spec(*names: str, **members: Any) -> agents.Spec:
    operations = [{"name": each, "idempotency": "pure", "source": {"kind": "mcp", "ref": each}} for each in names]
    return agents.assemble(
        {"id": "desk", "instructions": "Answer.", "operations": operations, **members}, source="a spec"
    )


def test_places_and_values():
    before = spec("find", "send", metadata={"owner": "a"})
    after = spec("send", "pay", metadata={"owner": "b"}, memory={"max_entries": 3})
    found = {each.path: (each.what, each.before, each.after) for each in agents.compare(before, after)}
    assert found["metadata.owner"] == ("changed", "a", "b")
    assert found["memory"][0] == "added"
    assert found["operations[find]"][0] == "removed"
    assert found["operations[pay]"][0] == "added"
    assert len(found) == 4


def test_order_is_a_difference():
    [found] = agents.compare(spec("find", "send"), spec("send", "find"))
    assert (found.path, found.before, found.after) == ("operations", ["find", "send"], ["send", "find"])


@given(made_up_specs.SPECS, made_up_specs.SPECS)
def test_no_difference_is_one_fingerprint(one: dict[str, Any], other: dict[str, Any]):
    before, after = agents.assemble(one, source="one"), agents.assemble(other, source="other")
    assert not agents.compare(before, before)
    assert (not agents.compare(before, after)) == (before.fingerprint == after.fingerprint)
