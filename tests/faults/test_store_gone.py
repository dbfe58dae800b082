"""The store fails under a call, between its intent and its outcome: the effect is there once, and is found again."""

import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from fault_proxy import Proxy
from fix_faults import Case, Child, Report, settle
from interlock import runs
from interlock.adapters import sql

MakeCase = Callable[[], Case]


def under_way(child: Child, case: Case, flow: str = "create") -> None:
    """The call's request has been applied at the service, and its answer is still to come."""
    case.fault("hold")
    child.start(case.order(flow))
    child.go()
    case.server.wait_held()


def finish(child: Child, case: Case) -> Report:
    case.server.release()
    report = child.finish()
    assert report.exit == 0, report
    return report


def found_again(case: Case) -> None:
    """Recovery has found the effect, and it is there once."""
    settled = settle(case)[0]
    assert [each.run.state for each in settled] == [runs.State.COMPLETED]
    assert case.effects() == 1


@pytest.mark.parametrize("room", [0, 4096])
def test_a_disk_that_takes_no_more(child: Child, make_sqlite_case: MakeCase, room: int) -> None:
    case = make_sqlite_case()
    under_way(child, case)
    log = Path(case.url + "-wal")
    size = log.stat().st_size + room
    resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (size, size))
    report = finish(child, case)
    assert report.said.get("error") == "outcome_unsaved", (
        report
    )  # and never the store's own error, which may say "again"
    found_again(case)


def test_connections_that_the_server_ends(child: Child, make_postgres_case: MakeCase) -> None:
    case = make_postgres_case()
    under_way(child, case)
    with psycopg.connect(case.url, autocommit=True) as session:
        session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    report = finish(child, case)
    assert report.said["came_to"]["state"] == "completed", report
    found_again(case)


def test_a_database_that_is_gone_for_a_while(child: Child, make_postgres_case: MakeCase) -> None:
    case = make_postgres_case()
    assert case.proxy is not None
    under_way(child, case)
    case.proxy.refusing = True
    case.proxy.cut()
    report = finish(child, case)
    assert report.said.get("error") == "outcome_unsaved", report
    case.proxy.refusing = False
    found_again(case)


@pytest.mark.parametrize("flow", ["create", "approved"])
def test_a_connection_that_breaks_at_every_commit(child: Child, make_postgres_case: MakeCase, flow: str) -> None:
    """Before: it was not written. After: it was, and nobody heard of it."""
    dry = make_postgres_case()
    assert dry.proxy is not None
    child.start(dry.order(flow))
    dry.proxy.arm()
    child.go()
    child.finish()
    cases: dict[str, tuple[Case, Report]] = {}
    for number in range(1, len(dry.proxy.seen) + 1):
        for when in ("before", "after"):
            case = make_postgres_case()
            assert case.proxy is not None
            child.start(case.order(flow))
            case.proxy.arm(when, number, lambda: False)
            child.go()
            cases[f"{when} commit {number}"] = (case, child.finish())
    for (name, (case, report)), settled in zip(
        cases.items(), settle(*(case for case, _ in cases.values())), strict=True
    ):
        states = [each.run.state.value for each in settled]
        assert report.exit == 0, (name, report)
        assert (states, case.effects()) in (([], 0), (["held"], 0), (["completed"], 1)), (name, states, report)
        if "came_to" in report.said:
            assert states == ["completed"], (name, report)


def test_an_admission_whose_answer_is_lost_for_good(child: Child, make_postgres_case: MakeCase) -> None:
    """The caller must not take it for a call that was not made: recovery carries it out."""
    dry = make_postgres_case()
    assert dry.proxy is not None
    child.start(dry.order("create"))
    dry.proxy.arm()
    child.go()
    child.finish()
    number = dry.proxy.seen.index("admit run") + 1
    for when, states in (("before", list[str]()), ("after", ["completed"])):
        case = make_postgres_case()
        proxy = case.proxy
        assert proxy is not None
        child.start(case.order("create"))

        def go_away(proxy: Proxy = proxy) -> bool:
            proxy.refusing = True
            proxy.cut()
            return False

        proxy.arm(when, number, go_away)
        child.go()
        report = child.finish()
        proxy.refusing = False
        found = [each.run.state.value for each in settle(case)[0]]
        assert (found, case.effects()) == (states, len(states)), (when, report)
        assert report.said["error"] == "outcome_unsaved", report  # nobody can tell the two apart from here


@pytest.mark.parametrize("loss", ["removed", "replaced", "damaged"])
def test_a_store_file_that_is_lost_while_it_is_open(
    child: Child, make_sqlite_case: MakeCase, tmp_path: Path, loss: str
) -> None:
    """The effect can no longer be recorded where others would look for it: the caller hears of that."""
    case = make_sqlite_case()
    under_way(child, case)
    path = Path(case.url)
    if loss == "removed":
        for file in tmp_path.glob(path.name + "*"):
            file.unlink()
    elif loss == "replaced":
        shutil.copy(path, tmp_path / "other")
        os.replace(tmp_path / "other", path)
    else:
        with path.open("r+b") as file:
            file.write(b"\xff" * path.stat().st_size)
        Path(case.url + "-wal").write_bytes(b"")
    report = finish(child, case)
    assert report.said.get("error") == "outcome_unsaved", report
    if loss != "replaced":
        with pytest.raises((sql.StoreMissing, sql.StoreDamaged, sql.ForeignFile)):
            sql.open_store(case.url)
