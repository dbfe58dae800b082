"""Every source of secrets does the same: it gives what is in its place now, and says what is wrong without showing it.

The system's keyring, Vault and AWS are stand-ins: a backend of the keyring library in memory, a server that answers as Vault's
API is documented, and `moto`, which others wrote for AWS.
"""

import json
import sys
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keyring
import pytest
from botocore import session
from keyring.backend import KeyringBackend

from fix_app import Process, World
from fix_parrot import Answer, Heard, Parrot
from interlock import connections
from interlock.connections import SourceKind, sources

pytestmark = pytest.mark.anyio

SECRET = "canary-secret-0123456789+/="
VAULT_TOKEN = "hvs.canary-0123456789"


class InMemory(KeyringBackend):
    """A keyring that is gone with the test."""

    priority = 1  # pyright: ignore[reportAssignmentType]

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.held[service, username] = password


class Aws:
    """Secrets Manager, played by moto, with one secret."""

    def __init__(self, url: str, patch: pytest.MonkeyPatch) -> None:
        patch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", url)
        patch.setenv("AWS_REGION", "eu-central-1")
        patch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        self._client: Any = session.get_session().create_client("secretsmanager")
        self._delete()

    def put(self, held: Mapping[str, str] | str | None) -> str:
        """Hold that, as JSON unless it is a text, in the place of what is held; its ARN."""
        self._delete()
        if held is None:
            return ""
        text = held if isinstance(held, str) else json.dumps(held)
        return self._client.create_secret(Name="team/acme", SecretString=text)["ARN"]

    def _delete(self) -> None:
        self._client.delete_secret(SecretId="team/acme", ForceDeleteWithoutRecovery=True)


@dataclass
class Place:
    """A place of one kind, where a test puts secrets; `text` is how it is called."""

    kind: SourceKind
    process: Process
    folder: Path
    parrot: Parrot
    patch: pytest.MonkeyPatch
    backend: InMemory = field(default_factory=InMemory)
    aws: Aws | None = None

    @property
    def text(self) -> str:
        texts = {
            SourceKind.ENV: "CANARY_TOKEN",
            SourceKind.FILE: str(self.folder / "token"),
            SourceKind.COMMAND: f"'{sys.executable}' -c 'print(open(\"{self.folder / 'token'}\").read())'",
            SourceKind.KEYRING: "acme/agent/octo",
            SourceKind.VAULT: "secret/team/acme token#api key",
            SourceKind.AWS: "team/acme#api key",
        }
        return texts[self.kind]

    def put(self, secret: str | None) -> None:
        """Put a secret there; None takes it away."""
        path = self.folder / "token"
        path.unlink(missing_ok=True)
        self.patch.delenv("CANARY_TOKEN", raising=False)
        self.backend.held.clear()
        if secret is not None:
            path.touch(mode=0o600)
            path.write_text(f"{secret}\n")
            self.patch.setenv("CANARY_TOKEN", secret)
            self.backend.set_password("acme/agent", "octo", secret)

        def vault(heard: Heard) -> Answer:
            if heard.headers.get("x-vault-token") != VAULT_TOKEN:
                return Answer(b'{"errors": ["permission denied"]}', 403)
            if heard.path != "/v1/secret/data/team/acme%20token" or heard.method != "GET" or secret is None:
                return Answer(b'{"errors": []}', 404)
            held = {"data": {"data": {"api key": secret, "other": SECRET}, "metadata": {"version": 1}}}
            return Answer(json.dumps(held).encode())

        self.parrot.say = vault
        if self.aws is not None:
            self.aws.put({"api key": secret} if secret else None)

    async def fetch(self, text: str | None = None) -> str:
        sourcing = sources.Sourcing(kind=self.kind, places={"token": self.text if text is None else text})
        read = await self.process.parts.wiring.connections.sources.read(sourcing, tenant_id="default")
        return read["token"].reveal()

    async def refused(self, text: str | None = None) -> str:
        with pytest.raises((connections.SecretUnavailable, connections.SecretExposed)) as caught:
            await self.fetch(text)
        error = caught.value
        assert SECRET not in f"{error.message} {error.next_step} {error.details}"
        assert error.next_step
        return error.message


@pytest.fixture(params=[each for each in SourceKind if each is not SourceKind.STORED])
async def place(
    request: pytest.FixtureRequest,
    file_world: World,
    tmp_path: Path,
    parrot: Parrot,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncGenerator[Place]:
    monkeypatch.setenv("VAULT_ADDR", parrot.url)
    monkeypatch.setenv("VAULT_TOKEN", VAULT_TOKEN)
    async with file_world.process(execution={"egress_allow": (parrot.host,)}) as process:
        made = Place(request.param, process, tmp_path, parrot, monkeypatch)
        if request.param is SourceKind.AWS:
            made.aws = Aws(request.getfixturevalue("moto_url"), monkeypatch)
        before = keyring.get_keyring()
        keyring.set_keyring(made.backend)
        yield made
        keyring.set_keyring(before)


async def test_a_secret_is_what_is_there_now(place: Place):
    place.put(SECRET)
    assert await place.fetch() == SECRET
    place.put("another-0123456789")
    assert await place.fetch() == "another-0123456789"


@pytest.mark.parametrize("held", [None, "", "   ", "short", "x" * 20_000])
async def test_what_is_no_secret_is_told(place: Place, held: str | None):
    place.put(held)
    await place.refused()


async def test_a_place_that_is_none_is_not_repeated(place: Place):
    place.put(SECRET)
    if place.kind is not SourceKind.COMMAND:  # whose words may be anything
        await place.refused(f"{SECRET} {SECRET}")
    assert "follows" in await place.refused("'" if place.kind is SourceKind.COMMAND else " ")


def only(kind: SourceKind) -> pytest.MarkDecorator:
    """For places of that kind."""
    return pytest.mark.parametrize("place", [kind], indirect=True)


@only(SourceKind.FILE)
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
async def test_a_file_that_others_can_get_at_is_refused(place: Place, mode: int):
    place.put(SECRET)
    (place.folder / "token").chmod(mode)
    with pytest.raises(connections.SecretExposed, match=f"mode {mode:04o}") as caught:
        await place.fetch()
    assert "chmod 600" in str(caught.value.next_step)
    assert "not a regular file" in await place.refused(str(place.folder))


@only(SourceKind.COMMAND)
async def test_a_program_gets_words_and_no_shell(place: Place, monkeypatch: pytest.MonkeyPatch):
    place.put(SECRET)
    monkeypatch.setenv("UNLISTED", SECRET)
    program = "import os, sys; print(*sys.argv[1:], sorted({'HOME', 'UNLISTED'} & set(os.environ)))"
    found = await place.fetch(f"'{sys.executable}' -c \"{program}\" \"$HOME; echo `x`\" 'two words'")
    assert found == "$HOME; echo `x` two words ['HOME']"


@only(SourceKind.COMMAND)
async def test_a_program_that_fails_is_no_secret(place: Place):
    place.put(SECRET)
    program = f"import sys; print('{SECRET}'); print('{SECRET}', file=sys.stderr); sys.exit(3)"
    assert "gave no secret" in await place.refused(
        f"'{sys.executable}' -c \"{program}\"".replace(SECRET, "ca" + SECRET[2:])
    )
    assert "gave no secret" in await place.refused("no-such-program-0123456789")


@only(SourceKind.VAULT)
@pytest.mark.parametrize("status", [403, 404, 500, 503])
async def test_vault_may_refuse(place: Place, status: int):
    place.put(SECRET)
    place.parrot.say = lambda heard: Answer(f'{{"errors": ["{SECRET}"]}}'.encode(), status)
    await place.refused()


@only(SourceKind.VAULT)
@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"data": {"data": {"api key": {"a": 1}}}}', b'{"data": null}'])
async def test_vault_may_answer_with_something_else(place: Place, body: bytes):
    place.put(SECRET)
    place.parrot.say = lambda heard: Answer(body)
    await place.refused()


@only(SourceKind.VAULT)
async def test_vaults_token_may_be_in_its_own_file(place: Place, monkeypatch: pytest.MonkeyPatch):
    place.put(SECRET)
    monkeypatch.delenv("VAULT_TOKEN")
    monkeypatch.setenv("HOME", str(place.folder))
    assert "there is no token for Vault" in await place.refused()
    token = place.folder / ".vault-token"
    token.touch(mode=0o600)
    token.write_text(VAULT_TOKEN)
    monkeypatch.setenv("VAULT_NAMESPACE", "team/one")
    assert await place.fetch() == SECRET
    assert place.parrot.heard[-1].headers["x-vault-namespace"] == "team/one"
    monkeypatch.setenv("VAULT_ADDR", "not an address")
    assert "VAULT_ADDR" in await place.refused()


@only(SourceKind.AWS)
async def test_aws_is_asked_by_name_or_arn_for_all_or_a_member(place: Place, monkeypatch: pytest.MonkeyPatch):
    assert place.aws is not None
    arn = place.aws.put(SECRET)
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert await place.fetch(arn) == SECRET
    assert "NoRegionError" in await place.refused("team/acme")
    assert "not JSON" in await place.refused(f"{arn}#x")
    assert "no text in the field" in await place.refused(f"{place.aws.put({'other': SECRET})}#x")
    assert "ResourceNotFoundException" in await place.refused(arn.replace("team", "nobody"))


@only(SourceKind.AWS)
async def test_aws_cannot_be_asked_without_credentials(place: Place, monkeypatch: pytest.MonkeyPatch):
    place.put(SECRET)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "NoCredentialsError" in await place.refused()
