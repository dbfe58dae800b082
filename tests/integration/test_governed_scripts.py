"""Scripts as operations of a connector: each action is a run of its own, and a script that is run again repeats none."""

import json
from typing import Any

import anyio
import pytest

from fix_app import ACME, ALLOW, LEASE, Process, World, run_of, shown
from interlock import plane, policy, runs, sdk
from interlock.kernel import InterlockError, UnknownOutcome

pytestmark = pytest.mark.anyio

ASK_CREATE = policy.Policy(
    rules=(
        policy.Rule(rule_id="create", then=policy.Effect.ASK, capability=("acme.issue.create",), origin=("script",)),
        policy.Rule(rule_id="rest", then=policy.Effect.ALLOW),
    )
)
DENY_CREATE = policy.Policy(
    rules=(
        policy.Rule(rule_id="no", then=policy.Effect.DENY, capability=("acme.issue.create",), reason="not today"),
        policy.Rule(rule_id="rest", then=policy.Effect.ALLOW),
    )
)
ASK_WHO = policy.Policy(
    rules=(
        policy.Rule(rule_id="who", then=policy.Effect.ASK, capability=("acme.account.fetch",), origin=("script",)),
        policy.Rule(rule_id="rest", then=policy.Effect.ALLOW),
    )
)
DENY_SCRIPT = policy.Policy(
    rules=(
        policy.Rule(rule_id="no", then=policy.Effect.DENY, capability=("routines.open",), reason="no more"),
        policy.Rule(rule_id="rest", then=policy.Effect.ALLOW),
    )
)
OPEN_TWO = """
first = open_issue(repo=input["repo"], title=input["title"] + " 1")
second = open_issue(repo=input["repo"], title=input["title"] + " 2")
{"numbers": [first["number"], second["number"]]}
"""
CAREFUL = """
try:
    open_issue(repo=input["repo"], title=input["title"])
    said = "opened"
except (PermissionError, RuntimeError) as refusal:
    said = str(refusal)
{"said": said}
"""


class Ask(sdk.Input):
    """What to open."""

    repo: sdk.Repo
    title: str = "Door"


class Answer(sdk.Record):
    numbers: list[int] | None = None
    said: str | None = None


class Repo(sdk.Input):
    """Where."""

    repo: sdk.Repo


MUTE = sdk.command("mute", ["/bin/false"], input=Repo, output=Answer, targets=["local-process"])
"""A command of which nobody knows what it did."""


def routines(source: str, **changes: Any) -> sdk.Manifest:
    """A connector with the script `routines.open`, and the operations of `acme`, from which its actions come."""
    actions = {"open_issue": "acme.issue.create", "who": "acme.account.fetch"}
    more = changes.pop("more", [])
    given: dict[str, Any] = {"input": Ask, "output": Answer, "actions": actions, **changes}
    return sdk.Connector(
        "routines",
        version="1.0.0",
        description="Small programs.",
        base_url="https://routines.acme.dev",
        auth=[sdk.no_auth()],
        operations=[sdk.script("open", source, **given), *more],
    ).manifest


async def run(process: Process, **changes: Any) -> runs.Outcome:
    return await process.il.invoke("routines.open", {"repo": "acme/rocket"}, **changes)


async def test_each_action_is_a_run_of_its_own(world: World):
    async with world.process(manifest=[ACME, routines(OPEN_TWO)]) as process:
        await process.connect(world.server.url)
        outcome = await run(process)
        assert shown(outcome)["numbers"] == [1, 2]
        children = [each for each in await process.il.runs.list() if each.parent_run_id == outcome.run_id]
        assert [(each.capability, each.origin.value, each.state.value) for each in children] == [
            ("acme.issue.create", "script", "completed")
        ] * 2
        assert {each.actor for each in children} == {"agent"}
        packet = json.loads(await process.il.runs.packet(outcome.run_id))
        [send] = packet["records"]["sends"]
        facts = send["receipt"]["facts"]
        assert facts["actions_asked"] == ["open_issue", "open_issue"]
        assert facts["actions_refused"] == []
        assert facts["script_digest"] == send["intent"]["source_digest"]
        assert facts["run_ms"] >= 0
        receipt = plane.Receipt.model_validate_json(json.dumps(send["receipt"]))
        assert plane.verify_evidence(receipt) is None


@pytest.mark.parametrize(
    ("law", "changes", "said"),
    [
        (DENY_CREATE, {}, "not today"),
        (ALLOW, {"allowed_operations": ["routines.*"]}, "not allowed to use acme.issue.create"),
    ],
    ids=["by policy", "by what its caller may do"],
)
async def test_a_refused_action_is_told_to_the_script(file_world: World, law: Any, changes: Any, said: str):
    file_world.law = law
    async with file_world.process(manifest=[ACME, routines(CAREFUL)]) as process:
        await process.connect(file_world.server.url)
        outcome = await run(process, **changes)
        assert said in shown(outcome)["said"]
        [send] = (await process.il.runs.history(outcome.run_id)).sends
        assert send.receipt_json is not None
        assert json.loads(send.receipt_json)["facts"]["actions_refused"] == ["open_issue"]
        assert file_world.server.effects("issues/create") == 0


async def test_an_action_that_fails_is_told_to_the_script(file_world: World):
    async with file_world.process(manifest=[ACME, routines(CAREFUL)]) as process:
        outcome = await run(process)  # nothing is connected
        assert "connection" in shown(outcome)["said"]


async def test_whoever_asked_is_told_which_action_ended_the_script(file_world: World):
    async with file_world.process(manifest=[ACME, routines(OPEN_TWO)]) as process:
        with pytest.raises(InterlockError, match=r"the action open_issue failed \(no_connection\) in line 2"):
            await run(process)


async def test_a_held_action_ends_it_and_it_goes_on_when_approved(world: World):
    world.law = ASK_CREATE
    async with world.process(manifest=[ACME, routines(OPEN_TWO)]) as process:
        await process.connect(world.server.url)
        with pytest.raises(runs.ActionHeld) as first:
            await run(process)
        run_id = run_of(first.value)
        assert (await process.il.runs.fetch(run_id)).state is runs.State.WAITING
        [send] = (await process.il.runs.history(run_id)).sends
        assert send.delivery.value == "not_sent"
        # Not approved yet: it waits for the same.
        with pytest.raises(runs.ActionHeld) as again:
            await process.il.runs.settle(run_id)
        assert again.value.details["approval_id"] == first.value.details["approval_id"]
        # One executed by a person, the other only approved: either way it is done once.
        await process.reviewer.approvals.approve(str(first.value.details["approval_id"]))
        await process.il.approvals.execute(str(first.value.details["approval_id"]))
        with pytest.raises(runs.ActionHeld) as second:
            await process.il.runs.settle(run_id)
        await process.reviewer.approvals.approve(str(second.value.details["approval_id"]))
        assert (await process.il.runs.settle(run_id)).state is runs.State.COMPLETED
        assert shown(await process.il.runs.outcome(run_id))["numbers"] == [1, 2]
        assert world.server.effects("issues/create") == 2


async def test_a_held_action_that_is_denied_is_told_to_the_script(file_world: World):
    file_world.law = ASK_CREATE
    async with file_world.process(manifest=[ACME, routines(CAREFUL)]) as process:
        await process.connect(file_world.server.url)
        with pytest.raises(runs.ActionHeld) as held:
            await run(process)
        await process.reviewer.approvals.deny(str(held.value.details["approval_id"]), reason="too many doors")
        settled = await process.il.runs.settle(run_of(held.value))
        assert settled.state is runs.State.COMPLETED
        assert "too many doors" in shown(await process.il.runs.outcome(settled.run_id))["said"]


async def test_a_held_action_that_is_cancelled_is_told_to_the_script(file_world: World):
    file_world.law = ASK_CREATE
    async with file_world.process(manifest=[ACME, routines(CAREFUL)]) as process:
        await process.connect(file_world.server.url)
        with pytest.raises(runs.ActionHeld) as held:
            await run(process)
        await process.il.runs.cancel(str(held.value.details["run_id"]))
        settled = await process.il.runs.settle(run_of(held.value))
        assert settled.state is runs.State.COMPLETED
        assert "was cancelled" in shown(await process.il.runs.outcome(settled.run_id))["said"]


async def test_an_action_that_was_given_up_is_told_to_the_script(file_world: World):
    source = CAREFUL.replace('open_issue(repo=input["repo"], title=input["title"])', 'say(repo=input["repo"])')
    saying = routines(source, actions={"say": "routines.mute"}, more=[MUTE])
    async with file_world.process(manifest=[saying]) as process:
        with pytest.raises(runs.ActionHeld) as held:
            await run(process)
        await process.il.runs.cancel(str(held.value.details["run_id"]))
        settled = await process.il.runs.settle(run_of(held.value))
        assert "nobody knows whether it happened" in shown(await process.il.runs.outcome(settled.run_id))["said"]


async def test_a_killed_process_repeats_no_action(world: World):
    manifests = [ACME, routines(OPEN_TWO)]
    async with world.process(manifest=manifests) as process:
        await process.connect(world.server.url)
    await world.killed("hold", run, match="issues/create", manifest=manifests)
    assert world.server.effects("issues/create") == 1
    async with world.process(manifest=manifests) as process:
        await process.il.runs.recover()
        [script] = [each for each in await process.il.runs.list() if each.parent_run_id is None]
        assert script.state is runs.State.COMPLETED, "it was recovered after its action, whose answer it needs"
        assert shown(await process.il.runs.outcome(script.run_id))["numbers"] == [1, 2]
        assert world.server.effects("issues/create") == 2


async def test_an_action_of_unknown_outcome_is_settled_first(file_world: World):
    source = CAREFUL.replace('open_issue(repo=input["repo"], title=input["title"])', 'say(repo=input["repo"])')
    saying = routines(source, actions={"say": "routines.mute"}, more=[MUTE])
    async with file_world.process(manifest=[saying]) as process:
        with pytest.raises(runs.ActionHeld) as held:
            await run(process)
        child = str(held.value.details["run_id"])
        assert (await process.il.runs.fetch(child)).state is runs.State.WAITING
        [send] = (await process.il.runs.history(run_of(held.value))).sends
        assert send.delivery.value == "responded"  # something may have been done
        await process.reviewer.runs.settle(child, seen=runs.Seen.NOT_HAPPENED)
        settled = await process.il.runs.settle(run_of(held.value))
        assert "saw that routines.mute did not happen" in shown(await process.il.runs.outcome(settled.run_id))["said"]


async def test_time_stays_the_same_over_attempts(file_world: World):
    file_world.law = ASK_CREATE
    source = """
from datetime import datetime
open_issue(repo=input["repo"], title=str(datetime.now()))
{"said": "done"}
"""
    async with file_world.process(manifest=[ACME, routines(source)]) as process:
        await process.connect(file_world.server.url)
        with pytest.raises(runs.ActionHeld) as held:
            await run(process)
        await process.reviewer.approvals.approve(str(held.value.details["approval_id"]))
        file_world.advance(LEASE / 2)
        await process.il.runs.settle(run_of(held.value))
        assert file_world.server.effects("issues/create") == 1


async def test_a_script_that_breaks_has_failed(file_world: World):
    async with file_world.process(manifest=[ACME, routines("1 // 0")]) as process:
        with pytest.raises(InterlockError) as raised:
            await run(process)
        assert raised.value.details["failure_class"] == "script_failed"
        assert (await process.il.runs.fetch(run_of(raised.value))).state is runs.State.FAILED


async def test_many_at_once_keep_apart(file_world: World):
    async with file_world.process(manifest=[ACME, routines(CAREFUL)]) as process:
        await process.connect(file_world.server.url)
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(run, process)
        assert file_world.server.effects("issues/create") == 4


async def test_the_lane_serves_no_stranger(file_world: World):
    """An action that no run of this process asks for is refused."""
    async with file_world.process(manifest=[ACME]) as process:
        intent = plane.ScriptIntent(
            intent_id="snd_1", tenant_id="default", run_id="run_1", attempt_id="att_1", trace_id="t",
            deadline_at=file_world.clock.now() + (runs.Request(capability="x", input={}).timeout),
            source="open_issue()", actions=(plane.ScriptAction(name="open_issue"),),
        )  # fmt: skip
        wiring = process.parts.wiring
        authority = wiring.authorizer.issue(
            intent.digest, audience=wiring.node.node_id, target_class=plane.LOCAL_SCRIPT
        )
        receipt = await wiring.node.execute(intent, authority=authority, target_class=plane.LOCAL_SCRIPT)
        assert receipt.failure is not None
        assert receipt.failure.failure_class is plane.FailureClass.SCRIPT_DENIED


async def test_one_that_may_not_run_again_stays_in_doubt_after_a_crash(world: World):
    manifests = [ACME, routines(OPEN_TWO)]
    async with world.process(manifest=manifests) as process:
        await process.connect(world.server.url)
    await world.killed("hold", run, match="issues/create", manifest=manifests)
    async with world.process(manifest=manifests) as process:
        [script] = [each for each in await process.il.runs.list() if each.parent_run_id is None]
        await process.il.runs.cancel(script.run_id)
        await process.il.runs.recover()
        left = await process.il.runs.fetch(script.run_id)
        assert (left.state, left.reason) == (runs.State.WAITING, "unknown_outcome")
        assert isinstance(left.error, dict)
        assert left.error["retry"] == "never"
        assert world.server.effects("issues/create") == 1


async def test_one_that_cannot_run_again_stays_in_doubt(world: World, monkeypatch: pytest.MonkeyPatch):
    """That it stayed here this time says nothing of what it did before."""
    manifests = [ACME, routines(OPEN_TWO)]
    async with world.process(manifest=manifests) as process:
        await process.connect(world.server.url)
    await world.killed("hold", run, match="issues/create", manifest=manifests)
    async with world.process(manifest=manifests) as process:
        node = process.parts.wiring.node
        execute = node.execute

        async def no_scripts(intent: plane.Intent, **how: Any) -> plane.Receipt:
            if isinstance(intent, plane.ScriptIntent):
                how["target_class"] = "guest-bridge"  # which this node has not
            return await execute(intent, **how)

        monkeypatch.setattr(node, "execute", no_scripts)
        await process.il.runs.recover()
        [script] = [each for each in await process.il.runs.list() if each.parent_run_id is None]
        assert (script.state, script.reason) == (runs.State.WAITING, "unknown_outcome")
        monkeypatch.undo()
        assert (await process.il.runs.settle(script.run_id)).state is runs.State.COMPLETED
        assert world.server.effects("issues/create") == 2


async def test_a_waiting_one_that_policy_now_denies_goes_on_waiting(file_world: World):
    file_world.law = ASK_CREATE
    manifests = [ACME, routines(OPEN_TWO)]
    async with file_world.process(manifest=manifests) as process:
        await process.connect(file_world.server.url)
        with pytest.raises(runs.ActionHeld) as first:
            await run(process)
        run_id = run_of(first.value)
        await process.reviewer.approvals.approve(str(first.value.details["approval_id"]))
        with pytest.raises(runs.ActionHeld) as second:
            await process.il.runs.settle(run_id)
        await process.reviewer.approvals.approve(str(second.value.details["approval_id"]))
    file_world.law = DENY_SCRIPT
    async with file_world.process(manifest=manifests) as process:
        with pytest.raises(UnknownOutcome):
            await process.il.runs.settle(run_id)
        assert (await process.il.runs.fetch(run_id)).state is runs.State.WAITING
        assert file_world.server.effects("issues/create") == 1
    file_world.law = ASK_CREATE
    async with file_world.process(manifest=manifests) as process:
        assert (await process.il.runs.settle(run_id)).state is runs.State.COMPLETED
        assert file_world.server.effects("issues/create") == 2


@pytest.mark.parametrize(
    ("source", "actions"),
    [
        ('who()\nopen_issue(repo=input["repo"], title="one")\n{"said": "done"}', {}),
        (None, {"actions": {"open_issue": "acme.issue.create", "who": "acme.issue.create"}}),
    ],
    ids=["another source", "other actions"],
)
async def test_another_program_does_not_go_on_in_its_place(file_world: World, source: str | None, actions: Any):
    file_world.law = ASK_WHO
    first = 'open_issue(repo=input["repo"], title="one")\nwho()\n{"said": "done"}'
    async with file_world.process(manifest=[ACME, routines(first)]) as process:
        await process.connect(file_world.server.url)
        with pytest.raises(runs.ActionHeld) as held:
            await run(process)
    file_world.law = ALLOW
    async with file_world.process(manifest=[ACME, routines(source or first, **actions)]) as process:
        with pytest.raises(runs.ManifestChanged, match="another program") as raised:
            await process.il.runs.settle(run_of(held.value))
        assert "settle" in raised.value.next_step
        assert (await process.il.runs.fetch(run_of(held.value))).state is runs.State.WAITING
        assert file_world.server.effects("issues/create") == 1


async def test_what_was_done_long_ago_is_not_done_again(world: World):
    """The key of an action has no end: neither its own time nor housekeeping takes it away."""
    source = 'open_issue(repo=input["repo"], title="one")\nwho()\n{"said": "done"}'
    world.law = ASK_WHO
    async with world.process(manifest=[ACME, routines(source)]) as process:
        await process.connect(world.server.url)
        with pytest.raises(runs.ActionHeld) as held:
            await run(process)
        await process.reviewer.approvals.approve(str(held.value.details["approval_id"]))
        await process.il.approvals.execute(str(held.value.details["approval_id"]))
        world.advance(400 * 86_400.0)
        await process.beat()
        wiring = process.parts.wiring
        await wiring.sweep(wiring.clock.now())
        assert (await process.il.runs.settle(run_of(held.value))).state is runs.State.COMPLETED
        assert world.server.effects("issues/create") == 1


async def test_one_that_is_declared_a_read_writes_nothing(file_world: World):
    source = CAREFUL.replace("try:", "who()\ntry:", 1)
    async with file_world.process(manifest=[ACME, routines(source, effect=sdk.Effect.READ)]) as process:
        await process.connect(file_world.server.url)
        outcome = await run(process)
        assert shown(outcome)["said"] == "routines.open is a read, and acme.issue.create is not"
        assert file_world.server.effects("issues/create") == 0
        children = [each.capability for each in await process.il.runs.list() if each.parent_run_id is not None]
        assert children == ["acme.account.fetch"]
