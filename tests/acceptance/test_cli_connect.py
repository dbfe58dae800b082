"""`interlock connect` without a token: by a page of this machine, by a code on another device, and by a program alone."""

import json
import os
import signal
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

import token_server
from fix_cli import COMMAND, Shell, Told
from fix_consent import Waiting, agree, person, waiting


def test_a_person_agrees_in_the_browser(acme: Shell, server: token_server.TokenServer, warm: Path):
    with waiting(
        acme, "connect", "acme", "--name", "work", "--no-browser", "--json", program=warm / "interlock"
    ) as command:
        last = agree(server, command.told("open"))
        assert "is connected" in last.text
        made = command.end()
    assert made.code == 0, made.err
    assert (made.json["name"], made.json["subject"], made.json["state"]) == ("work", "octo", "connected")
    assert made.json["management_mode"] == "hosted"
    assert "canary" not in made.out + made.err
    assert token_server.CLIENT_SECRET not in made.out + made.err


def test_a_person_who_says_no_connects_nothing(acme: Shell, server: token_server.TokenServer, warm: Path):
    with waiting(acme, "connect", "acme", "--no-browser", "--json", program=warm / "interlock") as command:
        last = agree(server, command.told("open"), answer="cancel")
        assert "Nothing was connected" in last.text
        told = command.end()
    assert (told.code, told.error["code"], told.error["details"]["reason"]) == (1, "install_failed", "cancelled")
    assert [each["name"] for each in acme.good("connections", "list")["connections"]] == ["github"]


def test_a_service_that_says_no_ends_the_command(acme: Shell, server: token_server.TokenServer, warm: Path):
    server.denies = "access_denied"
    with waiting(acme, "connect", "acme", "--no-browser", "--json", program=warm / "interlock") as command:
        last = agree(server, command.told("open"))
        assert (last.status_code, "access was denied" in last.text, "own words" in last.text) == (400, True, False)
        told = command.end()
    assert told.error["details"]["reason"] == "access_denied"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.faults
def test_a_command_that_is_interrupted_takes_its_link_along(acme: Shell, number: signal.Signals):
    with waiting(acme, "connect", "acme", "--no-browser", program=COMMAND) as command:
        address = command.told("open")
        command.process.send_signal(number)
        assert command.end().code == 128 + number
    with closing(sqlite3.connect(acme.store)) as store:
        assert store.execute("select state from installs").fetchall() == [("cancelled",)]
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(address, verify=False)


@pytest.mark.faults
def test_a_command_that_is_interrupted_while_it_waits_for_a_device_ends_the_install(
    acme: Shell, server: token_server.TokenServer
):
    with waiting(acme, "connect", "acme", "--device", "--no-browser", program=COMMAND) as command:
        command.told("open")
        command.process.send_signal(signal.SIGINT)
        assert command.end().code == 130
    with closing(sqlite3.connect(acme.store)) as store:
        assert store.execute("select state, reason from installs").fetchall() == [("cancelled", "cancelled")]


@pytest.mark.faults
def test_whatever_becomes_of_connecting_again_the_connection_serves_until_it_is_replaced(
    acme: Shell, server: token_server.TokenServer, warm: Path
):
    made = acme.good("connect", "acme", "--profile", "client_credentials", "--secret-env", "client_id=ACME_ID",
                     "--secret-env", "client_secret=ACME_SECRET")  # fmt: skip

    def serves() -> bool:
        shown = acme.good("connections", "show", "acme")
        return shown["revision"] == made["revision"] and acme.run("invoke", "acme.me.fetch").code == 0

    def again(ends: Callable[[Waiting], object], *, program: Path = warm / "interlock") -> Told:
        with waiting(acme, "connect", "acme", "--no-browser", "--json", program=program) as command:
            ends(command)
            told = command.end()
        server.denies, server.subject = None, "octo"
        return told

    def comes_back(command: Waiting) -> None:
        agree(server, command.told("open"))

    def gives_up(command: Waiting) -> None:
        link = command.told("open")
        server.redirect_uri = link.partition("/connect/")[0] + "/oauth/callback"
        with person() as somebody:
            assert "octo" in somebody.come_back(somebody.leave(link)).text  # proven, and not yet joined
        assert serves()
        command.process.send_signal(signal.SIGINT)

    assert again(gives_up, program=COMMAND).code == 130
    assert serves()
    server.denies = "access_denied"
    assert again(comes_back).error["details"]["reason"] == "access_denied"
    server.subject = "mallory"
    assert again(comes_back).error["details"]["reason"] == "subject_mismatch"
    assert serves()
    replaced = again(comes_back).json
    assert (replaced["connection_id"], replaced["management_mode"]) == (made["connection_id"], "hosted")
    assert replaced["current_credential_id"] != made["current_credential_id"]


def test_a_device_that_nobody_uses_is_told_in_a_sentence(acme: Shell, server: token_server.TokenServer, warm: Path):
    server.interval, server.refusal = 1, (400, b'{"error": "expired_token"}')
    with waiting(acme, "connect", "acme", "--device", "--no-browser", "--json", program=warm / "interlock") as command:
        told = command.end()
    assert (told.code, told.error["message"]) == (1, "acme was not connected: nobody typed the code in time")
    assert told.error["details"]["reason"] == "expired_token"


def test_the_browser_of_the_person_is_opened(acme: Shell, server: token_server.TokenServer, warm: Path, tmp_path: Path):
    opened = tmp_path / "opened"
    os.mkfifo(opened)
    program = tmp_path / "browser"
    program.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    program.chmod(0o755)
    acme.environment["BROWSER"] = f"{program} %s"
    with waiting(acme, "connect", "acme", "--json", program=warm / "interlock") as command:
        assert opened.read_text().strip() == command.told("open")
        agree(server, command.told("open"))
        assert command.end().code == 0


@pytest.mark.faults
def test_somebody_else_connects_by_a_link(acme: Shell, server: token_server.TokenServer, warm: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    acme.environment["INTERLOCK_CONNECT__URL"] = url
    invited = acme.good("connect", "acme", "--link", "--name", "theirs")
    assert invited["url"].startswith(f"{url}/connect/")
    with acme.start("serve", "--json", program=warm / "interlock") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"url": url}
        assert httpx2.get(f"{url}/healthz", verify=False).status_code == 204
        token = acme.good("tokens", "create", "ops", "--role", "operator")["token"]
        there = {"INTERLOCK_SERVER": url, "INTERLOCK_TOKEN": token}
        far = acme.good("connect", "acme", "--link", "--name", "far", environment=there)
        assert far.keys() == invited.keys()
        for each in (invited, far):
            assert "is connected" in agree(server, each["url"]).text
        process.terminate()
        out, err = process.communicate()
        assert (process.returncode, out, err) == (0, "", "")
    assert [acme.good("connections", "show", name)["subject"] for name in ("theirs", "far")] == ["octo", "octo"]


def test_a_server_behind_a_proxy_is_told_where_to_listen(acme: Shell):
    told = acme.run("serve", "--json", environment={"INTERLOCK_CONNECT__URL": "https://connect.example"})
    assert (told.code, "--bind" in told.error["message"]) == (2, True)


@pytest.mark.parametrize(
    "url", ["http://connect.example", "https://connect.example/", "https://a@connect.example", "connect"]
)
def test_an_address_for_people_is_safe_and_has_no_path(acme: Shell, url: str):
    told = acme.run("serve", "--json", environment={"INTERLOCK_CONNECT__URL": url})
    assert (told.code, told.error["code"]) == (2, "invalid_settings")


def test_a_code_is_typed_on_another_device(acme: Shell, server: token_server.TokenServer, warm: Path):
    server.interval = 1
    with waiting(acme, "connect", "acme", "--device", "--no-browser", "--json", program=warm / "interlock") as command:
        assert command.told("code") == "WDJB-MJHT"
        assert command.told("open") == f"{server.url}/go"
        server.typed = True
        made = command.end()
    assert (made.code, made.json["subject"], made.json["profile_id"]) == (0, "octo", "device")


def test_who_has_not_given_all_is_told_how(acme: Shell):
    told = acme.run("connect", "acme", "--profile", "client_credentials", "--json")
    assert told.error["message"].endswith(
        "the field 'client_id' is missing; the secret field 'client_secret' is missing"
    )
    line = "interlock connect acme --profile client_credentials --field client_id=VALUE --secret-env client_secret=VARIABLE"
    assert line in told.error["next_step"]
    assert line in acme.run("connectors", "show", "acme").out


def test_a_service_that_does_not_know_us_is_not_asked(acme: Shell):
    settings = acme.folder / "interlock.toml"
    settings.write_text(settings.read_text().partition("[oauth.acme]")[0])
    for more in ((), ("--device",), ("--link",)):
        told = acme.run(
            "connect", "acme", "--profile", "device" if more == ("--device",) else "oauth2", *more, "--json"
        )
        assert (told.code, told.error["code"]) == (2, "oauth_client_missing")
        assert "there is no [oauth.acme] in the settings" in told.error["message"]


def test_a_client_whose_secret_is_not_there_leads_nobody_to_the_service(acme: Shell):
    del acme.environment["ACME_SECRET"]
    for more in (("--profile", "oauth2", "--no-browser"), ("--device", "--no-browser")):
        told = acme.run("connect", "acme", *more, "--json")
        assert (told.code, told.error["code"]) == (2, "client_secret_missing")
    assert acme.good("connections", "list")["connections"][0]["name"] == "github"


def test_who_invites_needs_no_secret(acme: Shell):
    """`interlock serve` has it."""
    del acme.environment["ACME_SECRET"]
    assert "/connect/" in acme.good("connect", "acme", "--link")["url"]


def test_a_program_needs_nobody(acme: Shell):
    made = acme.good(
        "connect", "acme", "--profile", "client_credentials",
        "--secret-env", "client_id=ACME_ID", "--secret-env", "client_secret=ACME_SECRET",
    )  # fmt: skip
    assert (made["subject"], made["management_mode"]) == ("octo", "manual")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("github",), "--token-env NAME or --token-file FILE"),
        (("github", "--device"), "--token-env NAME or --token-file FILE"),
        (("acme", "--profile", "nothing"), "oauth2 (browser), device (device), client_credentials (automatic)"),
        (("acme", "--profile", "oauth2", "--device"), "name one auth profile of acme"),
        (("acme", "--link", "--device"), "a link leads to a browser"),
        (("acme", "--field", "x"), "--field NAME=VALUE"),
        (("acme", "--secret-env", "=X"), "--secret-env NAME=VARIABLE"),
        (("acme", "--secret-env", "a=NOT_SET"), "empty or not set"),
        (("acme", "--expires-at", "2027-01-31"), "--expires-at goes with a token"),
        (("github", "--token-env", "TOKEN", "--device"), "a token goes without"),
    ],
)
def test_a_wrong_command_line_begins_nothing(acme: Shell, arguments: tuple[str, ...], words: str):
    told = acme.run("connect", *arguments, "--json")
    assert told.code == 2
    assert words in told.error["message"]
