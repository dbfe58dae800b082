"""Idempotency keys: one key, one run, one effect."""

from typing import Any

import anyio
import pytest

from fix_app import Process, World
from interlock import runs
from interlock.kernel import Caller, InterlockError, SystemClock, UnknownOutcome

pytestmark = pytest.mark.anyio
COLLEAGUE = Caller(tenant_id="default", actor="colleague", roles=frozenset())


async def test_the_same_request_gets_the_same_run(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        first = await process.create(idempotency_key="k")
        second = await process.create(idempotency_key="k")
        assert (first.replayed, second.replayed) == (False, True)
        assert (second.run_id, second.output) == (first.run_id, first.output)
        assert world.server.effects("issues/create") == 1


async def test_another_input_or_actor_is_a_conflict(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        first = await process.create(idempotency_key="k")
        with pytest.raises(runs.IdempotencyConflict, match="another input") as raised:
            await process.create(title="Window", idempotency_key="k")
        assert raised.value.run_id == first.run_id
        with pytest.raises(runs.IdempotencyConflict, match="another actor"):
            await process.il.as_caller(COLLEAGUE).invoke(
                "acme.issue.create", {"repo": "acme/rocket", "title": "Door"}, idempotency_key="k"
            )
        assert world.server.effects("issues/create") == 1


async def test_what_the_call_names_is_what_the_run_is_about(world: World):
    async with world.process() as process:
        alice = await process.connect(world.server.url, name="alice")
        bob = await process.connect(world.server.url, name="bob", token="ghp_of_mona_0123456789")
        first = await process.create(idempotency_key="k", connection="alice")
        changes: list[dict[str, Any]] = [
            {"connection": "bob"},
            {"connection": bob.connection_id},
            {"connection": "nobody"},
            {"environment": "prod"},
            {"target": "local-script"},
            {"sandbox": "standard"},
        ]
        for change in changes:
            with pytest.raises(runs.IdempotencyConflict, match=f"another {next(iter(change))}"):
                await process.create(idempotency_key="k", **change)
        await process.il.connections.revoke("alice")
        same: list[dict[str, Any]] = [
            {"connection": "alice"},
            {"connection": alice.connection_id},
            {"sandbox": "none"},
            {"target": "local-http"},
            {},
        ]
        for change in same:
            assert (await process.create(idempotency_key="k", **change)).run_id == first.run_id
        assert world.server.effects("issues/create") == 1


async def test_after_thirty_days_the_key_is_free(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        first = await process.create(idempotency_key="k")
        world.advance(30 * 86400 - 60)
        assert (await process.create(idempotency_key="k")).replayed
        world.advance(120)
        second = await process.create(idempotency_key="k")
        assert not second.replayed
        assert second.run_id != first.run_id


@pytest.mark.parametrize("processes", [1, 2])
async def test_callers_at_once_cause_one_effect(world: World, processes: int):
    world.clock = SystemClock()
    async with world.process() as one, world.process() as two:
        await one.connect(world.server.url)
        outcomes: list[runs.Outcome] = []

        async def call(process: Process) -> None:
            outcomes.append(await process.create(idempotency_key="k"))

        async with anyio.create_task_group() as group:
            for index in range(6):
                group.start_soon(call, two if processes == 2 and index % 2 else one)
        assert len({outcome.run_id for outcome in outcomes}) == 1
        assert {outcome.state for outcome in outcomes} == {runs.State.COMPLETED}
        assert sorted(outcome.replayed for outcome in outcomes) == [False] + [True] * 5
        assert world.server.effects("issues/create") == 1


async def test_a_failure_is_told_again(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        file_world.server.fault("status:422", match="issues/create")
        with pytest.raises(InterlockError) as first:
            await process.create(idempotency_key="k")
        with pytest.raises(runs.RunFailed) as second:
            await process.create(idempotency_key="k")
        assert second.value.to_json() == first.value.to_json()
        assert len(file_world.server.requests("issues/create")) == 1


async def test_an_unknown_outcome_is_told_again_as_unknown(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        file_world.server.add_issues("acme/rocket", 1)
        file_world.server.fault("cut_before", match="issues/create-comment")
        value = {"repo": "acme/rocket", "issue_number": 1, "body": "Hm."}
        with pytest.raises(UnknownOutcome) as first:
            await process.il.invoke("acme.comment.create", value, idempotency_key="k")
        with pytest.raises(UnknownOutcome) as second:
            await process.il.invoke("acme.comment.create", value, idempotency_key="k")
        assert second.value.to_json() == first.value.to_json()
        assert file_world.server.effects("issues/create-comment") == 1


async def test_a_key_belongs_to_one_capability_and_one_tenant(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        await process.create(idempotency_key="k")
        other = await process.il.invoke("acme.account.fetch", idempotency_key="k")
        assert not other.replayed
        stranger = process.il.as_caller(Caller(tenant_id="elsewhere", actor="agent", roles=frozenset()))
        await stranger.connections.connect_token("acme", "ghp_of_mona_0123456789", base_url=file_world.server.url)
        outcome = await stranger.invoke(
            "acme.issue.create", {"repo": "acme/rocket", "title": "Door"}, idempotency_key="k"
        )
        assert not outcome.replayed


async def test_what_was_shed_may_be_asked_for_again_under_its_key(world: World):
    rules = '[policy]\ndefault = "allow"\n[[budgets]]\nname = "one"\nper = "tenant"\nrate = { limit = 1, per_seconds = 60 }\n'
    async with world.process(rules=rules) as process:
        await process.connect(world.server.url)
        world.advance(60 - world.clock.now().timestamp() % 60)
        await process.create()
        shed = await process.create(title="Window", idempotency_key="k")
        assert shed.state is runs.State.SHED
        world.advance(60)
        again = await process.create(title="Window", idempotency_key="k")
        assert (again.state, again.replayed) == (runs.State.COMPLETED, False)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"parent_run_id": "run_" + "0" * 32}, "there is no run"),
        ({"parent_run_id": "x" * 4_000_000}, "parent_run_id"),
        ({"sandbox": "strict\x00"}, "sandbox"),
        ({"allowed_operations": ["a" * 300]}, "allowed_operations"),
        ({"allowed_operations": [f"a.{n}" for n in range(1001)]}, "allowed_operations has 1001"),
        ({"target": ["local-http"] * 21}, "targets must name at most 20"),
    ],
)
async def test_what_comes_with_a_request_is_bounded(file_world: World, changes: dict[str, Any], told: str):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        with pytest.raises(InterlockError, match=told):
            await process.create(**changes)
        assert await process.states() == []
