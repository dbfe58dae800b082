"""Fixtures: the command `interlock` with a service that is connected by consent, and a command that waits for a person."""

import json
import re
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import token_server
from fix_cli import Shell, Told, checked
from fix_connector import connector
from interlock import sdk

EMPTY: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": {}}
SECRETS = {"ACME_SECRET": token_server.CLIENT_SECRET, "ACME_ID": token_server.CLIENT_ID}


@pytest.fixture
def server(running_token_server: token_server.TokenServer) -> token_server.TokenServer:
    running_token_server.begin_anew()
    return running_token_server


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
    manifest = connector(auth=auth, operations=[sdk.get("me.fetch", "/me", input=EMPTY, output=EMPTY)])
    (shell.folder / "acme.json").write_text(manifest.manifest.model_dump_json(exclude_defaults=True))
    settings = shell.folder / "interlock.toml"
    settings.write_text(
        settings.read_text()
        + f'\n[connectors]\nmanifests = ["acme.json"]\n\n[oauth.acme]\nclient_id = "{token_server.CLIENT_ID}"\n'
        + 'client_secret_env = "ACME_SECRET"\n'
    )
    allowed = json.dumps([urlsplit(each).netloc for each in (server.url, shell.service.url)])
    shell.environment |= {"INTERLOCK_EXECUTION__EGRESS_ALLOW": allowed, **SECRETS}
    return shell


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
