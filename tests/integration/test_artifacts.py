"""Outputs are kept whole: small ones in the ledger, large ones in the blob store under their digest."""

import json

import pytest

from fix_app import World
from fix_parrot import Answer, Parrot
from interlock import runs
from interlock.kernel import InterlockError, Retry, StoreError, digest_bytes

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("limit", "inline"), [(1_000_000, True), (10, False)])
async def test_content_comes_back_as_it_was(world: World, limit: int, inline: bool):
    async with world.process(execution={"inline_bytes": limit}) as process:
        await process.connect(world.server.url)
        world.server.add_issues("acme/rocket", 3)
        outcome = await process.il.invoke("acme.issue.list", {"repo": "acme/rocket"})
        [artifact] = (await process.last()).artifacts
        assert (artifact.content is not None) is inline
        assert (artifact.blob_key is None) is inline
        _, content = await process.il.runs.artifact(artifact.artifact_id)
        assert digest_bytes(content) == artifact.digest
        assert len(content) == artifact.size
        assert json.loads(content) == outcome.output
        assert (await process.il.runs.outcome(outcome.run_id)).output == outcome.output


@pytest.mark.parametrize("damage", ["altered", "gone"])
async def test_damaged_content_is_not_given_out(file_world: World, damage: str):
    async with file_world.process(execution={"inline_bytes": 10}) as process:
        await process.connect(file_world.server.url)
        outcome = await process.il.invoke("acme.account.fetch")
        [artifact] = (await process.last()).artifacts
        [blob] = [path for path in (file_world.folder / "blobs").rglob("*") if path.is_file()]
        if damage == "gone":
            blob.unlink()
        else:
            blob.write_bytes(b'{"login":"somebody"}')
        expected = StoreError if damage == "gone" else runs.ArtifactDamaged
        with pytest.raises(expected) as raised:
            await process.il.runs.artifact(artifact.artifact_id)
        assert raised.value.retry is Retry.NEVER  # it does not come back by itself
        with pytest.raises(expected):
            await process.il.runs.outcome(outcome.run_id)


async def test_a_blob_store_that_is_down_loses_no_outcome(file_world: World, monkeypatch: pytest.MonkeyPatch):
    async with file_world.process(execution={"inline_bytes": 10}) as process:
        await process.connect(file_world.server.url)

        async def down(key: str, content: bytes) -> None:
            raise StoreError("no such bucket")

        monkeypatch.setattr(process.parts.wiring.blobs, "put", down)
        outcome = await process.create()
        assert outcome.state is runs.State.COMPLETED
        [artifact] = (await process.last()).artifacts
        assert artifact.content is not None
        assert (await process.il.runs.outcome(outcome.run_id)).output == outcome.output


@pytest.mark.parametrize(
    "number",
    [b"NaN", b"1e400", b"12345678901234567890", b"9007199254740993", b"1e20", b'"\xff"', b"[" * 2000],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_numbers_that_no_ledger_can_keep(file_world: World, parrot: Parrot, number: bytes, method: str):
    async with file_world.process(execution={"egress_allow": (parrot.host,)}) as process:
        await process.connect(parrot.url, scopes=["repo"])
        body = b'{"number": ' + number + b', "title": "x", "state": "open", "user": {"login": "octo-agent"}}'
        parrot.say = lambda heard: Answer(body if heard.method == "POST" else b"[" + body + b"]")
        capability = "acme.issue.create" if method == "POST" else "acme.issue.list"
        value = {"repo": "acme/rocket", "title": "Door"} if method == "POST" else {"repo": "acme/rocket"}
        with pytest.raises(InterlockError) as raised:
            await process.il.invoke(capability, value)
        history = await process.last()
        assert raised.value.run_id == history.run.run_id
        assert history.run.state is runs.State.FAILED
        assert len(history.attempts) == 1
        assert len([heard for heard in parrot.heard if heard.method == "POST"]) == (method == "POST")


@pytest.mark.parametrize("number", [b"1.5", b"-0.0", b"1e21", b"9007199254740991"])
async def test_an_output_of_another_shape_fails_and_is_kept_to_look_at(
    file_world: World, parrot: Parrot, number: bytes
):
    async with file_world.process(execution={"egress_allow": (parrot.host,)}) as process:
        await process.connect(parrot.url, scopes=["repo"])
        parrot.say = lambda heard: Answer(b'{"number": ' + number + b', "title": 3}', 201)
        with pytest.raises(InterlockError) as raised:
            await process.create()
        assert raised.value.code == "invalid_output"
        history = await process.last()
        assert history.run.state is runs.State.FAILED
        assert len(history.artifacts) == 1
