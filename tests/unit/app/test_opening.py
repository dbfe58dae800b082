"""What opening Interlock promises to the program that uses it."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path

import anyio
import pytest

from fix_connector import connector
from fix_plane import Intents
from interlock import Interlock, app, catalog, connections, plane, sdk, testing
from interlock.adapters import lanes
from interlock.app import late
from interlock.kernel import ConnectionError_, Secret


@pytest.mark.parametrize("background", [True, False])
def test_errors_come_out_as_they_are(*, background: bool):
    async def ask() -> None:
        async with Interlock.open(":memory:", background=background) as il:
            await il.invoke("no.such_thing")

    with pytest.raises(catalog.UnknownCapability):
        anyio.run(ask)


@pytest.mark.parametrize("end", [SystemExit(3), KeyboardInterrupt()])
def test_a_program_may_exit_while_it_is_open(end: BaseException):
    async def leave() -> None:
        async with Interlock.open(":memory:"):
            raise end

    with pytest.raises(type(end)):
        anyio.run(leave)


def test_who_only_reads_owns_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("INTERLOCK_KEY", bytes(range(32)).hex())
    clock, path = testing.ManualClock(), tmp_path / "x.db"  # the clock jumps from renewal to renewal
    owners: set[int] = set()

    async def read() -> None:
        async with Interlock.open(str(path), clock=clock, background=False) as il:
            before = clock.now()
            with closing(sqlite3.connect(path)) as session:
                while clock.now() - before < timedelta(minutes=1):
                    assert await il.runs.list() == []
                    owners.update(session.execute("SELECT count(*) FROM owners").fetchone())

    anyio.run(read)
    assert owners == {0}


def test_what_was_probed_once_is_probed_again_while_it_is_open():
    clock = testing.ManualClock(autojump=False)

    async def use() -> None:
        async with Interlock.open(":memory:", clock=clock) as il:
            node = il._parts.wiring.node

            def place() -> plane.TargetDescriptor:
                return next(each for each in node.describe().targets if each.target_id == plane.LOCAL_PROCESS)

            await anyio.wait_all_tasks_blocked()
            assert place().health is plane.Health.UNAVAILABLE  # nobody has asked for it
            await node.prove(plane.LOCAL_PROCESS)
            first = place().attestation
            clock.advance((first.expires_at - first.attested_at).total_seconds() * 2 / 3 + 1)
            with anyio.fail_after(60):
                while place().attestation.attested_at == first.attested_at:  # noqa: ASYNC110 - a task of Interlock's does it
                    await anyio.sleep(0.001)
            assert place().health is plane.Health.READY

    anyio.run(use)


def test_a_lane_that_was_never_needed_is_closed_all_the_same(intents: Intents):
    async def use() -> None:
        made = partial(
            lanes.HttpLane, credentials=NoCredentials(), egress=lanes.Egress(addresses=plane.AddressPolicy())
        )
        lane = late.LateLane("http", plane.HttpIntent, made)
        await lane.aclose()
        with pytest.raises(plane.LaneFailure) as raised:
            await lane.execute(intents.http(), plane.Exchange(intents.clock))
        assert raised.value.failure.code == "lane_closed"

    anyio.run(use)


class NoCredentials:
    async def redeem(self, ref: plane.SecretRef, *, host: str, tenant_id: str, run_id: str) -> Secret:
        raise ConnectionError_("there are none")


def test_connectors_are_there_for_whoever_asks():
    async def ask() -> None:
        async with Interlock.open(":memory:", background=False) as il:
            assert il.catalog.find_connector("github") is not None
            assert "github" in [each.manifest.connector_id for each in il.discovery.connectors]
        discovery, known = app.read_catalog(il.settings)
        assert known.fetch("github.issue.create").manifest is known.find_connector("github")
        assert discovery.problems == ()

    anyio.run(ask)


def test_events_of_connections_are_told_to_the_end_and_a_callback_that_fails_harms_nothing(
    caplog: pytest.LogCaptureFixture,
):
    told: list[str] = []
    quiet = connector(auth=[sdk.token_profile(scopes=["repo"])]).manifest

    async def notify(event: connections.ConnectionEvent) -> None:
        if event.seq == 2:
            raise RuntimeError("the pager is off")
        await anyio.lowlevel.checkpoint()
        told.append(event.type)

    async def use() -> None:
        async with Interlock.open(":memory:", on_connection_event=notify, connectors=[quiet]) as il:
            for token in ("one-0123456789", "two-0123456789", "three-0123456789"):
                await il.connections.connect_token("acme", token)
            await il.connections.revoke("acme")

    anyio.run(use)
    assert told == ["connected", "replaced", "revoked"]
    assert "the pager is off" in caplog.text
