"""`interlock connect` by the profiles that a browser carries and that are more than a code: an MCP server's, a GitHub App's."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

import auth_server as auth
from fix_cli import Shell, Told
from fix_consent import declare, person, waiting
from interlock import kernel, sdk

APP_SECRET = "app-secret-canary"


@pytest.fixture(scope="module")
def listening() -> Iterator[auth.AuthServer]:
    with auth.serving(kernel.SystemClock()) as running:
        yield running


@pytest.fixture
def other(listening: auth.AuthServer) -> auth.AuthServer:
    listening.begin_anew()
    return listening


def joined(shell: Shell, other: auth.AuthServer, warm: Path, *arguments: str) -> Told:
    """The whole way, by somebody who agrees everywhere."""
    with waiting(shell, "connect", "acme", *arguments, "--no-browser", "--json", program=warm / "interlock") as command:
        link = command.told("open")
        other.books.app_callback = link.partition("/connect/")[0] + "/oauth/callback"
        with person() as somebody:
            last = somebody.answer(somebody.come_back(somebody.leave(link)))
        assert "is connected" in last.text
        made = command.end()
    assert made.code == 0, made.err
    assert not [each for each in other.books.issued if each in made.out + made.err]
    return made


def test_an_mcp_server_needs_nothing_but_its_address(shell: Shell, other: auth.AuthServer, warm: Path):
    draft = sdk.mcp_oauth(resource="/mcp", base_url=other.url, probe=sdk.probe("/mcp", subject="/login"))
    declare(shell, other.url, [draft], client="")
    made = joined(shell, other, warm).json
    assert (made["subject"], made["state"], made["scopes"]) == (auth.PERSON, "connected", ["read", "write"])
    assert shell.good("connections", "refresh", "acme")["state"] == "connected"
    assert other.calls["register"] == 1


def test_an_operators_client_of_an_mcp_server_is_for_the_server_that_is_confirmed(
    shell: Shell, other: auth.AuthServer, warm: Path
):
    draft = sdk.mcp_oauth(resource="/mcp", base_url=other.url, probe=sdk.probe("/mcp", subject="/login"))
    client = f'\n[oauth.acme]\nclient_id = "{auth.CLIENT.client_id}"\nclient_secret_env = "OUR_SECRET"\n'
    declare(shell, other.url, [draft], client=client)
    shell.environment["OUR_SECRET"] = str(auth.CLIENT.client_secret)
    other.books.clients[auth.CLIENT.client_id].redirect_uris = ("http://127.0.0.1/oauth/callback",)
    with waiting(shell, "connect", "acme", "--no-browser", "--json", program=warm / "interlock") as command:
        with person() as somebody:
            last = somebody.browser.post(command.told("open"))
        assert (last.status_code, "that our client is not known to be registered at" in last.text) == (400, True)
        told = command.end()
    assert (told.code, told.error["details"]) == (1, {"reason": "unconfirmed_issuer", "issuer": other.url})
    with (shell.folder / "interlock.toml").open("a") as settings:
        settings.write(f'issuer = "{other.url}"\n')
    assert joined(shell, other, warm).json["subject"] == auth.PERSON


def test_an_app_is_installed_in_the_browser(shell: Shell, other: auth.AuthServer, warm: Path):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (shell.folder / "app.pem").write_bytes(private)
    (shell.folder / "app.pem").chmod(0o600)
    other.books.app_key = public
    other.books.clients[auth.APP_ID] = auth.Client(auth.APP_ID, APP_SECRET)
    draft = sdk.github_app(
        install_url="/apps/acme/installations/new",
        user_token_url="/login/oauth/access_token",
        base_url=other.url,
        probe=sdk.probe("/me", subject="/login"),
    )
    client = (
        f'\n[oauth.acme]\nclient_id = "{auth.APP_ID}"\nclient_secret_env = "APP_SECRET"\nprivate_key_file = "app.pem"\n'
    )
    declare(shell, other.url, [draft], client=client)
    shell.environment["APP_SECRET"] = APP_SECRET
    made = joined(shell, other, warm).json
    assert (made["subject"], made["params"]) == (f"app-{auth.APP_ID}", {"installation_id": auth.INSTALLATION})


def test_a_token_goes_to_the_profile_that_is_named(shell: Shell, other: auth.AuthServer):
    keys = [sdk.api_key(base_url=other.url), sdk.api_key("in_query", query="key", base_url=other.url)]
    declare(shell, other.url, keys, client="")
    for profile, told in (("api_key", ()), ("in_query", ("--profile", "in_query"))):
        made = shell.good("connect", "acme", *told, "--token-env", "ACME_SECRET", "--name", profile)
        assert made["profile_id"] == profile
