"""Packets between a node and its clients."""

import pytest

from interlock import plane

REF = plane.ExecutionRef(node_id="n", execution_id="e", fence=1)


@pytest.mark.parametrize(
    "line", ['{"node_id":"m",' + REF.canonical[1:], '{"node_id":"n",' + REF.canonical[1:]], ids=["another", "the same"]
)
def test_a_record_with_a_key_twice_is_none(line: str) -> None:
    assert plane.unpack(plane.ExecutionRef, plane.pack(REF, b"beside")) == (REF, b"beside")
    with pytest.raises(plane.InvalidPacket, match="twice"):
        plane.unpack(plane.ExecutionRef, line.encode() + b"\nbeside")
