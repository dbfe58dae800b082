"""Connecting by profiles that ask for more than a token, and what the service is then shown."""

from pathlib import Path

import pytest

from fix_app import STRANGER, TOKEN, World, connector
from fix_tls import believed, certificate, private_key
from interlock import connections, runs, sdk
from interlock.app.settings import ConnectorSettings
from interlock.kernel import RequestError, Secret

pytestmark = pytest.mark.anyio

PROBE = sdk.probe("/user", subject="/login", scopes_header="x-oauth-scopes")
PARTS = sdk.token_profile(
    "parts",
    template="Bearer {joined}",
    secret_fields=["first"],
    fields=[sdk.field("rest")],
    derive={"joined": "{first}{rest}"},
    scopes=["repo"],
    probe=PROBE,
)


async def test_what_is_derived_of_several_fields_is_what_the_service_sees(world: World):
    world.manifest = connector(auth=[PARTS])
    async with world.process() as process:
        made = await process.connect(world.server.url, token={"first": Secret(TOKEN[:-6]), "rest": TOKEN[-6:]})
        assert made.subject == "octo-agent"
        assert (await process.create()).state is runs.State.COMPLETED
    assert world.server.effects("issues/create") == 1


async def test_a_service_lives_where_the_fields_say(world: World):
    host, _, port = world.host.partition(":")
    here = {**PARTS, "base_url": f"http://{host}:{{port}}", "fields": [*PARTS["fields"], sdk.field("port")]}
    world.manifest = connector(auth=[here])
    given = {"first": Secret(TOKEN[:-6]), "rest": TOKEN[-6:], "port": port}
    async with world.process() as process:
        made = await process.il.connections.connect_token("acme", given)
        assert made.base_url == world.server.url
        assert (await process.create()).state is runs.State.COMPLETED


async def test_what_does_not_fit_the_fields_is_told_before_the_service_is_asked(world: World):
    world.manifest = connector(auth=[PARTS])
    async with world.process() as process:
        with pytest.raises(RequestError, match="parts takes several fields, as a mapping: first, rest"):
            await process.connect(world.server.url)
        with pytest.raises(connections.InvalidGrant, match="the field 'rest' is missing"):
            await process.connect(world.server.url, token={"first": TOKEN})
    assert world.server.requests() == []


async def test_a_program_of_this_machine_says_the_token(world: World, tmp_path: Path):
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    world.manifest = connector(
        auth=[sdk.native_cli(argv=["cat", str(token)], base_url=world.server.url, scopes=["repo"], probe=PROBE)]
    )
    async with world.process() as process:
        with pytest.raises(connections.InstallUnsupported, match="may run no program here"):
            await process.il.connections.installs.connect("acme")
    async with world.process(connectors=ConnectorSettings(programs=("acme",))) as process:
        stranger = process.il.as_caller(STRANGER)
        with pytest.raises(connections.InstallUnsupported):
            await stranger.connections.installs.connect("acme")
        made = await process.il.connections.installs.connect("acme")
        assert (made.subject, made.management_mode) == ("octo-agent", connections.ManagementMode.PROVIDER_NATIVE)
        assert (await process.create()).state is runs.State.COMPLETED
        renewed = await process.il.connections.refresh("acme")
        assert (renewed.state, renewed.refreshed_at) == (connections.State.CONNECTED, world.clock.now())
        token.write_text("ghp_of_mona_0123456789\n")  # somebody else has logged in
        slipped = await process.il.connections.refresh("acme")
        assert (slipped.state, slipped.reason) == (connections.State.DEGRADED, "refresh_connection_subject_mismatch")
        assert slipped.current_credential_id == renewed.current_credential_id
        with pytest.raises(connections.InstallFailed) as caught:
            await process.il.connections.installs.connect("acme")
        assert caught.value.details == {"reason": "subject_mismatch"}
        token.unlink()
        with pytest.raises(connections.InstallFailed) as caught:
            await process.il.connections.installs.connect("acme")
        assert caught.value.details == {"reason": "service_failed"}


async def test_a_certificate_is_shown_under_tls_only(world: World, tmp_path: Path):
    world.manifest = connector(auth=[sdk.mutual_tls(scopes=["repo"], probe=PROBE)])
    pem = certificate(tmp_path, "client.example")
    given = {"certificate": Secret(believed(pem)), "private_key": Secret(private_key(pem))}
    async with world.process() as process:
        with pytest.raises(connections.ProbeFailed, match="cannot be sent: a client certificate needs a URL under TLS"):
            await process.connect(world.server.url, token=given)
    assert world.server.requests() == []
