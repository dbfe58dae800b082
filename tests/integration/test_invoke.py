"""Invoke, from the request to the record: decisions, one effect, an answer, a proof."""

from datetime import timedelta
from typing import Any

import anyio
import pytest

from fix_app import ASK_WRITES, World, shown
from interlock import catalog, connections, policy, runs, sdk
from interlock.kernel import InterlockError, RequestError, StoreError

pytestmark = pytest.mark.anyio
CREATE = {"repo": "acme/rocket", "title": "Door"}


async def test_a_read_is_answered_and_recorded(every_world: World):
    world = every_world
    async with world.process() as process:
        await process.connect(world.server.url)
        world.server.add_issues("acme/rocket", 3)
        outcome = await process.il.invoke("acme.issue.list", {"repo": "acme/rocket"})
        assert outcome.state is runs.State.COMPLETED
        assert [issue["title"] for issue in shown(outcome)["issues"]] == ["Issue 3", "Issue 2", "Issue 1"]
        history = await process.last()
        assert [send.delivery for send in history.sends] == [runs.Delivery.RESPONDED]
        assert [each.state for each in history.attempts] == [runs.AttemptState.COMPLETED]
        assert len(history.artifacts) == 1
        assert await process.events(outcome.run_id) == [
            "run.accepted",
            "policy.decided",
            "attempt.started",
            "send.intended",
            "send.settled",
            "artifact.recorded",
            "attempt.ended",
            "run.completed",
        ]


async def test_a_connection_serves_until_it_expires(world: World):
    async with world.process() as process:
        ends = process.parts.wiring.clock.now() + timedelta(hours=1)
        await process.connect(world.server.url, expires_at=ends)
        assert (await process.il.invoke("acme.issue.list", {"repo": "acme/rocket"})).state is runs.State.COMPLETED
        world.advance(3600)
        with pytest.raises(connections.ConnectionExpired):
            await process.il.invoke("acme.issue.list", {"repo": "acme/rocket"})
        with pytest.raises(RequestError, match="a datetime with a time zone"):
            await process.connect(world.server.url, expires_at="tomorrow")
        await process.connect(world.server.url)
        assert (await process.il.invoke("acme.issue.list", {"repo": "acme/rocket"})).state is runs.State.COMPLETED


async def test_a_write_happens_once(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        outcome = await process.create()
        assert shown(outcome)["number"] == 1
        assert outcome.reasons == ("allow always",)
        assert world.server.effects("issues/create") == 1


async def test_without_rules_reads_are_allowed_and_writes_ask(world: World):
    world.law = ASK_WRITES
    async with world.process() as process:
        await process.connect(world.server.url)
        assert (await process.il.invoke("acme.issue.list", {"repo": "acme/rocket"})).state is runs.State.COMPLETED
        held = await process.create()
        assert held.state is runs.State.HELD
        assert held.approval_id is not None
        assert world.server.effects() == 0


@pytest.mark.parametrize(("then", "state"), [("deny", runs.State.DENIED), ("shed", runs.State.SHED)])
async def test_a_refused_call_is_a_value_with_reasons_and_no_attempt(world: World, then: str, state: runs.State):
    world.law = policy.Policy(
        rules=(
            policy.Rule(rule_id="yes", then=policy.Effect.ALLOW),
            policy.Rule(
                rule_id="no", then=policy.Effect(then), capability=("acme.issue.create",), reason="it is Friday"
            ),
        )
    )
    async with world.process() as process:
        await process.connect(world.server.url)
        outcome = await process.create()
        assert outcome.state is state
        assert any("it is Friday" in reason for reason in outcome.reasons)
        history = await process.last()
        assert not history.attempts
        assert not history.sends
        [decision] = history.decisions
        assert decision.effect == then
        assert history.run.reason == "no"
        assert history.run.signature is not None
        assert world.server.requests("POST *") == []


async def test_a_rule_may_name_the_connection(world: World):
    world.law = policy.Policy(
        rules=(
            policy.Rule(rule_id="yes", then=policy.Effect.ALLOW),
            policy.Rule(rule_id="not-here", then=policy.Effect.DENY, connection=("acme",)),
        )
    )
    async with world.process() as process:
        await process.connect(world.server.url)
        assert [each.name for each in await process.il.connections.list()] == ["acme"]
        assert (await process.create()).state is runs.State.DENIED


async def test_an_allowed_call_records_its_decision_too(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        await process.create()
        [decision] = (await process.last()).decisions
        assert decision.effect == "allow"
        assert decision.reasons


@pytest.mark.parametrize(
    ("capability", "value", "error"),
    [
        ("acme.issue.creat", CREATE, catalog.UnknownCapability),
        ("acme.issue.create", {"repo": "acme/rocket"}, catalog.InvalidInput),
        ("acme.issue.create", {**CREATE, "titel": "x"}, catalog.InvalidInput),
        ("acme.issue.create", {**CREATE, "title": 3}, catalog.InvalidInput),
        ("acme.issue.create", {**CREATE, "title": float("nan")}, RequestError),
        ("acme.issue.create", {**CREATE, "title": "x" * 10_000_001}, RequestError),
        ("acme.issue.create", {**CREATE, "repo": "acme/../rocket"}, RequestError),
        ("acme.issue.create", {**CREATE, "repo": "acme"}, RequestError),
    ],
)
async def test_a_wrong_request_writes_nothing(
    file_world: World, capability: str, value: dict[str, Any], error: type[InterlockError]
):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        with pytest.raises(error) as raised:
            await process.il.invoke(capability, value)
        assert raised.value.run_id is None
        assert await process.states() == []


async def test_without_a_connection_nothing_is_written(file_world: World):
    async with file_world.process() as process:
        with pytest.raises(InterlockError) as raised:
            await process.create()
        assert raised.value.code == "no_connection"
        assert await process.states() == []


async def test_the_credential_in_the_input_is_refused(file_world: World):
    from fix_app import TOKEN

    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        with pytest.raises(runs.InputHoldsSecret) as raised:
            await process.create(title=f"my token is {TOKEN}")
        assert TOKEN not in str(raised.value)
        assert await process.states() == []


async def test_an_operation_outside_the_callers_narrowing_is_denied(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        outcome = await process.create(allowed_operations=["acme.issue.list"])
        assert outcome.state is runs.State.DENIED
        assert file_world.server.effects() == 0


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, sdk.ResourceNotFound),
        (409, sdk.ResourceConflict),
        (422, sdk.InvalidForProvider),
        (403, sdk.Forbidden),
    ],
)
async def test_a_refusal_of_the_service_fails_the_run_at_once(
    file_world: World, status: int, error: type[InterlockError]
):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        file_world.server.fault(f"status:{status}", match="issues/create")
        with pytest.raises(error) as raised:
            await process.create()
        history = await process.last()
        assert raised.value.run_id == history.run.run_id
        assert history.run.state is runs.State.FAILED
        assert [send.delivery for send in history.sends] == [runs.Delivery.REJECTED]
        assert file_world.server.effects() == 0


async def test_a_credential_that_is_refused_asks_for_a_new_one(world: World):
    async with world.process() as process:
        connection = await process.connect(world.server.url)
        world.server.fault("status:401", match="issues/create")
        with pytest.raises(sdk.AuthFailed) as raised:
            await process.create()
        assert raised.value.run_id is not None
        assert (await process.il.connections.fetch(connection.connection_id)).state == "reauth_required"
        with pytest.raises(InterlockError) as second:
            await process.create()
        assert second.value.code == "reauth_required"
        await process.connect(world.server.url)
        assert (await process.create()).state is runs.State.COMPLETED


async def test_a_read_that_fails_for_a_while_is_tried_again(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        world.server.fault("status:503", match="GET /repos/*/issues", times=2)
        outcome = await process.il.invoke("acme.issue.list", {"repo": "acme/rocket"})
        assert outcome.state is runs.State.COMPLETED
        history = await process.last()
        assert [each.state.value for each in history.attempts] == ["failed", "failed", "completed"]


async def test_a_read_that_keeps_failing_fails(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        file_world.server.fault("cut_before", match="GET /repos/*/issues", times=9)
        with pytest.raises(InterlockError) as raised:
            await process.il.invoke("acme.issue.list", {"repo": "acme/rocket"}, max_attempts=2)
        assert raised.value.code == "effect_failed"
        assert raised.value.run_id is not None
        history = await process.last()
        assert history.run.state is runs.State.FAILED
        assert len(history.attempts) == 2


async def test_a_short_rate_limit_is_waited_for(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        world.server.fault("secondary_limit", match="issues/create", retry_after=2)
        before = world.clock.now()
        outcome = await process.create()
        assert outcome.state is runs.State.COMPLETED
        assert (world.clock.now() - before).total_seconds() >= 2
        assert world.server.effects("issues/create") == 1


async def test_a_long_rate_limit_is_told(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        file_world.server.fault("secondary_limit", match="issues/create", retry_after=60)
        with pytest.raises(sdk.RateLimited) as raised:
            await process.create()
        assert raised.value.retry_after == 60
        assert file_world.server.effects("issues/create") == 0
        assert (await process.last()).run.state is runs.State.FAILED


async def test_pages_are_followed_and_each_is_a_send(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        file_world.server.add_issues("acme/rocket", 5)
        outcome = await process.il.invoke("acme.issue.list", {"repo": "acme/rocket", "per_page": 2, "max_pages": 3})
        assert len(shown(outcome)["issues"]) == 5
        assert [send.purpose.value for send in (await process.last()).sends] == ["effect", "page", "page"]


async def test_a_failing_store_in_the_feedback_does_not_hide_the_outcome(
    file_world: World, monkeypatch: pytest.MonkeyPatch
):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)

        async def broken(*args: object, **kwargs: object) -> None:
            raise StoreError("the disk is full")

        monkeypatch.setattr(process.parts.wiring.connections, "report_rejected", broken)
        file_world.server.fault("status:401", match="issues/create")
        with pytest.raises(sdk.AuthFailed):
            await process.create()


async def test_two_calls_at_once_do_not_mix(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        numbers: list[int] = []

        async def one(index: int) -> None:
            outcome = await process.create(title=f"Door {index}")
            assert shown(outcome)["title"] == f"Door {index}"
            numbers.append(shown(outcome)["number"])

        async with anyio.create_task_group() as group:
            for index in range(10):
                group.start_soon(one, index)
        assert sorted(numbers) == list(range(1, 11))


async def test_what_a_request_carries_beside_is_on_record(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        request = runs.Request(capability="acme.account.fetch", input={}, extensions={"ticket": "T-1"})
        outcome = await process.parts.invoker.invoke(process.il.caller, request)
        event = (await process.il.runs.events(outcome.run_id))[1]
        assert event.type == "run.extended"
        assert '"ticket":"T-1"' in event.body
