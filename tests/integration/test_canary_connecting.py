"""What connects an account turns up nowhere: no secret of a client, code, state, link, cookie, verifier or token stands in what
servers and commands say, in pages and their headers, in logs, records and packets, in memory's reprs, or in a file."""

import contextlib
import html
import json
import os
import re
import socket
import traceback
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlencode, urlsplit

import anyio
import pytest

import auth_server as auth
from auth_server import faults, records
from auth_server.talk import said as answer
from fix_canary import Listener, Shown, canaries, files, rendered, reprs
from fix_cli import Shell
from fix_connector import connector
from fix_consent import EMPTY, waiting
from interlock import Interlock, connections, sdk, server
from interlock.kernel import InterlockError, Secret, SystemClock

pytestmark = pytest.mark.faults


@dataclass
class Person:
    """Somebody with a browser, which logs nothing itself. What the pages say is `shown`, but for what they must hand on, which is
    `secret`: the link, the cookie, and on the way to the service the state."""

    shown: Shown
    secret: set[str]
    jar: CookieJar = field(default_factory=CookieJar)

    def ask(self, url: str, form: dict[str, str] | None = None, *, hands_on: bool = False) -> tuple[Any, str]:
        """The headers and the text of one answer."""
        browser = urllib.request.OpenerDirector()  # one that follows no redirects
        for handler in (urllib.request.HTTPHandler(), urllib.request.HTTPCookieProcessor(self.jar)):
            browser.add_handler(handler)
        with browser.open(url, data=None if form is None else urlencode(form).encode()) as got:
            text = got.read().decode()
        self.secret |= {str(each.value) for each in self.jar}
        if not hands_on:
            assert got.headers["referrer-policy"] == "no-referrer"
            self.shown.append(f"{got.status} {got.headers} {text}")
        return got.headers, text

    def leave(self, address: str) -> str:
        """Begin; the address with a code and a state that the service leads back to."""
        self.secret.add(address.rpartition("/")[2])
        self.ask(address)
        _, left = self.ask(address, {}, hands_on=True)
        onward = html.unescape(re.findall(r'url=([^"]*)"', left)[0])
        self.secret.add(parse_qs(urlsplit(onward).query)["state"][0])
        back, _ = Person(self.shown, self.secret).ask(onward, hands_on=True)
        return back["location"]

    def join(self, address: str) -> None:
        """The whole way, pressing everything twice."""
        back = self.leave(address)
        returned, _ = self.ask(back)
        origin = address.partition("/connect/")[0]
        _, question = self.ask(origin + returned["location"])
        self.ask(back)
        proof = re.findall(r'name="proof" value="([^"]*)"', question)[0]
        for _ in range(2):
            _, last = self.ask(origin + returned["location"], {"proof": proof, "answer": "join"})
            assert "is connected" in last


@dataclass
class Stage:
    """A service that is connected by consent, a shell whose settings know it, and all that was said."""

    shell: Shell
    service: auth.AuthServer
    warm: Path
    shown: Shown = field(default_factory=Shown)
    secret: set[str] = field(default_factory=lambda: {str(auth.CLIENT.client_secret)})

    def person(self) -> Person:
        return Person(self.shown, self.secret)

    def command(self, *arguments: str) -> None:
        """What a command says is noted."""
        told = self.shell.run(*arguments, "--json", "--verbose")
        assert told.code == 0, told.out
        self.shown.append(told.out + told.err)

    def invite(self, name: str) -> str:
        """The address for somebody else to connect their account at."""
        arguments = ("connect", "acme", "--profile", "oauth2", "--link", "--name", name)
        told = self.shell.run(*arguments, "--json", "--verbose")
        self.shown.append((told.out + told.err).replace(told.json["url"], ""))
        return told.json["url"]

    def spoil(self, endpoint: str, secret: Callable[[], str]) -> None:
        """The service refuses next time, and repeats a secret as it does so."""
        self.service.fail(
            endpoint,
            faults.Fault(lambda _: answer(400, {"error": "temporarily_unavailable", "error_description": secret()})),
        )

    def newest(self) -> records.Token:
        return self.service.books.tokens[-1]

    def everything_secret(self) -> set[str]:
        heard = [each.form.get("code_verifier", []) for each in self.service.heard]
        return {*self.secret, *self.service.books.issued, *(each for found in heard for each in found)}


@pytest.fixture
def stage(shell: Shell, warm: Path) -> Iterator[Stage]:
    with auth.serving(SystemClock()) as service:
        service.books.clients["client-1"].redirect_uris = ("http://127.0.0.1/oauth/callback",)
        usual: dict[str, Any] = {
            "base_url": service.url,
            "probe": sdk.probe("/me", subject="/login"),
            "revoke": {"exchange": sdk.exchange("/revoke"), "of": "refresh_token", "ends": "grant"},
        }  # fmt: skip
        profiles = [
            sdk.oauth2(authorize_url="/authorize", token_url="/token", issuer=service.url, **usual),
            sdk.device(device_url="/device", token_url="/token", client_auth="basic", **usual),
        ]
        manifest = connector(auth=profiles, operations=[sdk.get("me.fetch", "/me", input=EMPTY, output=EMPTY)])
        (shell.folder / "acme.json").write_text(manifest.manifest.model_dump_json(exclude_defaults=True))
        settings = shell.folder / "interlock.toml"
        settings.write_text(
            settings.read_text()
            + '\n[connectors]\nmanifests = ["acme.json"]\n\n[oauth.acme]\nclient_id = "client-1"\n'
            + 'client_secret_env = "ACME_SECRET"\n'
        )
        shell.let_through("acme.proxy.get")
        shell.environment |= {
            "INTERLOCK_EXECUTION__EGRESS_ALLOW": json.dumps([urlsplit(service.url).netloc]),
            "ACME_SECRET": str(auth.CLIENT.client_secret),
        }
        yield Stage(shell, service, warm)


def test_what_connects_an_account_is_nowhere(stage: Stage, listener: Listener):
    by_serve(stage)
    by_loopback(stage)
    with mock.patch.dict(os.environ, stage.shell.environment), contextlib.chdir(stage.shell.folder):
        anyio.run(inside, stage)
    afterwards(stage)
    secret = stage.everything_secret()
    assert {each.partition("-canary")[0] for each in secret if "-canary" in each} == {"at", "code", "dc", "rt"}
    assert any("octo-agent" in page for page in stage.shown if page.startswith("200 "))
    said = [*stage.shown, *listener.lines, *(path.read_bytes().decode("latin-1") for path in files(stage.shell.folder))]
    assert (len(said) > 500, len(secret) > 20) == (True, True)
    wanted = canaries(secret)
    found = [text for text in said if any(each in text.encode("utf-8", "replace") for each in wanted)]
    for text in found[:3]:
        place = min(text.encode("utf-8", "replace").find(each) % len(text) for each in wanted)
        print(text[:100], "…", text[max(0, place - 300) : place + 60])
    assert len(found) == 0
    assert not any("referer" in heard.headers for heard in stage.service.heard)


def told(error: InterlockError) -> list[str]:
    """What an error says, with its traceback. (Who reads a callback or an answer holds for that moment what stands there.)"""
    return [repr(error), json.dumps(error.to_json()), "".join(traceback.format_exception(error))]


def below(error: InterlockError) -> InterlockError:
    """The error without the frame of this test, which knows the secrets."""
    assert error.__traceback__ is not None
    return error.with_traceback(error.__traceback__.tb_next)


def by_serve(stage: Stage) -> None:
    """By a link, at `interlock serve`: agreed, and refused by a service that repeats the code; strangers come by, too."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    stage.shell.environment["INTERLOCK_CONNECT__URL"] = url
    with stage.shell.start("serve", "--verbose", program=stage.warm / "interlock") as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"{url}\n"
            stage.person().join(stage.invite("theirs"))
            refused = stage.person()
            back = refused.leave(stage.invite("refused"))
            stage.person().ask(back)  # in another browser, and with another state
            refused.ask(back.replace("state=", "state=x"))
            stage.spoil("token authorization_code", lambda: stage.service.books.issued[-1])
            refused.ask(back)
        finally:
            process.terminate()
        stage.shown.extend(process.communicate())


def by_loopback(stage: Stage) -> None:
    """By `interlock connect`, which opens a page of this machine."""
    arguments = ("connect", "acme", "--profile", "oauth2", "--name", "own", "--no-browser", "--json", "--verbose")
    with waiting(stage.shell, *arguments, program=stage.warm / "interlock") as command:
        address = command.told("open")
        stage.person().join(address)
        told = command.end()
    assert told.code == 0
    stage.shown.append((told.out + told.err).replace(address, ""))


async def inside(stage: Stage) -> None:
    """In a program: pages again, a device, a renewal, calls, a lease and the end; the objects themselves are looked at."""
    async with Interlock.open() as il:
        await on_pages(stage, il)
        await on_a_device(stage, il)
        stage.spoil("token refresh_token", lambda: str(stage.newest().refresh_token))
        for _ in range(2):
            stage.shown.append(repr(await il.connections.refresh("device")))
        await used(stage, il)
        stage.shown.extend(reprs(il._parts))


async def on_pages(stage: Stage, il: Interlock) -> None:
    """On pages of this process, whose server's log is heard; and without them, where errors can be looked at."""

    def make(port: int) -> server.ConnectPages:
        return server.ConnectPages(il, origin=f"http://127.0.0.1:{port}")

    installs, person = il.connections.installs, stage.person()
    async with server.serve_pages(make, host="127.0.0.1", port=0) as pages:
        begun = await installs.begin("acme", profile="oauth2", name="pages")
        back = await anyio.to_thread.run_sync(person.leave, pages.address(begun.link))
        stage.shown.extend([repr(begun), *reprs(pages)])
        browser, uri = Secret(next(iter(person.jar)).value or ""), back.partition("?")[0]
        callback = urlsplit(back).query
        for query, shows in ((callback, None), (f"{callback}x&state=", browser), ("code=x", browser)):
            with pytest.raises(InterlockError) as caught:
                await installs.take_callback(query, browser=shows, redirect_uri=uri)
            stage.shown.extend(told(caught.value))
        stage.spoil("token", lambda: stage.service.books.issued[-1])
        with pytest.raises(connections.InstallFailed) as failed:
            await installs.take_callback(callback, browser=browser, redirect_uri=uri)
        stage.shown.extend([*told(failed.value), *reprs(pages)])


async def on_a_device(stage: Stage, il: Interlock) -> None:
    installs = il.connections.installs
    begun = await installs.begin("acme", profile="device", name="device")
    stage.secret.add(begun.link.reveal())
    codes = await installs.start_device(begun.install.install_id)
    stage.shown.extend([repr(begun), repr(codes)])
    stage.service.books.answer_device(codes.user_code, allowed=True)
    proven = await installs.poll_device(begun.install.install_id)
    stage.shown.extend([repr(proven), json.dumps(proven.record()), *reprs(il._parts)])
    stage.shown.append(repr(await installs.complete(proven.install_id)))


async def used(stage: Stage, il: Interlock) -> None:
    """Calls, of which one is answered with the token itself, a lease, and the end of the tokens."""
    token = stage.newest().access_token
    answers = [faults.says(status, {"login": token}, X_Echo=f"Bearer {token}") for status in (200, 403)]
    stage.service.fail("me", *answers)
    for _ in range(3):
        try:
            outcome = await il.proxy("device", "GET", "/me")
            stage.shown.append(repr(outcome))
        except InterlockError as error:
            stage.shown.extend([*told(error), rendered(below(error))])
    lease = await il.connections.leases.request("device", seconds=60)
    (host,) = lease.hosts
    opened = await il.connections.leases.redeem(lease.lease_id, "access_token", host=host)
    assert opened.reveal() == token
    stage.shown.extend([repr(lease), repr(opened)])
    stage.spoil("revoke", lambda: str(stage.newest().refresh_token))
    stage.shown.append(repr(await il.connections.revoke("device")))
    for run in await il.runs.list():
        stage.shown.append((await il.runs.packet(run.run_id)).decode())
        stage.shown.append(repr(await il.runs.history(run.run_id)))
    for each in await il.connections.list(connector="acme"):
        stage.shown.extend(map(repr, await il.connections.events(each.connection_id)))
    stage.shown.extend(map(repr, await il.connections.installs.list()))


def afterwards(stage: Stage) -> None:
    """What commands say of it all."""
    for arguments in (
        ("connections", "list"),
        ("connections", "check", "theirs"),
        ("connections", "refresh", "theirs"),
        ("connections", "show", "theirs"),
        ("proxy", "theirs", "GET", "/me"),
        ("connections", "leases", "theirs"),
        ("connections", "revoke", "theirs"),
        ("connections", "events", "theirs"),
        ("runs", "list"),
        ("doctor",),
    ):
        stage.command(*arguments)
