"""Approvals on every store: the life of a consent, and that it is spent once."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import anyio
import pytest

from interlock import approvals, kernel
from interlock.adapters import sql
from interlock.adapters.sql.approvals import ApprovalRecords
from interlock.approvals import State
from interlock.kernel import JSON, Caller
from interlock.testing import ManualClock, SequentialIds

pytestmark = pytest.mark.anyio

INPUT: JSON = {"title": "Rocket leaks", "ünïcode": ["✓", 1.5, None]}
BINDING = approvals.Binding(
    tenant_id="acme",
    actor="agent",
    capability_id="github.issue.create",
    manifest_digest="sha256:aa",
    connection_id="con_1",
    service="https://api.github.com",
    subject="octo",
    environment="dev",
    targets=("local.http",),
    input_digest=kernel.digest(INPUT),
    role="approver",
)
REVIEWER = Caller(tenant_id="acme", actor="lead", roles=frozenset({"approver"}))
AGENT = Caller(tenant_id="acme", actor="agent", roles=frozenset({"approver"}))
STRANGER = Caller(tenant_id="other", actor="lead", roles=frozenset({"approver"}))


@dataclass
class House:
    store: sql.SqlStore
    clock: ManualClock
    service: approvals.Approvals

    async def request(self, *, run_id: str = "run_1", expires_after: timedelta | None = None) -> approvals.Approval:
        return await self.store.write(
            lambda tx: self.service.request(
                tx,
                binding=BINDING,
                summary={"input": INPUT},
                run_id=run_id,
                expires_after=expires_after,
            )
        )

    async def spend(
        self, approval: approvals.Approval, *, digest: str | None = None, by: str = "run_1"
    ) -> approvals.Approval:
        return await self.store.write(
            lambda tx: self.service.spend(
                tx,
                tenant_id=approval.tenant_id,
                approval_id=approval.approval_id,
                binding_digest=digest or approval.binding_digest,
                spent_by=by,
            )
        )

    async def find_usable(self, digest: str, tenant_id: str = "acme") -> approvals.Approval | None:
        return await self.store.read(
            lambda tx: self.service.find_usable(tx, tenant_id=tenant_id, binding_digest=digest)
        )


@pytest.fixture
def house(store: sql.SqlStore) -> House:
    clock = ManualClock()
    return House(store, clock, approvals.Approvals(store, ApprovalRecords(), clock=clock, ids=SequentialIds()))


async def test_a_request_waits_and_reads_back_whole(house: House):
    asked = await house.request()
    assert (asked.state, asked.requester, asked.role, asked.run_id) == (State.PENDING, "agent", "approver", "run_1")
    assert asked.expires_at - asked.created_at == timedelta(hours=24)
    assert await house.service.fetch_approval(REVIEWER, asked.approval_id) == asked
    assert await house.find_usable(BINDING.digest) is None


async def test_approved_then_spent_once(house: House):
    asked = await house.request()
    approved = await house.service.approve(REVIEWER, asked.approval_id)
    assert (approved.state, approved.reviewer, approved.decided_at) == (State.APPROVED, "lead", house.clock.now())
    assert not approved.self_reviewed
    assert await house.find_usable(BINDING.digest) == approved
    spent = await house.spend(approved, by="run_9")
    assert (spent.state, spent.spent_by, spent.spent_at) == (State.SPENT, "run_9", house.clock.now())
    assert await house.service.fetch_approval(REVIEWER, asked.approval_id) == spent
    assert await house.find_usable(BINDING.digest) is None
    with pytest.raises(approvals.AlreadySpent) as caught:
        await house.spend(approved)
    assert caught.value.details["spent_by"] == "run_9"


async def test_of_many_spenders_at_once_one_wins(house: House):
    approved = await house.service.approve(REVIEWER, (await house.request()).approval_id)
    won: list[str] = []
    lost: list[str] = []

    async def spend(run_id: str) -> None:
        try:
            await house.spend(approved, by=run_id)
        except approvals.AlreadySpent:
            lost.append(run_id)
        else:
            won.append(run_id)

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(spend, f"run_{number}")
    assert (len(won), len(lost)) == (1, 7)
    assert (await house.service.fetch_approval(REVIEWER, approved.approval_id)).spent_by == won[0]


async def test_what_was_spent_for_nothing_is_given_back_once(house: House):
    approved = await house.service.approve(REVIEWER, (await house.request()).approval_id)
    spent = await house.spend(approved)
    back = await house.store.write(lambda tx: house.service.give_back(tx, spent))
    assert back == approved == await house.service.fetch_approval(REVIEWER, approved.approval_id)
    with pytest.raises(approvals.AlreadyDecided):
        await house.store.write(lambda tx: house.service.give_back(tx, spent))
    await house.spend(approved)
    with pytest.raises(approvals.AlreadySpent):
        await house.spend(approved)


async def test_two_processes_spend_it_once(store_url: str, open_store: Callable[[str], sql.SqlStore]):
    stores = [open_store(store_url), open_store(store_url)]
    clock, ids = ManualClock(), SequentialIds()
    houses = [
        House(store, clock, approvals.Approvals(store, ApprovalRecords(), clock=clock, ids=ids)) for store in stores
    ]
    for _ in range(10):
        approved = await houses[0].service.approve(REVIEWER, (await houses[0].request()).approval_id)
        results: list[object] = []

        async def spend(house: House, approved: approvals.Approval = approved) -> None:
            try:
                results.append((await house.spend(approved)).state)  # noqa: B023 - ends within the loop's round
            except approvals.AlreadySpent as error:
                results.append(error.code)  # noqa: B023

        async with anyio.create_task_group() as tasks:
            for house in houses:
                tasks.start_soon(spend, house)
        assert sorted(map(str, results)) == ["already_spent", "spent"]


async def test_a_spend_that_is_rolled_back_leaves_the_approval(house: House):
    approved = await house.service.approve(REVIEWER, (await house.request()).approval_id)

    def spend_and_fail(tx: kernel.Tx) -> None:
        house.service.spend(
            tx, tenant_id="acme", approval_id=approved.approval_id, binding_digest=BINDING.digest, spent_by="run_1"
        )
        raise LookupError

    with pytest.raises(LookupError):
        await house.store.write(spend_and_fail)
    assert await house.find_usable(BINDING.digest) == approved


async def test_another_call_cannot_use_it(house: House):
    approved = await house.service.approve(REVIEWER, (await house.request()).approval_id)
    other = replace(BINDING, input_digest=kernel.digest({"title": "other"})).digest
    with pytest.raises(approvals.BindingMismatch):
        await house.spend(approved, digest=other)
    assert await house.find_usable(other) is None
    assert await house.find_usable(BINDING.digest) == approved


async def test_what_is_not_approved_cannot_be_spent(house: House):
    asked = await house.request()
    with pytest.raises(approvals.NotApproved):
        await house.spend(asked)
    denied = await house.service.deny(REVIEWER, asked.approval_id, reason="not today")
    assert (denied.state, denied.reason, denied.reviewer) == (State.DENIED, "not today", "lead")
    with pytest.raises(approvals.ApprovalDenied):
        await house.spend(asked)


async def test_a_reviewer_who_is_overtaken_changes_nothing(house: House):
    asked = await house.request()
    denied = await house.service.deny(REVIEWER, asked.approval_id, reason="no")

    class Late(ApprovalRecords):
        """Reads once what stood there before the other reviewer's commit."""

        seen = iter((asked, denied))

        def find(self, tx: kernel.Tx, tenant_id: str, approval_id: str) -> approvals.Approval | None:
            return next(self.seen)

    late = approvals.Approvals(house.store, Late(), clock=house.clock, ids=SequentialIds())
    with pytest.raises(approvals.AlreadyDecided, match="denied by lead"):
        await late.approve(REVIEWER, asked.approval_id)
    assert await house.service.fetch_approval(REVIEWER, asked.approval_id) == denied


@pytest.mark.parametrize("first", ["approve", "deny"])
async def test_a_decision_sticks(house: House, first: str):
    asked = await house.request()
    if first == "deny":
        decided = await house.service.deny(REVIEWER, asked.approval_id, reason="no")
    else:
        decided = await house.service.approve(REVIEWER, asked.approval_id)
    with pytest.raises(approvals.AlreadyDecided):
        await house.service.approve(REVIEWER, asked.approval_id)
    assert await house.service.fetch_approval(REVIEWER, asked.approval_id) == decided
    if first == "approve":
        decided = await house.service.deny(REVIEWER, asked.approval_id, reason="on second thought")
        assert (decided.state, decided.reason) == (State.DENIED, "on second thought")
        with pytest.raises(approvals.ApprovalDenied):
            await house.spend(asked)
    with pytest.raises(approvals.AlreadyDecided):
        await house.service.deny(REVIEWER, asked.approval_id, reason="no")
    assert await house.service.fetch_approval(REVIEWER, asked.approval_id) == decided


async def test_what_was_spent_is_not_decided_again(house: House):
    asked = await house.request()
    await house.service.approve(REVIEWER, asked.approval_id)
    spent = await house.spend(asked)
    with pytest.raises(approvals.AlreadyDecided):
        await house.service.approve(REVIEWER, asked.approval_id)
    with pytest.raises(approvals.AlreadyDecided):
        await house.service.deny(REVIEWER, asked.approval_id, reason="no")
    assert await house.service.fetch_approval(REVIEWER, asked.approval_id) == spent


async def test_the_requester_and_those_without_the_role_cannot_decide(house: House):
    asked = await house.request()
    guest = Caller(tenant_id="acme", actor="guest", roles=frozenset({"developer"}))
    for caller, error in ((AGENT, approvals.SelfReview), (guest, approvals.RoleMissing)):
        with pytest.raises(error):
            await house.service.approve(caller, asked.approval_id)
        with pytest.raises(error):
            await house.service.deny(caller, asked.approval_id, reason="no")
    assert (await house.service.fetch_approval(REVIEWER, asked.approval_id)).state is State.PENDING


async def test_a_single_operator_may_decide_and_it_is_recorded(house: House):
    alone = approvals.Approvals(
        house.store, ApprovalRecords(), clock=house.clock, ids=SequentialIds(), self_review=True
    )
    approved = await alone.approve(AGENT, (await house.request()).approval_id)
    assert approved.self_reviewed
    assert approved.to_json()["self_reviewed"] is True


async def test_another_tenant_sees_nothing(house: House):
    asked = await house.request()
    with pytest.raises(approvals.ApprovalNotFound):
        await house.service.fetch_approval(STRANGER, asked.approval_id)
    assert await house.service.list_approvals(STRANGER) == ()
    with pytest.raises(approvals.ApprovalNotFound) as theirs:
        await house.service.approve(STRANGER, asked.approval_id)
    with pytest.raises(approvals.ApprovalNotFound) as unknown:
        await house.service.approve(REVIEWER, "apr_nothing")
    assert theirs.value.message.replace(asked.approval_id, "X") == unknown.value.message.replace("apr_nothing", "X")
    approved = await house.service.approve(REVIEWER, asked.approval_id)
    assert await house.find_usable(BINDING.digest, "other") is None
    with pytest.raises(approvals.ApprovalNotFound):
        await house.spend(replace(approved, tenant_id="other"))


async def test_an_edit_binds_the_edited_input(house: House):
    asked = await house.request()
    edited: JSON = {"title": "Rocket leaks slightly"}
    approved = await house.service.approve(REVIEWER, asked.approval_id, edited_input=edited)
    assert approved.edited_input == edited
    assert approved.binding == replace(BINDING, input_digest=kernel.digest(edited))
    assert await house.service.fetch_approval(REVIEWER, asked.approval_id) == approved
    with pytest.raises(approvals.BindingMismatch):
        await house.spend(approved, digest=BINDING.digest)
    assert await house.find_usable(BINDING.digest) is None
    assert (await house.spend(approved, digest=approved.binding_digest)).state is State.SPENT


@pytest.mark.parametrize("edited", [[], "text", 7])
async def test_an_edit_is_an_object(house: House, edited: JSON):
    asked = await house.request()
    with pytest.raises(approvals.InvalidEdit):
        await house.service.approve(REVIEWER, asked.approval_id, edited_input=edited)
    with pytest.raises(kernel.InvalidJson):
        await house.service.approve(REVIEWER, asked.approval_id, edited_input={"a": "\x00"})
    assert (await house.service.fetch_approval(REVIEWER, asked.approval_id)).state is State.PENDING


@pytest.mark.parametrize("approve", [True, False])
async def test_time_ends_it(house: House, approve: bool):
    asked = await house.request(expires_after=timedelta(minutes=5))
    if approve:
        await house.service.approve(REVIEWER, asked.approval_id)
    house.clock.advance(300)
    assert (await house.service.fetch_approval(REVIEWER, asked.approval_id)).state is State.EXPIRED
    assert await house.find_usable(BINDING.digest) is None
    with pytest.raises(approvals.ApprovalExpired):
        await house.spend(asked)
    with pytest.raises(approvals.ApprovalExpired):
        await house.service.approve(REVIEWER, asked.approval_id)
    (ended,) = await house.store.write(house.service.expire)
    assert (ended.approval_id, ended.state) == (asked.approval_id, State.EXPIRED)
    assert await house.store.write(house.service.expire) == ()


async def test_cancelling_withdraws_what_is_open(house: House):
    asked = await house.request()

    async def cancel(approval_id: str) -> approvals.Approval | None:
        return await house.store.write(
            lambda tx: house.service.cancel(tx, tenant_id="acme", approval_id=approval_id, reason="run cancelled")
        )

    cancelled = await cancel(asked.approval_id)
    assert cancelled is not None
    assert (cancelled.state, cancelled.reason) == (State.CANCELLED, "run cancelled")
    assert await cancel(asked.approval_id) is None
    with pytest.raises(approvals.AlreadyDecided):
        await house.service.approve(REVIEWER, asked.approval_id)
    with pytest.raises(approvals.ApprovalDenied):
        await house.spend(asked)


async def test_lists_are_pages_by_state_newest_first(house: House):
    asked = [await house.request(expires_after=timedelta(minutes=minutes)) for minutes in (1, 9, 9, 9)]
    await house.service.approve(REVIEWER, asked[1].approval_id)
    house.clock.advance(120)

    async def listed(*states: State, limit: int = 50, cursor: str | None = None) -> list[int]:
        found = await house.service.list_approvals(REVIEWER, states=states, limit=limit, cursor=cursor)
        return [[item.approval_id for item in asked].index(item.approval_id) for item in found]

    assert await listed() == [3, 2, 1, 0]
    assert await listed(State.PENDING) == [3, 2]
    assert await listed(State.APPROVED, State.EXPIRED) == [1, 0]
    assert await listed(State.DENIED) == []
    assert await listed(limit=2) == [3, 2]
    assert await listed(limit=2, cursor=asked[2].approval_id) == [1, 0]
    await house.store.write(house.service.expire)
    assert await listed(State.EXPIRED) == [0]


async def test_a_run_lists_its_own_oldest_first(house: House):
    first, other, second = [await house.request(run_id=run_id) for run_id in ("run_1", "run_2", "run_1")]
    found = await house.store.read(lambda tx: house.service.list_for_run(tx, tenant_id="acme", run_id="run_1"))
    assert found == (first, second)
    assert other not in found


async def test_the_oldest_usable_approval_is_found_first(house: House):
    asked = [await house.request() for _ in range(3)]
    for item in reversed(asked):
        await house.service.approve(REVIEWER, item.approval_id)
    found = await house.find_usable(BINDING.digest)
    assert found is not None
    assert found.approval_id == asked[0].approval_id
