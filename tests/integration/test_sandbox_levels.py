"""A sandbox that goes on record is one that somebody enforces: refused before anything is written, or passed over to a
class that does."""

from datetime import timedelta
from typing import Any

import pytest

from fix_app import ALLOW, ASK_WRITES, Issue, IssueCreate, Process, World, asked, connector, operations
from interlock import plane, policy, runs, sdk
from interlock.kernel import SystemClock
from interlock.sync import Interlock

pytestmark = pytest.mark.anyio

STRICT = plane.SANDBOX_LEVELS["strict"]


class Vault:
    """A target that the HTTP lane reaches, of which that much was shown."""

    target_id = "vault"

    def __init__(self, process: Process, shown: frozenset[plane.Property] = STRICT) -> None:
        self.shown = shown
        self._clock = process.parts.wiring.clock
        process.parts.wiring.node._targets[self.target_id] = self

    def describe(self) -> plane.TargetDescriptor:
        now = self._clock.now()
        attestation = plane.Attestation(
            target_class="acme-vault",
            properties=tuple(sorted(self.shown)),
            attested_by=plane.SELF_ATTESTED,
            attested_at=now,
            expires_at=now + timedelta(minutes=5),
        )
        return plane.TargetDescriptor(
            target_id=self.target_id, lane_id="http", attestation=attestation, health=plane.Health.READY
        )


def demanding(level: str, *, then: policy.Effect = policy.Effect.ALLOW) -> policy.Policy:
    return policy.Policy(rules=(policy.Rule(rule_id="walls", then=then, sandbox=level),))


def strict_operation() -> sdk.Manifest:
    strict = sdk.post(
        "issue.create", "/repos/{repo}/issues", input=IssueCreate, output=Issue, scopes=["repo"], sandbox="strict"
    )
    return connector(operations=[strict, *operations()[1:]])


@pytest.mark.parametrize("level", ["standard", "strict"])
async def test_a_level_that_nothing_enforces_is_refused_before_anything_is_written(world: World, level: str):
    async with world.process() as process:
        await process.connect(world.server.url)
        with pytest.raises(
            runs.SandboxNotEnforced, match=f"level '{level}'.*local-http lacks .*reads-confined"
        ) as raised:
            await process.create(sandbox=level)
        assert raised.value.details == {
            "level": level,
            "lacks": {"local-http": sorted(plane.SANDBOX_LEVELS[level])},
            "enforcing": list(plane.enforcing(level)),
        }
        assert await process.states() == []
        assert world.server.effects() == 0
        done = await process.create(sandbox="none")
        assert done.state is runs.State.COMPLETED


@pytest.mark.parametrize("then", [policy.Effect.ALLOW, policy.Effect.ASK])
async def test_a_rule_that_demands_a_level(world: World, then: policy.Effect):
    world.law = demanding("standard", then=then)
    async with world.process() as process:
        await process.connect(world.server.url)
        for requested in (None, "none"):
            with pytest.raises(runs.SandboxNotEnforced, match="'standard'"):
                await process.create(sandbox=requested)
        assert await process.states() == []
        assert world.server.effects() == 0


async def test_an_operation_that_demands_a_level(file_world: World):
    async with file_world.process(manifest=strict_operation()) as process:
        await process.connect(file_world.server.url)
        with pytest.raises(runs.SandboxNotEnforced, match="'strict'"):
            await process.create()
        assert await process.states() == []


async def test_a_denied_call_is_denied_and_not_refused(file_world: World):
    file_world.law = policy.Policy(rules=(policy.Rule(rule_id="no", then=policy.Effect.DENY),))
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        assert (await process.create(sandbox="strict")).state is runs.State.DENIED


async def test_classes_that_do_not_enforce_it_are_passed_over_on_record(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        Vault(process)
        outcome = await process.create(sandbox="strict", target=["local-http", "acme-vault"])
        assert outcome.state is runs.State.COMPLETED
        first, second = (await process.last()).sends
        assert [(each.target_class, each.delivery.value) for each in (first, second)] == [
            ("local-http", "not_sent"),
            ("acme-vault", "responded"),
        ]
        assert '"target_properties"' in (first.receipt_json or "")
        assert world.server.effects("issues/create") == 1


async def test_a_target_that_lost_its_walls_meanwhile_takes_nothing(file_world: World):
    """The level is asked again at every dispatch: what is on record was so then."""
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        vault = Vault(process)
        ledger = process.parts.wiring.ledger
        admit = ledger.admit

        async def admitted(admission: runs.Admission) -> runs.Admitted:
            vault.shown = frozenset()
            return await admit(admission)

        ledger.admit = admitted
        with pytest.raises(plane.EffectFailed, match="reads-confined"):
            await process.create(sandbox="strict", target="acme-vault", max_attempts=1)
        assert [each.delivery.value for each in (await process.last()).sends] == ["not_sent"]
        assert file_world.server.effects() == 0


async def test_handlers_are_confined_by_nothing(file_world: World):
    """Wherever its requests leave from: its own code runs in this process, or in a child of it."""
    value = {"repo": "acme/rocket", "title": "Door"}
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        Vault(process)
        with pytest.raises(runs.SandboxNotEnforced, match="its handler is Python code"):
            await process.il.invoke("acme.issue.file", value, sandbox="standard", target="acme-vault")
        assert await process.states() == []


async def test_a_held_run_is_not_executed_where_the_level_is_gone(file_world: World):
    file_world.law = ASK_WRITES
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        vault = Vault(process)
        held = await process.create(sandbox="strict", target="acme-vault")
        await process.reviewer.approvals.approve(asked(held))
        shown, vault.shown = vault.shown, frozenset()
        with pytest.raises(runs.SandboxNotEnforced) as raised:
            await process.il.approvals.execute(asked(held))
        assert raised.value.run_id == held.run_id
        assert await process.states() == ["held"]
        vault.shown = shown
        assert (await process.il.approvals.execute(asked(held))).state is runs.State.COMPLETED


async def test_an_approval_of_a_confined_call_does_not_serve_one_that_is_not(file_world: World):
    file_world.law = ASK_WRITES
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        Vault(process)
        held = await process.create(sandbox="strict", target="acme-vault")
        await process.reviewer.approvals.approve(asked(held))
        open_one = await process.create(target="acme-vault")
        assert open_one.state is runs.State.HELD
        assert open_one.approval_id != held.approval_id


async def test_recovery_reads_and_sends_only_where_the_level_is_enforced(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)

    async def create(process: Process) -> object:
        Vault(process)
        return await process.create(sandbox="strict", target="acme-vault")

    await file_world.killed("hold_before", create)
    async with file_world.process() as process:  # whose node has no such target
        [recovered] = await process.il.runs.recover()
        assert (recovered.state, recovered.error and recovered.error.code) == (
            runs.State.WAITING,
            "sandbox_not_enforced",
        )
        with pytest.raises(runs.SandboxNotEnforced):
            await process.il.runs.settle(recovered.run_id)
        Vault(process)
        settled = await process.il.runs.settle(recovered.run_id)
        assert settled.state is runs.State.FAILED
        assert file_world.server.effects("issues/create") == 0


def test_the_synchronous_twin_refuses_too(file_world: World):
    file_world.clock = SystemClock()
    with Interlock.open(settings=file_world.settings(), policy=ALLOW, connectors=[file_world.manifest]) as il:
        il.connections.connect_token("acme", "ghp_canary0123456789+/tail", base_url=file_world.server.url)
        value: dict[str, Any] = {"repo": "acme/rocket", "title": "Door"}
        with pytest.raises(runs.SandboxNotEnforced):
            il.invoke("acme.issue.create", value, sandbox="strict")
        assert il.runs.list() == []
