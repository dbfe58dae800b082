"""Connections whose secret stays where it is: read when it is needed, kept nowhere, known to whatever takes secrets out."""

import os
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fix_app import STRANGER, TOKEN, Process, World, connector
from fix_parrot import Answer, Heard, Parrot
from interlock import connections, plane, runs, sdk
from interlock.kernel import RequestError

pytestmark = pytest.mark.anyio

SECOND = "ghp_second_canary_0123456789"


@pytest.fixture
async def process(file_world: World, parrot: Parrot, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Process]:
    """A process beside a service that repeats the credential it is shown."""
    monkeypatch.setenv("ACME_TOKEN", TOKEN)

    def say(heard: Heard) -> Answer:
        shown = heard.headers.get("authorization", "")
        if heard.path == "/user":
            return Answer(b'{"login": "octo-agent"}', 200, {"x-oauth-scopes": "repo"})
        if shown != f"Bearer {os.environ['ACME_TOKEN']}":
            return Answer(b'{"message": "Bad credentials"}', 401)
        return Answer(f'{{"number": 1, "title": "{shown}", "state": "open", "user": {{"login": "x"}}}}'.encode(), 201)

    parrot.say = say
    async with file_world.process(execution={"egress_allow": (parrot.host,)}) as process:
        yield process


async def connect(process: Process, parrot: Parrot, source: str = "env:ACME_TOKEN") -> connections.Connection:
    return await process.il.connections.connect_from("acme", source, base_url=parrot.url)


def stored(process: Process) -> bytes:
    """All that is kept, byte by byte."""
    folder = process.parts.settings.folder
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_the_secret_is_read_when_it_is_needed_and_kept_nowhere(
    process: Process, parrot: Parrot, monkeypatch: pytest.MonkeyPatch
):
    made = await connect(process, parrot)
    assert (made.secret_source, made.source, made.management_mode) == (
        connections.SourceKind.ENV,
        {"token": "ACME_TOKEN"},
        connections.ManagementMode.EXTERNAL,
    )
    first = await process.create()
    assert first.state is runs.State.COMPLETED
    monkeypatch.setenv("ACME_TOKEN", SECOND)
    assert (await process.create("Window")).state is runs.State.COMPLETED
    shown = [heard.headers["authorization"] for heard in parrot.heard if heard.method == "POST"]
    assert shown == [f"Bearer {TOKEN}", f"Bearer {SECOND}"]
    for secret in (TOKEN, SECOND):
        assert secret not in f"{first.output}"
        assert secret.encode() not in stored(process)


async def test_a_secret_that_is_gone_stops_a_call_before_it_leaves(
    process: Process, parrot: Parrot, monkeypatch: pytest.MonkeyPatch
):
    await connect(process, parrot)
    monkeypatch.delenv("ACME_TOKEN")
    heard = len(parrot.heard)
    with pytest.raises(connections.SecretUnavailable, match="ACME_TOKEN is empty or not set"):
        await process.create()
    assert len(parrot.heard) == heard


async def test_a_secret_that_was_replaced_after_it_was_read_breaks_nothing(
    process: Process, parrot: Parrot, monkeypatch: pytest.MonkeyPatch
):
    await connect(process, parrot)
    usual = parrot.say

    def say(heard: Heard) -> Answer:
        if heard.method == "POST":
            monkeypatch.setenv("ACME_TOKEN", SECOND)  # just as the request arrives
        return usual(heard)

    parrot.say = say
    assert (await process.create()).state is runs.State.COMPLETED
    assert len((await process.last()).attempts) == 2
    assert (await process.il.connections.fetch("acme")).state is connections.State.CONNECTED


async def test_a_secret_that_is_refused_still_needs_another(
    process: Process, parrot: Parrot, monkeypatch: pytest.MonkeyPatch
):
    await connect(process, parrot)
    usual = parrot.say
    parrot.say = lambda heard: Answer(b"{}", 401)
    with pytest.raises(sdk.AuthFailed):
        await process.create()
    assert (await process.il.connections.fetch("acme")).state is connections.State.REAUTH_REQUIRED
    parrot.say = usual
    assert (await connect(process, parrot)).state is connections.State.CONNECTED


async def test_what_is_sealed_leads_nowhere_else(process: Process, parrot: Parrot, tmp_path: Path):
    """Whoever can write to the store cannot have a program run, or another variable sent."""
    await connect(process, parrot)
    row = "UPDATE connections SET secret_source = 'command', source_json = '{\"token\": \"touch %s\"}'"
    await rewrite(process, row % (tmp_path / "made"))
    assert (await process.create()).state is runs.State.COMPLETED
    assert not (tmp_path / "made").exists()
    await rewrite(process, "UPDATE connections SET secret_source = 'stored'")
    with pytest.raises(plane.EffectFailed, match="holds no secret field 'token'"):
        await process.create("Window")


async def rewrite(process: Process, statement: str) -> None:
    """As somebody who has got at the store's file."""
    path = process.parts.settings.store_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as store, store:
        store.execute(statement)


async def test_a_stored_token_takes_the_place_of_a_source_and_back(process: Process, parrot: Parrot):
    await connect(process, parrot)
    stored = await process.connect(parrot.url)
    assert (stored.secret_source, stored.source) == (connections.SourceKind.STORED, None)
    assert (await process.create()).state is runs.State.COMPLETED
    assert (await connect(process, parrot)).source == {"token": "ACME_TOKEN"}
    assert (await process.create("Window")).state is runs.State.COMPLETED


async def test_a_place_that_holds_the_secret_is_not_kept(process: Process, parrot: Parrot):
    with pytest.raises(connections.InvalidGrant, match="the place of 'token' holds the secret") as caught:
        await connect(process, parrot, f"command:/bin/echo {TOKEN}")
    assert TOKEN not in str(caught.value)
    assert TOKEN.encode() not in stored(process)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("ghp_0123456789", "KIND:PLACE"),
        ("cloud:ghp_0123456789", "KIND one of env, file"),
        ("stored:ghp_0123456789", "KIND one of env, file"),
        ("other=env:ghp_0123456789", "these secret fields"),
        ("env:" + "x" * 1001, "at most 1000"),
    ],
)
async def test_a_source_that_is_none_is_not_repeated(process: Process, parrot: Parrot, source: str, told: str):
    with pytest.raises(RequestError, match=told) as caught:
        await connect(process, parrot, source)
    assert "0123456789" not in str(caught.value)
    assert parrot.heard == []


async def test_what_is_derived_of_sourced_secrets_is_shown(
    file_world: World, parrot: Parrot, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ACME_PASSWORD", "correct-horse-battery")
    file_world.manifest = connector(auth=[sdk.basic(scopes=["repo"], probe=sdk.probe("/user", subject="/login"))])
    parrot.say = lambda heard: Answer(
        b'{"login": "octo-agent", "number": 1, "title": "x", "state": "open", "user": {"login": "x"}}'
    )
    async with file_world.process(execution={"egress_allow": (parrot.host,)}) as process:
        made = await process.il.connections.connect_from(
            "acme", {"password": "env:ACME_PASSWORD"}, params={"username": "ann"}, base_url=parrot.url
        )
        assert made.params == {"username": "ann"}
        await process.create()
        assert b"correct-horse-battery" not in stored(process)
    assert {heard.headers["authorization"] for heard in parrot.heard} == {"Basic YW5uOmNvcnJlY3QtaG9yc2UtYmF0dGVyeQ=="}


async def test_a_secret_is_not_given_where_it_would_be_kept_as_it_is(
    file_world: World, parrot: Parrot, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ACME_KEY", "key-canary-0001")
    monkeypatch.setenv("ACME_TOKEN", TOKEN)
    usual: dict[str, Any] = {"scopes": ["repo"]}
    second, site = sdk.field("second", secret=True), sdk.field("site")
    shown = [sdk.in_header("{api_key}"), sdk.in_header("{second}", name="x-second")]
    two = sdk.api_key("two", fields=[second, site], apply=shown, **usual)
    file_world.manifest = connector(auth=[sdk.token_profile("plain", **usual), two])
    async with file_world.process(execution={"egress_allow": (parrot.host,)}) as process:
        keyed = {"api_key": "env:ACME_KEY"}
        for places, params, told in (
            (keyed, {"second": "pw-canary-0002", "site": "eu"}, "'second' is a secret"),
            ({**keyed, "second": "env:ACME_TOKEN"}, {"site": "key-canary-0001"}, "the field 'site' holds the secret"),
        ):
            with pytest.raises(RequestError, match=told) as caught:
                await process.il.connections.connect_from(
                    "acme", places, params=params, profile="two", base_url=parrot.url
                )
            assert "canary" not in str(caught.value)
        assert b"canary" not in stored(process)


async def test_somebody_that_interlock_acts_for_names_no_place(file_world: World, tmp_path: Path):
    """They would read files and run programs as the operator does: nothing is read and nothing is run."""
    ran = tmp_path / "ran"
    async with file_world.process() as process:
        for caller in (STRANGER, process.il.caller):
            theirs = process.il.as_caller(caller).connections
            for place in (f"command:/usr/bin/touch {ran}", f"file:{tmp_path}/none", "env:HOME"):
                with pytest.raises(RequestError, match="named by whoever opened Interlock"):
                    await theirs.connect_from("acme", place, base_url=file_world.server.url)
    assert not ran.exists()
