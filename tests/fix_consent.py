"""Fixtures: the command `interlock` with a service that is connected by consent, and a command that waits for a person."""

import html
import json
import re
import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

import token_server
from fix_cli import Shell, Told, checked
from fix_connector import connector
from interlock import sdk

EMPTY: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": {}}
SECRETS = {"ACME_SECRET": token_server.CLIENT_SECRET, "ACME_ID": token_server.CLIENT_ID}
CLIENT = f"""
[oauth.acme]
client_id = "{token_server.CLIENT_ID}"
client_secret_env = "ACME_SECRET"
"""


@pytest.fixture
def server(running_token_server: token_server.TokenServer) -> token_server.TokenServer:
    running_token_server.begin_anew()
    return running_token_server


def declare(shell: Shell, url: str, auth: Sequence[sdk.Draft], *, client: str) -> Shell:
    """The shell with a connector `acme`, whose service is there, and with our client of it."""
    manifest = connector(auth=auth, operations=[sdk.get("me.fetch", "/me", input=EMPTY, output=EMPTY)])
    (shell.folder / "acme.json").write_text(manifest.manifest.model_dump_json(exclude_defaults=True))
    settings = shell.folder / "interlock.toml"
    settings.write_text(f'{settings.read_text()}\n[connectors]\nmanifests = ["acme.json"]\n{client}')
    allowed = json.dumps([urlsplit(each).netloc for each in (url, shell.service.url)])
    shell.environment |= {"INTERLOCK_EXECUTION__EGRESS_ALLOW": allowed, **SECRETS}
    return shell


@pytest.fixture
def acme(shell: Shell, server: token_server.TokenServer) -> Shell:
    """A shell with a connector `acme` of three profiles, whose service is the token server."""
    probe = sdk.probe("/me", subject="/login")
    auth = [
        sdk.oauth2(authorize_url="/authorize", token_url="/token", issuer=server.url, base_url=server.url, probe=probe,
                   scopes=["read", "write"]),
        sdk.device(device_url="/device", token_url="/token", base_url=server.url, probe=probe),
        sdk.client_credentials(token_url="/token", base_url=server.url, probe=probe),
    ]  # fmt: skip
    return declare(shell, server.url, auth, client=CLIENT)


class Person:
    """Somebody before a browser of their own."""

    def __init__(self) -> None:
        self.browser = httpx2.Client(verify=False)

    def leave(self, link: str) -> str:
        """Open our page, go on to the service and agree there; the address to which it sends the browser back."""
        assert self.browser.get(link).status_code == 200
        left = self.browser.post(link)
        assert left.status_code == 200, left.text
        onward = re.search(r'url=([^"]*)"', left.text)
        assert onward is not None
        return self.browser.get(html.unescape(onward[1])).headers["location"]

    def come_back(self, location: str) -> httpx2.Response:
        return self.browser.get(location, follow_redirects=True)

    def answer(self, asked: httpx2.Response, answer: str = "join") -> httpx2.Response:
        """Answer the question whether the account is right."""
        proof = re.search(r'name="proof" value="([^"]*)"', asked.text)
        assert proof is not None, asked.text
        return self.browser.post(asked.url, data={"proof": proof[1], "answer": answer})


@contextmanager
def person() -> Generator[Person]:
    made = Person()
    with made.browser:
        yield made


def agree(server: token_server.TokenServer, address: str, answer: str = "join") -> httpx2.Response:
    """All that a person does, if the service agrees, too; the last page."""
    server.redirect_uri = address.partition("/connect/")[0] + "/oauth/callback"
    with person() as somebody:
        back = somebody.come_back(somebody.leave(address))
        if back.status_code != 200:
            return back
        assert server.subject in back.text
        return somebody.answer(back, answer)


class Waiting:
    """A command that waits for a person, and says on stderr for what."""

    def __init__(self, process: subprocess.Popen[str], arguments: tuple[str, ...]) -> None:
        self.process = process
        self._arguments = arguments
        self._heard = ""

    def told(self, label: str) -> str:
        assert self.process.stderr is not None
        while not (found := re.search(rf"^{label}: (.*)\n", self._heard, re.MULTILINE)):
            line = self.process.stderr.readline()
            assert line, self._heard
            self._heard += line
        return found[1]

    def end(self) -> Told:
        out, err = self.process.communicate()
        return checked(Told(self.process.returncode, out, self._heard + err), self._arguments)


@contextmanager
def waiting(shell: Shell, *arguments: str, program: Path) -> Generator[Waiting]:
    with shell.start(*arguments, program=program) as process:
        try:
            yield Waiting(process, arguments)
        finally:
            process.kill()
