"""Many callers in one commit: each gets its own answer, whatever the others bring along."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from fix_ledger import START, Builder
from fix_store import outcomes
from interlock import connections, runs
from interlock.adapters import sql
from interlock.adapters.sql import postgres, tables
from interlock.kernel import InternalError, Tx

pytestmark = pytest.mark.anyio

ORPHAN = connections.Lease(
    lease_id="lse_orphan",
    tenant_id="default",
    connection_id="con_none",
    credential_id="crd_none",
    run_id=None,
    scopes=frozenset(),
    hosts=frozenset(),
    issued_at=START,
    expires_at=START + timedelta(seconds=1),
)


def check_whole(tx: Tx, ledger: runs.Ledger, run_id: str, events: int) -> None:
    """The run is there with an unbroken chain of that length."""
    run = ledger.find_run(tx, "default", run_id)
    assert run is not None
    chain = ledger.list_events(tx, "default", run_id)
    assert [event.seq for event in chain] == list(range(1, events + 1))
    assert (run.head_seq, run.head_hash) == (chain[-1].seq, chain[-1].hash)


def count(tx: Tx, name: str) -> int:
    return sql.connection(tx).execute(select(func.count()).select_from(tables.metadata.tables[name])).scalar_one()


def poisons(builder: Builder) -> dict[str, runs.Admission]:
    """Admissions that no database takes."""
    good = builder.admission()
    twice = (*good.events[:-1], replace(good.events[-1], seq=1))
    return {
        "a lease on nothing": builder.admission(lease=ORPHAN),
        "a lone surrogate": builder.admission(reason="\ud800"),
        "a number beyond 64 bits": builder.admission(fence=2**70),
        "an event twice": replace(good, events=twice),
        "a float without JSON": builder.admission(error=float("nan")),
    }


@pytest.mark.parametrize("which", poisons(Builder()).keys())
async def test_a_poison_row_fails_alone(
    store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder, which: str
) -> None:
    good = [builder.admission() for _ in range(12)]
    poison = poisons(builder)[which]
    answers = await outcomes(ledger.admit(admission) for admission in [*good[:6], poison, *good[6:]])
    failed = answers.pop(6)
    assert isinstance(failed, InternalError), failed
    assert failed.code == "row_refused"
    assert failed.__cause__ is not None
    assert answers == [runs.Admitted(run_id=admission.run.run_id, fresh=True) for admission in good]

    def check(tx: Tx) -> None:
        for admission in good:
            check_whole(tx, ledger, admission.run.run_id, 4)
        assert count(tx, "runs") == len(good)
        assert count(tx, "events") == 4 * len(good)
        assert count(tx, "attempts") == len(good)

    await store.read(check)


async def test_text_with_nul_is_kept_or_refused_but_never_cut(
    store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder
) -> None:
    admission = builder.admission(reason="a\0b")
    try:
        await ledger.admit(admission)
    except sql.RowRefused:
        expected = None
    else:
        expected = admission.run
    found = await store.read(lambda tx: ledger.find_run(tx, "default", admission.run.run_id))
    assert found == expected


async def test_a_stale_change_fails_alone(store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder) -> None:
    admissions = [builder.admission() for _ in range(20)]
    await outcomes(ledger.admit(admission) for admission in admissions)
    changes = [builder.completion(admission) for admission in admissions]
    offered = [
        replace(change, before=replace(change.before, fence=9)) if number % 5 == 0 else change
        for number, change in enumerate(changes)
    ]
    answers = await outcomes(ledger.apply(change) for change in offered)
    for number, answer in enumerate(answers):
        assert isinstance(answer, runs.StaleRun) if number % 5 == 0 else answer is None

    def check(tx: Tx) -> None:
        for number, admission in enumerate(admissions):
            check_whole(tx, ledger, admission.run.run_id, 4 if number % 5 == 0 else 7)
        assert count(tx, "artifacts") == 16

    await store.read(check)


async def test_rivals_for_one_run_have_one_winner(store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder) -> None:
    admission = builder.admission()
    await ledger.admit(admission)
    rivals = [builder.completion(admission) for _ in range(16)]
    answers = await outcomes(ledger.apply(rival) for rival in rivals)
    assert sum(answer is None for answer in answers) == 1
    assert sum(isinstance(answer, runs.StaleRun) for answer in answers) == 15
    await store.read(lambda tx: check_whole(tx, ledger, admission.run.run_id, 7))


async def test_the_same_admission_from_many_callers_is_written_once(
    store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder
) -> None:
    for admission in (builder.admission(), builder.admission(key="k1")):
        answers = await outcomes(ledger.admit(admission) for _ in range(12))
        assert set(answers) == {runs.Admitted(run_id=admission.run.run_id, fresh=True)}
    assert await store.read(lambda tx: count(tx, "events")) == 8


async def test_a_crowd_with_doubled_keys_poison_and_cancels(
    store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder
) -> None:
    offered = [
        builder.admission(
            key=f"k{number % 40}" if number % 5 == 0 else None, lease=ORPHAN if number % 23 == 7 else None
        )
        for number in range(200)
    ]
    answers = await outcomes((ledger.admit(admission) for admission in offered), cancel=range(0, 200, 11))

    def check(tx: Tx) -> None:
        for number, (admission, answer) in enumerate(zip(offered, answers, strict=True)):
            run_id = admission.run.run_id
            if isinstance(answer, runs.Admitted):
                check_whole(tx, ledger, answer.run_id, 4)
                assert answer.fresh == (answer.run_id == run_id)
                assert (ledger.find_run(tx, "default", run_id) is not None) == answer.fresh
            elif isinstance(answer, asyncio.CancelledError):
                if ledger.find_run(tx, "default", run_id) is not None:  # unknown, but never half
                    check_whole(tx, ledger, run_id, 4)
            else:
                assert number % 23 == 7, answer
                assert ledger.find_run(tx, "default", run_id) is None
        assert count(tx, "events") == 4 * count(tx, "runs")
        assert count(tx, "attempts") == count(tx, "sends") == count(tx, "decisions") == count(tx, "runs")

    await store.read(check)
    # What was cancelled can be asked for again, and has one answer.
    for admission, answer in zip(offered, answers, strict=True):
        if isinstance(answer, asyncio.CancelledError) and admission.lease is None:
            settled = await ledger.admit(admission)
            await store.read(lambda tx, run_id=settled.run_id: check_whole(tx, ledger, run_id, 4))


async def test_values_and_functions_in_one_commit(store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder) -> None:
    admissions = [builder.admission(key=f"k{number}") for number in range(10)]

    def fails(tx: Tx) -> None:
        ledger.admit_in(tx, builder.admission(key="k-lost"))
        raise KeyError

    answers = await outcomes(
        [
            *(ledger.admit(admission) for admission in admissions[:5]),
            *(store.write(fails) for _ in range(5)),
            *(store.write(lambda tx, one=one: ledger.admit_in(tx, one)) for one in admissions[5:]),
        ]
    )
    assert all(isinstance(answer, KeyError) for answer in answers[5:10])
    assert [answer.fresh for answer in answers if isinstance(answer, runs.Admitted)] == [True] * 10
    assert await store.read(lambda tx: count(tx, "runs")) == 10


async def test_two_processes_one_key(store_url: str, open_store: Callable[[str], sql.SqlStore]) -> None:
    """Two stores on one database are to each other what two processes are."""
    ledgers = [sql.SqlLedger(open_store(store_url)) for _ in range(2)]
    builders = [Builder(), Builder(prefix=1)]
    offers = [
        (ledger, maker.admission(key=f"k{number}"))
        for number in range(30)
        for ledger, maker in zip(ledgers, builders, strict=True)
    ]
    answers = await outcomes(ledger.admit(admission) for ledger, admission in offers)
    admitted = [answer for answer in answers if isinstance(answer, runs.Admitted)]
    assert len(admitted) == 60
    assert sum(answer.fresh for answer in admitted) == 30
    assert len({answer.run_id for answer in admitted}) == 30


@pytest.mark.parametrize("error", [LookupError("encoding"), SystemExit(1)])
async def test_a_lane_outlives_whatever_befalls_its_connection(
    postgres_url: str,
    open_store: Callable[[str], sql.SqlStore],
    builder: Builder,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    store = open_store(postgres_url)

    def fail(_: object) -> None:
        raise error

    async def admit() -> bool | str:
        try:
            return (await asyncio.wait_for(store.admit(builder.admission()), 60)).fresh
        except sql.StoreUnavailable as unavailable:
            return unavailable.code

    with monkeypatch.context() as patch:
        patch.setattr(postgres, "connect_lane", fail)
        assert await outcomes(admit() for _ in range(9)) == ["store_unavailable"] * 9
    assert await outcomes(admit() for _ in range(9)) == [True] * 9
