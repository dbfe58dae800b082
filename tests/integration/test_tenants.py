"""Tenants never mix: what belongs to another one is answered like what is not there."""

from typing import Any

import pytest

from fix_app import ASK_WRITES, STRANGER, World, asked
from interlock.kernel import InterlockError

pytestmark = pytest.mark.anyio


async def test_every_face_answers_like_not_found(world: World):
    world.law = ASK_WRITES
    async with world.process() as process:
        connection = await process.connect(world.server.url)
        read = await process.il.invoke("acme.account.fetch")
        held = await process.create()
        [artifact] = (await process.il.runs.history(read.run_id)).artifacts
        other = process.il.as_caller(STRANGER)
        run_id, approval_id, artifact_id = held.run_id, asked(held), artifact.artifact_id
        missing = "0" * 32
        asks = {
            "fetch": (other.runs.fetch, run_id, f"run_{missing}"),
            "history": (other.runs.history, run_id, f"run_{missing}"),
            "events": (other.runs.events, run_id, f"run_{missing}"),
            "outcome": (other.runs.outcome, run_id, f"run_{missing}"),
            "cancel": (other.runs.cancel, run_id, f"run_{missing}"),
            "settle": (other.runs.settle, run_id, f"run_{missing}"),
            "packet": (other.runs.packet, run_id, f"run_{missing}"),
            "artifact": (other.runs.artifact, artifact_id, f"art_{missing}"),
            "approval": (other.approvals.fetch, approval_id, f"apr_{missing}"),
            "approve": (other.approvals.approve, approval_id, f"apr_{missing}"),
            "execute": (other.approvals.execute, approval_id, f"apr_{missing}"),
            "connection": (other.connections.fetch, connection.connection_id, f"con_{missing}"),
            "connection name": (other.connections.fetch, connection.name, "no-such-name"),
            "revoke": (other.connections.revoke, connection.connection_id, f"con_{missing}"),
        }
        for name, (face, theirs, nobodys) in asks.items():
            told: list[dict[str, Any]] = []
            for ref in (theirs, nobodys):
                with pytest.raises(InterlockError) as raised:
                    await face(ref)
                assert raised.value.code.endswith("_not_found"), name
                told.append({**raised.value.to_json(), "message": raised.value.message.replace(ref, "REF")})
            assert told[0] == told[1], name
        with pytest.raises(InterlockError) as denied:
            await other.approvals.deny(approval_id, reason="no")
        assert denied.value.code == "approval_not_found"
        assert list(await other.runs.list()) == []
        assert list(await other.approvals.list()) == []
        assert list(await other.connections.list()) == []
        with pytest.raises(InterlockError) as used:
            await other.invoke("acme.account.fetch", connection=connection.connection_id)
        assert used.value.code == "connection_not_found"
        with pytest.raises(InterlockError) as none:
            await other.invoke("acme.account.fetch")
        assert none.value.code == "no_connection"
        assert (await process.il.runs.fetch(run_id)).state == "held"
