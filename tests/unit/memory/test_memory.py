"""What stands between a caller and a provider: checks on the way in, and on the way out."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import EntryPoint
from typing import Any, ClassVar, NamedTuple, cast

import pytest

from interlock import memory
from odd_provider import OTHER, SCOPE, Odd, record, result

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("answer", [None, "a record", {"record_id": "x"}, True])
async def test_a_wrong_shape_is_the_provider_s_fault(answer: object):
    odd = Odd()
    odd.answer = answer
    mem = memory.Memory(odd, SCOPE)
    for act in (mem.remember("x"), mem.get("x"), mem.retrieve("x"), mem.forget("x"), mem.prune(), mem.history("x")):
        with pytest.raises(memory.BrokenCapability) as raised:
            await act
        assert (raised.value.provider, raised.value.retryable) == ("odd", False)


async def test_a_record_of_another_scope_never_comes_out():
    odd = Odd()
    mem = memory.Memory(odd, SCOPE)
    odd.answer = record(OTHER)
    for act in (mem.remember("x"), mem.get("x")):
        with pytest.raises(memory.BrokenCapability, match="another scope"):
            await act
    odd.answer = result(odd, record(SCOPE), record(OTHER))
    with pytest.raises(memory.BrokenCapability, match="another scope"):
        await mem.retrieve("x")


async def test_more_hits_than_were_asked_for_are_refused():
    odd = Odd()
    odd.answer = result(odd, record(SCOPE), record(SCOPE))
    with pytest.raises(memory.BrokenCapability, match="2 hits where 1"):
        await memory.Memory(odd, SCOPE).retrieve("x", limit=1)


async def test_a_provider_that_hangs_is_left_at_the_deadline():
    odd = Odd()
    odd.answer = "hang"
    with pytest.raises(memory.DeadlineExceeded) as raised:
        await memory.Memory(odd, SCOPE).using(timeout=0.01).retrieve("x")
    assert (raised.value.operation, raised.value.retryable) == ("retrieve", True)


async def test_what_the_contract_does_not_know_is_told_without_its_text():
    odd = Odd()
    odd.answer = ZeroDivisionError("a secret")
    with pytest.raises(memory.ProviderFailed) as raised:
        await memory.Memory(odd, SCOPE).get("x")
    assert "ZeroDivisionError" in raised.value.message
    assert raised.value.details["type"] == "ZeroDivisionError"
    assert str(raised.value.details["where"]).startswith("odd_provider.py:")
    assert "a secret" not in str(raised.value.to_json())


async def test_not_offered_and_offered_but_broken_are_two_things():
    odd = Odd()
    mem = memory.Memory(odd, SCOPE)
    with pytest.raises(memory.BrokenCapability, match="claims ingest, and has none"):
        await mem.ingest([memory.Draft(text="x")])
    with pytest.raises(memory.UnsupportedCapability, match="does not offer consolidate"):
        await mem.plan_consolidation()
    with pytest.raises(memory.UnsupportedCapability, match="does not search by semantic"):
        await mem.retrieve("x", mode="semantic")
    with pytest.raises(memory.UnsupportedCapability, match="temporal"):
        await mem.retrieve("x", as_of="any")
    has = mem.capabilities()
    assert (has.supports("history"), has.supports("ingest"), has.broken) == (True, False, frozenset({"ingest"}))


async def test_what_is_not_what_it_seems_is_the_provider_s_fault():
    odd = Odd()
    mem = memory.Memory(odd, SCOPE)
    odd.answer = ("no entry",)
    with pytest.raises(memory.BrokenCapability, match="a str among the entries"):
        await mem.history("x")
    odd.answer = -1
    with pytest.raises(memory.BrokenCapability, match="fewer than no"):
        await mem.prune()
    odd.answer = record(SCOPE)
    with pytest.raises(memory.BrokenCapability, match="not asked for"):
        await mem.get("mem_" + "1" * 32)
    assert (await mem.get(odd.answer.record_id)) is odd.answer


async def test_a_provider_that_cannot_say_what_it_is_is_told_so():
    class Mute(Odd):
        told: Any = None

        def capabilities(self) -> memory.CapabilitySet:
            if isinstance(self.told, Exception):
                raise self.told
            return self.told

        info = capabilities  # type: ignore[assignment]

    mute = Mute()
    mem = memory.Memory(mute, SCOPE)
    for act in (mem.info, mem.capabilities):
        with pytest.raises(memory.BrokenCapability, match="a NoneType where"):
            act()
    mute.told = KeyError("a secret")
    with pytest.raises(memory.ProviderFailed, match="KeyError") as raised:
        await mem.retrieve("x")
    assert "a secret" not in str(raised.value.to_json())
    for failing in (mem.info, mem.capabilities):
        with pytest.raises(memory.ProviderFailed):
            failing()


async def test_a_batch_that_is_answered_in_part_is_broken():
    class Half(Odd):
        async def ingest(self, scope: memory.Scope, request: memory.IngestRequest) -> memory.IngestResult:
            return memory.IngestResult(items=(memory.Ingested(status=memory.IngestStatus.ACCEPTED),))

        async def plan_consolidation(self, scope: memory.Scope, policies: Sequence[str]) -> memory.ConsolidationPlan:
            return memory.ConsolidationPlan.of(change_id="c", scope=OTHER, planned_at=record(SCOPE).observed_at)

        async def apply_consolidation(self, scope: memory.Scope, plan: memory.ConsolidationPlan) -> Any:
            return None

        async def undo_consolidation(self, scope: memory.Scope, change_id: str) -> Any:
            return None

    mem = memory.Memory(Half(), SCOPE)
    with pytest.raises(memory.BrokenCapability, match="1 answers to 2 records"):
        await mem.ingest([memory.Draft(text="x"), memory.Draft(text="y")])
    with pytest.raises(memory.BrokenCapability, match="another scope"):
        await mem.plan_consolidation()
    with pytest.raises(memory.BrokenCapability, match="a NoneType"):
        await mem.undo_consolidation("c")


async def test_options_count_in_their_order():
    odd = Odd()
    mem = memory.Memory(odd, SCOPE, state=memory.Options(limit=3), given=memory.Options(limit=4, min_score=0.5))
    odd.answer = result(odd)

    async def limit(mem: memory.Memory, **fields: Any) -> int | None:
        await mem.retrieve("x", **fields)
        assert odd.asked is not None
        assert odd.asked.min_score == 0.5
        return odd.asked.limit

    assert await limit(mem) == 3
    assert await limit(mem, limit=2) == 2
    assert await limit(mem.using(limit=1), limit=2) == 1
    assert await limit(memory.Memory(odd, SCOPE, given=memory.Options(limit=4, min_score=0.5))) == 4


async def test_a_draft_is_kept_within_the_scope_or_not_at_all():
    async with memory.Memory.open("memory", scope=SCOPE) as mem:
        session = SCOPE.narrowed(session="s1")
        kept = await mem.remember("x", scope=session)
        assert kept.scope == session
        for scope in (OTHER, memory.Scope(tenant="acme")):
            with pytest.raises(memory.ScopeDenied):
                await mem.remember("x", scope=scope)
            with pytest.raises(memory.ScopeDenied):
                await mem.ingest([memory.Draft(text="x", scope=scope)])
        with pytest.raises(memory.ScopeDenied):
            mem.narrowed(user="bob")
        narrow = mem.narrowed(session="s2")
        with pytest.raises(memory.RecordNotFound):
            await narrow.get(kept.record_id)
        assert not (await narrow.retrieve()).hits


class _Package(NamedTuple):
    name: str
    version: str = "1.0"


class _Entry:
    """An entry point without a package."""

    def __init__(self, name: str, thing: object, package: str | None = None) -> None:
        self.name, self._thing = name, thing
        self.dist = None if package is None else _Package(package)

    def load(self) -> object:
        if isinstance(self._thing, Exception):
            raise self._thing
        return self._thing


def registry(*entries: _Entry) -> memory.Registry:
    return memory.Registry(cast("Sequence[EntryPoint]", entries))


def test_one_broken_entry_hides_no_other():
    there = registry(
        _Entry("odd", Odd),
        _Entry("raises", ImportError("no module named x")),
        _Entry("strange", object()),
        _Entry("another", Odd),
        _Entry("twice", Odd),
        _Entry("twice", Odd),
    )
    assert there.fetch("odd") is Odd
    problems = {offer.name: offer.problem for offer in there.offers()}
    assert problems["odd"] is None
    assert "no module named x" in str(problems["raises"])
    assert "no subclass" in str(problems["strange"])
    assert "calls itself 'odd'" in str(problems["another"])
    assert "two packages" in str(problems["twice"])
    for name in ("raises", "strange", "another", "twice", "missing"):
        with pytest.raises(memory.UnknownProvider):
            there.fetch(name)


def test_nobody_takes_a_name_of_ours():
    class Sqlite(Odd):
        name: ClassVar[str] = "sqlite"

    there = registry(_Entry("sqlite", object(), "evil"), _Entry("sqlite", Sqlite, "interlock"), _Entry("odd", Odd))
    assert there.fetch("sqlite") is Sqlite
    told = [(offer.name, offer.distribution, offer.provider) for offer in there.offers()]
    assert told == [("odd", "an unknown package", Odd), ("sqlite", "interlock", Sqlite), ("sqlite", "evil", None)]
    assert "needs another name" in str(there.offers()[2].problem)


def test_what_has_to_be_installed_first_is_told():
    class Needy(Odd):
        needs: ClassVar[Mapping[str, str]] = {"json": "never", "no_such.module": "pip install such"}

    (offer,) = registry(_Entry("odd", Needy)).offers()
    assert (offer.provider, offer.problem) == (Needy, None)
    assert offer.missing == "no_such.module is not installed: `pip install such`"


class _Askew(Odd):
    """With methods of the right names, and of the wrong shapes."""

    claims: ClassVar[frozenset[str]] = frozenset()

    async def history(self, record_id: str) -> Any:  # type: ignore[override]
        return ()

    async def plan_consolidation(self, scope: memory.Scope, policies: Sequence[str]) -> Any:
        return None

    get_as_of = 5

    def ingest(self, scope: memory.Scope, request: memory.IngestRequest, *more: object, atomic: bool = False) -> Any:
        return memory.IngestResult(items=())


async def test_a_method_of_another_shape_is_offered_and_broken():
    mem = memory.Memory(_Askew(), SCOPE)
    has = mem.capabilities()
    assert has.broken == {"history", "consolidate", "temporal"}
    assert has.offered == {*memory.REQUIRED, "ingest"}
    (offer,) = registry(_Entry("odd", _Askew)).offers()
    assert (offer.broken, offer.capabilities) == (has.broken, has.offered)
    with pytest.raises(memory.BrokenCapability, match="history does not take what it is given: too many"):
        await mem.history("x")
    with pytest.raises(memory.BrokenCapability, match="apply_consolidation is missing"):
        await mem.plan_consolidation()
    with pytest.raises(memory.BrokenCapability, match="get_as_of is no method"):
        await mem.retrieve("x", as_of="any")
    with pytest.raises(memory.BrokenCapability, match="a IngestResult that cannot be awaited"):
        await mem.ingest([memory.Draft(text="x")])


async def test_what_is_required_has_its_shape_too():
    class Short(Odd):
        async def get(self, record_id: str) -> Any:  # type: ignore[override]
            return None

    with pytest.raises(memory.BrokenCapability, match="get does not take"):
        await memory.Memory(Short(), SCOPE).get("x")
    (offer,) = registry(_Entry("odd", Short)).offers()
    assert "its get does not take what it is given" in str(offer.problem)


def test_an_alias_never_hides_a_name():
    class Basic(Odd):
        name: ClassVar[str] = "basic"

    assert registry(_Entry("basic", Basic), _Entry("memory", Odd)).fetch("basic") is Basic


def test_ours_is_installed_by_the_same_entry_points():
    (entry,) = [each for each in _installed() if each.name == "memory"]
    assert memory.Registry().fetch("basic") is entry.load()


def _installed() -> Sequence[EntryPoint]:
    from importlib.metadata import entry_points

    return tuple(entry_points(group=memory.GROUP))


async def test_a_configuration_that_is_refused_names_the_provider():
    with pytest.raises(memory.InvalidConfig, match="takes no configuration") as raised:
        async with memory.Memory.open("memory", {"path": "x"}, scope=SCOPE):
            pass
    assert raised.value.provider == "memory"


@pytest.mark.parametrize("strange", [b"x", None, 5, ["x"], {"text": "x"}])
async def test_what_is_not_what_it_seems_is_told_before_the_provider_sees_it(strange: Any):
    mem = memory.Memory(Odd(), SCOPE)
    calls: list[Callable[[Any], Awaitable[object]]] = [mem.remember, mem.get, mem.forget, mem.history, mem.before_turn]
    calls += [mem.take_over, mem.apply_consolidation, mem.undo_consolidation, mem.ingest, mem.after_turn]
    calls += [lambda _: mem.hand_over(after=b"mem"), lambda _: mem.hand_over(limit="all")]  # type: ignore[arg-type]
    for call in calls:
        with pytest.raises(memory.InvalidInput) as raised:
            await call(strange)
        assert raised.value.details["problems"]
    with pytest.raises(memory.InvalidInput):
        async with memory.Memory.open("memory", scope=strange):
            pass
    with pytest.raises(memory.InvalidInput):
        await mem.plan_consolidation([strange])


async def test_a_state_that_is_none_is_the_caller_s_mistake():
    state: Any = {"timeout": 3}
    with pytest.raises(memory.InvalidInput, match="state is a dict where a Options is due"):
        async with memory.Memory.open("memory", scope=SCOPE, state=state):
            pass


def test_a_configuration_is_not_told_by_who_prints_a_reference():
    told = repr(memory.ProviderRef(name="postgres", config={"url": "postgresql://u:hunter2@h/d"}))
    assert told.startswith("ProviderRef(name='postgres'")
    assert "hunter2" not in told
