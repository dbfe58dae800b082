"""Budgets on every store: no limit is passed, over any number of processes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from math import ceil
from typing import Any

import anyio
import pytest
from sqlalchemy import Engine, event

from interlock import budgets
from interlock.adapters import sql
from interlock.adapters.sql.budgets import BudgetRecords
from interlock.budgets import Exhausted, Limit, Per, Rate, Reservation, Rule, Spend
from interlock.testing import ManualClock

pytestmark = pytest.mark.anyio

CALL = budgets.Call(
    tenant_id="acme",
    capability_id="github.issue.create",
    connector_id="github",
    connection_id="con_1",
    effect="create",
    environment="prod",
)
SLOTS = Rule(name="slots", per=Per.CONNECTION, concurrency=2)
RATE = Rule(name="rate", per=Per.CONNECTION, rate=Rate(limit=3, per_seconds=60))
SPEND = Rule(name="spend", per=Per.TENANT, spend=Spend(limit=100, per_seconds=3600, unit="tokens"))


@dataclass
class House:
    store: sql.SqlStore
    clock: ManualClock

    def budgets(self, *rules: Rule) -> budgets.Budgets:
        return budgets.Budgets(self.store, BudgetRecords(), clock=self.clock, rules=rules)


@pytest.fixture
def house(store: sql.SqlStore) -> House:
    return House(store, ManualClock())


async def reserve(service: budgets.Budgets, holder: str = "run_1", call: budgets.Call = CALL) -> Reservation:
    answer = await service.reserve(call, holder=holder)
    assert isinstance(answer, Reservation), answer
    return answer


async def refused(
    service: budgets.Budgets, holder: str = "run_x", call: budgets.Call = CALL, cost: dict[str, int] | None = None
) -> Exhausted:
    answer = await service.reserve(call, holder=holder, cost=cost)
    assert isinstance(answer, Exhausted), answer
    return answer


class NoStore:
    """A store that must not be asked."""

    async def read(self, fn: object) -> object:
        raise AssertionError("the store was read")

    async def write(self, fn: object, *, urgent: bool = False) -> object:
        raise AssertionError("the store was written")


async def test_a_call_that_no_rule_matches_costs_nothing():
    clock = ManualClock()
    service = budgets.Budgets(NoStore(), BudgetRecords(), clock=clock, rules=(replace(SLOTS, effect=("read",)),))  # pyright: ignore[reportArgumentType]
    reservation = await reserve(service)
    assert not reservation
    assert await service.renew(reservation) == reservation
    await service.release(reservation)
    await service.block(CALL, until=clock.now())
    assert await service.pressure(CALL) == {}


async def test_slots_are_limited_and_come_back(house: House):
    service = house.budgets(SLOTS)
    first, _ = await reserve(service, "run_1"), await reserve(service, "run_2")
    answer = await refused(service, "run_3")
    assert (answer.budget, answer.limit, answer.subject) == ("slots", Limit.CONCURRENCY, "con_1")
    assert answer.retry_after is not None
    assert answer.retry_after > 0
    assert "2 of 2 slots" in answer.text
    await service.release(first)
    await service.release(first)
    await reserve(service, "run_3")


async def test_a_holder_has_one_slot_however_often_it_asks(house: House):
    service = house.budgets(SLOTS)
    for _ in range(5):
        await reserve(service, "run_1")
    await reserve(service, "run_2")
    await refused(service, "run_3")


async def test_a_dead_holders_slot_comes_free_and_a_live_one_keeps_it(house: House):
    service = house.budgets(SLOTS)
    live = await reserve(service, "run_live")
    await reserve(service, "run_dead")
    house.clock.advance(40)
    renewed = await service.renew(live)
    assert renewed.expires_at == house.clock.now() + timedelta(seconds=60)
    house.clock.advance(20)
    await reserve(service, "run_next")
    await refused(service, "run_late")


async def test_subjects_and_tenants_do_not_share(house: House):
    service = house.budgets(replace(SLOTS, concurrency=1))
    await reserve(service, "run_1")
    await reserve(service, "run_2", replace(CALL, connection_id="con_2"))
    await reserve(service, "run_3", replace(CALL, tenant_id="other"))
    await refused(service, "run_4")


async def test_rates_are_counted_in_aligned_windows(house: House):
    house.clock.advance(15)
    service = house.budgets(RATE)
    for number in range(3):
        await service.release(await reserve(service, f"run_{number}"))
    answer = await refused(service)
    assert (answer.limit, answer.retry_after) == (Limit.RATE, 45.0)
    house.clock.advance(44)
    await refused(service)
    house.clock.advance(1)
    await reserve(service)


async def test_old_windows_are_forgotten(house: House):
    service = house.budgets(RATE)
    key = RATE.key(CALL)
    start, _ = RATE.rate.window(house.clock.now()) if RATE.rate else (None, None)
    assert start is not None
    await reserve(service)
    assert await house.store.read(lambda tx: BudgetRecords().used(tx, key, "rate", start)) == 1
    for used in (1, 0):  # the one before stays, the one before that does not
        house.clock.advance(60)
        await reserve(service)
        assert await house.store.read(lambda tx: BudgetRecords().used(tx, key, "rate", start)) == used


async def test_a_clock_that_jumps_ahead_and_is_put_back_gives_nothing_again(house: House):
    service = house.budgets(SPEND)
    assert isinstance(await service.reserve(CALL, holder="run_1", cost={"tokens": 90}), Reservation)
    ahead = ManualClock(house.clock.now() + timedelta(days=3))
    jumped = budgets.Budgets(house.store, BudgetRecords(), clock=ahead, rules=(SPEND,))
    assert isinstance(await jumped.reserve(CALL, holder="run_2", cost={"tokens": 90}), Reservation)
    assert isinstance(await service.reserve(CALL, holder="run_3", cost={"tokens": 90}), Exhausted)


async def test_less_than_the_most_is_granted_if_it_is_enough(house: House):
    day = Rule(name="day", per=Per.AGENT, spend=Spend(limit=100, per_seconds=86_400, unit="milliseconds"))
    hour = Rule(name="hour", per=Per.SESSION, spend=Spend(limit=70, per_seconds=3600, unit="milliseconds"))
    service = house.budgets(day, hour)

    async def hold(holder: str, most: int, call: budgets.Call = TURN) -> budgets.Granted | Exhausted:
        return await house.store.write(
            lambda tx: service.hold_up_to_in(tx, call, holder=holder, unit="milliseconds", most=most, least=10)
        )

    assert await hold("a", 50) == budgets.Granted(amount=50)
    assert await hold("b", 50) == budgets.Granted(amount=20, budget="hour")
    spent = await hold("c", 50)
    assert isinstance(spent, Exhausted)
    assert (spent.budget, spent.limit) == ("hour", Limit.SPEND)
    other = replace(TURN, session_id="ags_2")
    assert await hold("d", 50, other) == budgets.Granted(amount=30, budget="day")
    assert isinstance(await hold("e", 50, other), Exhausted)
    await house.store.write(lambda tx: service.settle_in(tx, tenant_id="acme", holder="d", amounts={"milliseconds": 5}))
    assert await hold("f", 50, other) == budgets.Granted(amount=25, budget="day")
    assert await house.store.write(
        lambda tx: house.budgets().hold_up_to_in(tx, TURN, holder="g", unit="milliseconds", most=9, least=10)
    ) == budgets.Granted(amount=9), "nothing counts it"


async def test_spend_counts_its_own_unit(house: House):
    service = house.budgets(SPEND)
    assert isinstance(await service.reserve(CALL, holder="run_1", cost={"tokens": 60, "usd_micros": 999}), Reservation)
    answer = await refused(service, cost={"tokens": 41})
    used = "budget 'spend' for acme: spend: 60 of 100 per 3600 s are used, 41 more are asked for"
    assert (answer.limit, answer.text) == (Limit.SPEND, f"{used}; try again in {ceil(answer.retry_after or 0)} s")
    assert isinstance(await service.reserve(CALL, holder="run_2", cost={"tokens": 40}), Reservation)
    with pytest.raises(ValueError, match="negative"):
        await service.reserve(CALL, holder="run_3", cost={"tokens": -1})


async def test_more_than_the_whole_is_refused_for_ever(house: House):
    service = house.budgets(SLOTS, SPEND)
    for number in range(2):
        await reserve(house.budgets(SLOTS), f"run_{number}")
    answer = await refused(service, cost={"tokens": 101})
    assert (answer.limit, answer.retry_after) == (Limit.SPEND, None)
    asked = "budget 'spend' for acme: spend: 101 are asked for at once, of 100 per 3600 s"
    assert answer.text == f"{asked}; ask for less, or raise its limit"
    assert (await refused(service, cost={"tokens": 100})).limit is Limit.CONCURRENCY


async def test_a_reservation_is_all_or_nothing(house: House):
    service = house.budgets(SLOTS, RATE, replace(SPEND, name="a-spend"))
    for number in range(5):
        answer = await refused(service, f"run_{number}", cost={"tokens": 101})
        assert answer.limit is Limit.SPEND
    for number in range(2):
        await reserve(service, f"run_{number}")
    for number in range(5):
        assert (await refused(service, f"run_9{number}")).limit is Limit.CONCURRENCY
    assert await service.pressure(CALL) == {"budget_left": 0.0}
    assert await house.budgets(RATE).pressure(CALL) == {"budget_left": pytest.approx(1 / 3)}


async def test_a_blocked_connection_waits_as_long_as_it_was_told(house: House):
    service = house.budgets(RATE)
    until = house.clock.now() + timedelta(seconds=30)
    await service.block(CALL, until=until)
    await service.block(CALL, until=until - timedelta(seconds=20))
    answer = await refused(service)
    assert (answer.limit, answer.subject, answer.retry_after) == (Limit.BLOCKED, "con_1", 30.0)
    assert await service.pressure(CALL) == {"budget_left": 0.0}
    await reserve(service, call=replace(CALL, connection_id="con_2"))
    house.clock.advance(30)
    await reserve(service)


@pytest.mark.parametrize("per", [Per.CONNECTION, Per.TENANT, Per.CAPABILITY])
async def test_a_block_closes_nothing_but_its_connection(house: House, per: Per):
    service = house.budgets(replace(RATE, per=per))
    await service.block(CALL, until=house.clock.now() + timedelta(seconds=30))
    other = replace(CALL, connection_id="con_2")
    await reserve(service, call=other)
    assert (await service.pressure(other))["budget_left"] > 0
    assert (await refused(service, call=replace(CALL, capability_id="github.issue.fetch"))).limit is Limit.BLOCKED
    await reserve(service, call=replace(CALL, tenant_id="other"))


async def test_a_block_needs_no_rule(house: House):
    service = house.budgets()
    await service.block(CALL, until=house.clock.now() + timedelta(seconds=30))
    assert (await refused(service)).limit is Limit.BLOCKED
    assert await service.pressure(CALL) == {"budget_left": 0.0}
    house.clock.advance(30)
    assert not await reserve(service)
    assert await service.pressure(CALL) == {}


async def test_a_block_by_another_process_is_met_by_calls_that_a_rule_counts(house: House):
    await house.budgets().block(CALL, until=house.clock.now() + timedelta(seconds=30))
    service = house.budgets(RATE)
    assert (await refused(service)).limit is Limit.BLOCKED
    assert await service.pressure(CALL) == {"budget_left": 0.0}
    house.clock.advance(30)
    await reserve(service)


async def test_a_service_cannot_close_a_connection_for_days(house: House):
    service = house.budgets()
    await service.block(CALL, until=house.clock.now() + timedelta(days=11))
    assert (await refused(service)).retry_after == 3600
    assert (await refused(house.budgets(RATE))).retry_after == 3600


async def test_calls_without_a_connection_are_closed_by_connector(house: House):
    service = house.budgets(RATE)
    free = replace(CALL, connection_id=None)
    await service.block(free, until=house.clock.now() + timedelta(seconds=30))
    await refused(service, call=free)
    await reserve(service, call=replace(free, connector_id="other"))
    await reserve(service)


@pytest.mark.parametrize("late", ["release", "renew"])
async def test_a_late_holder_leaves_its_successors_slot_alone(house: House, late: str):
    service = house.budgets(replace(SLOTS, concurrency=1))
    old = await reserve(service, "run_1")
    house.clock.advance(50)
    new = await reserve(service, "run_1")  # another process took the run over
    if late == "release":
        await service.release(old)
        await refused(service, "run_2")
    else:
        house.clock.advance(5)
        await service.renew(old)
        house.clock.advance(54)
        await refused(service, "run_2")
        house.clock.advance(1)  # as the successor's own time runs out
        await reserve(service, "run_2")
    await service.release(new)
    await reserve(service, "run_2")


async def test_pressure_is_the_least_of_what_is_left(house: House):
    service = house.budgets(replace(SLOTS, concurrency=10), SPEND)
    assert await service.pressure(CALL) == {"budget_left": 1.0}
    await service.reserve(CALL, holder="run_1", cost={"tokens": 75})
    assert await service.pressure(CALL) == {"budget_left": 0.25}


@pytest.mark.parametrize("rule", [SLOTS, RATE], ids=lambda rule: rule.name)
async def test_two_processes_pass_no_limit(store_url: str, open_store: Callable[[str], sql.SqlStore], rule: Rule):
    clock = ManualClock()
    services = [House(open_store(store_url), clock).budgets(rule, SPEND) for _ in range(2)]
    allowed = 2 if rule is SLOTS else 3
    got: list[str] = []

    async def ask(service: budgets.Budgets, holder: str) -> None:
        if isinstance(await service.reserve(CALL, holder=holder, cost={"tokens": 1}), Reservation):
            got.append(holder)

    async with anyio.create_task_group() as tasks:
        for number in range(16):
            tasks.start_soon(ask, services[number % 2], f"run_{number}")
    assert len(got) == allowed
    assert await services[0].pressure(CALL) == {"budget_left": 0.0}
    only_spend = House(open_store(store_url), clock).budgets(SPEND)
    assert await only_spend.pressure(CALL) == {"budget_left": pytest.approx(1 - allowed / 100)}


async def test_two_processes_with_opposite_rules_do_not_block_each_other(
    store_url: str, open_store: Callable[[str], sql.SqlStore]
):
    clock = ManualClock()
    many = [Rule(name=f"r{number}", per=Per.TENANT, concurrency=100) for number in range(5)]
    services = [House(open_store(store_url), clock).budgets(*rules) for rules in (many, list(reversed(many)))]

    async def work(service: budgets.Budgets, number: int) -> None:
        for turn in range(3):
            reservation = await reserve(service, f"run_{number}_{turn}")
            await service.release(await service.renew(reservation))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(work, services[number % 2], number)
    assert await services[0].pressure(CALL) == {"budget_left": 1.0}


TURN = replace(CALL, capability_id="agent.desk", connector_id="agent", agent_id="desk", session_id="ags_1")
DAY = Spend(limit=100, per_seconds=86_400, unit="tokens")


def cap(limit: int, *, subject: str = "run_1", unit: str = "tokens") -> budgets.Cap:
    key = budgets.Key(tenant_id="acme", budget=":turn", subject=subject)
    return budgets.Cap(key=key, unit=unit, limit=limit, since=ManualClock().now())


@dataclass
class Purse:
    """What is held and settled, each in a transaction of its own."""

    house: House
    service: budgets.Budgets

    async def hold(
        self, holder: str, caps: tuple[budgets.Cap, ...] = (), call: budgets.Call = TURN, **amounts: int
    ) -> Exhausted | None:
        return await self.house.store.write(
            lambda tx: self.service.hold_in(tx, call, holder=holder, amounts=amounts, caps=caps)
        )

    async def settle(self, holder: str, amounts: dict[str, int] | None) -> None:
        await self.house.store.write(
            lambda tx: self.service.settle_in(tx, tenant_id="acme", holder=holder, amounts=amounts)
        )

    async def used(self, of: budgets.Cap) -> int:
        return await self.house.store.read(lambda tx: self.service.used_in(tx, of))


async def test_what_is_held_is_used_until_it_is_settled(house: House):
    purse, limit = Purse(house, house.budgets()), cap(100)
    assert await purse.hold("a", (limit,), tokens=60) is None
    taken = await purse.hold("b", (limit,), tokens=60)
    assert taken is not None
    assert taken.retry_after is None
    assert "60 of 100 are used or reserved, up to 60 more are asked for" in taken.text
    await purse.settle("a", {"tokens": 10})
    assert await purse.used(limit) == 10
    await purse.settle("a", {"tokens": 10})
    assert await purse.used(limit) == 10  # once
    assert await purse.hold("b", (limit,), tokens=60) is None
    await purse.settle("b", {"tokens": 95})  # it came to more than anybody thought
    assert await purse.used(limit) == 105
    assert await purse.hold("c", (limit,), tokens=1) is not None


async def test_what_nobody_knows_the_end_of_is_used(house: House):
    purse, limit = Purse(house, house.budgets()), cap(100)
    assert await purse.hold("a", (limit,), tokens=60) is None  # and its process dies
    assert await purse.hold("a", (limit,), tokens=60) is None  # the next one asks again for the same
    assert await purse.used(limit) == 60
    await purse.settle("a", None)
    assert await purse.used(limit) == 60


async def test_of_several_limits_all_or_none(house: House):
    session = Rule(name="session", per=Per.SESSION, spend=replace(DAY, limit=50))
    agent = Rule(name="agent", per=Per.AGENT, spend=DAY)
    purse, limit = Purse(house, house.budgets(session, agent)), cap(1_000)
    assert await purse.hold("a", (limit,), tokens=40) is None
    refused = await purse.hold("b", (limit,), tokens=20)
    assert refused is not None
    assert (refused.budget, refused.subject) == ("session", "ags_1")
    assert refused.retry_after is not None
    assert await purse.used(limit) == 40
    other = replace(TURN, session_id="ags_2")
    assert await purse.hold("c", (limit,), call=other, tokens=50) is None
    spent = await purse.hold("d", (limit,), call=replace(TURN, session_id="ags_3"), tokens=20)
    assert spent is not None
    assert spent.budget == "agent"  # 90 of its 100 by both sessions


async def test_calls_and_turns_are_counted_apart(house: House):
    everything = Rule(name="all", per=Per.TENANT, spend=DAY)
    turns = Rule(name="turns", per=Per.TENANT, capability=("agent.*",), spend=DAY)
    service = house.budgets(everything, turns, Rule(name="each", per=Per.AGENT, spend=DAY))
    assert [rule.name for rule in service.matching(CALL)] == ["all"]
    assert [rule.name for rule in service.matching(TURN)] == ["turns", "each"]


async def test_what_is_settled_after_its_window_touches_no_other(house: House):
    purse = Purse(house, house.budgets(Rule(name="agent", per=Per.AGENT, spend=DAY)))
    assert await purse.hold("a", tokens=90) is None
    house.clock.advance(86_400)
    assert await purse.hold("b", tokens=90) is None
    await purse.settle("a", {"tokens": 0})
    assert await purse.hold("c", tokens=90) is not None


async def test_many_processes_pass_no_limit_of_amounts(store_url: str, open_store: Callable[[str], sql.SqlStore]):
    clock = ManualClock()
    houses = [House(open_store(store_url), clock) for _ in range(2)]
    purses = [Purse(each, each.budgets(Rule(name="agent", per=Per.AGENT, spend=DAY))) for each in houses]
    limit, got = cap(45), list[str]()

    async def ask(purse: Purse, holder: str) -> None:
        if await purse.hold(holder, (limit,), tokens=10) is None:
            got.append(holder)
            await purse.settle(holder, {"tokens": 5})

    async with anyio.create_task_group() as tasks:
        for number in range(16):
            tasks.start_soon(ask, purses[number % 2], f"run_{number}")
    assert await purses[0].used(limit) == 5 * len(got)
    assert 45 // 10 <= len(got) <= 45 // 5


async def test_of_several_holders_all_locks_are_taken_in_one_order_and_at_once(house: House):
    calls = Rule(name="b-calls", per=Per.AGENT, spend=replace(DAY, unit="operation_calls"))
    words = Rule(name="a-words", per=Per.AGENT, spend=DAY)
    purse = Purse(house, house.budgets(calls, words))
    locked: list[object] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("INSERT INTO budget_windows"):
            told: Iterable[Any] = getattr(parameters, "values", parameters.__iter__)()
            locked.append([each for each in told if each in ("a-words", "b-calls")])

    for first, second in (("done", "asked"), ("asked", "done")):
        assert await purse.hold("done", operation_calls=1) is None
        assert await purse.hold("asked", tokens=60) is None
        came_to = {first: None, second: {"tokens": 1, "operation_calls": 1}}
        event.listen(Engine, "before_cursor_execute", note)
        try:
            await house.store.write(
                lambda tx, came_to=came_to: purse.service.settle_all_in(tx, tenant_id="acme", came_to=came_to)
            )
        finally:
            event.remove(Engine, "before_cursor_execute", note)
    assert locked == [["a-words", "b-calls"]] * 2
    key = budgets.Key(tenant_id="acme", budget="a-words", subject="desk")
    start = DAY.window(house.clock.now())[0]
    assert await house.store.read(lambda tx: BudgetRecords().used(tx, key, "spend", start)) == 61
