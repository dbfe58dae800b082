"""`interlock connections check` and `refresh`, against a service that renews and refuses."""

import sqlite3
from contextlib import closing

import token_server
from fix_cli import Shell

AUTOMATIC = (
    "connect", "acme", "--profile", "client_credentials",
    "--secret-env", "client_id=ACME_ID", "--secret-env", "client_secret=ACME_SECRET",
)  # fmt: skip


def test_connections_are_checked_one_or_all(acme: Shell, server: token_server.TokenServer):
    acme.good(*AUTOMATIC, "--name", "work")
    checked = acme.good("connections", "check", "work")["checks"]
    assert [(each["verdict"], each["reason"], each["connection"]["subject"]) for each in checked] == [
        ("accepted", None, "octo")
    ]
    shown = acme.run("connections", "check", "--all")
    assert (shown.code, shown.err) == (0, "")
    assert [line.split()[:4] for line in shown.out.splitlines()[1:]] == [
        ["work", "acme", "octo", "accepted"],
        ["github", "github", "octo-agent", "accepted"],
    ]
    assert [each["type"] for each in acme.good("connections", "events", "work")["events"]] == [
        "connected",
        "checked",
        "checked",
    ]


def test_a_check_that_finds_something_wrong_fails_and_says_what(acme: Shell, server: token_server.TokenServer):
    acme.good(*AUTOMATIC)
    server.rejects_tokens = True
    told = acme.run("connections", "check", "--all", "--json")
    assert (told.code, told.error["code"]) == (1, "probe_failed")
    assert told.error["message"] == f"acme: {server.url} does not accept this credential (401)"
    assert [each["verdict"] for each in told.json["checks"]] == ["refused", "accepted"]
    assert acme.good("connections", "show", "acme")["state"] == "reauth_required"
    shown = acme.run("connections", "check", "acme")
    assert (shown.code, "error: acme: " in shown.err, "refused" in shown.out) == (1, True, True)
    server.rejects_tokens = False
    assert acme.good("connections", "check", "acme")["checks"][0]["connection"]["state"] == "connected"


def test_a_check_says_why_it_asked_nobody(shell: Shell):
    shell.good("connections", "revoke", "github")
    assert "it is revoked" in shell.run("connections", "check", "github").out


def test_a_check_names_one_connection_or_all(acme: Shell):
    for arguments in ((), ("github", "--all")):
        told = acme.run("connections", "check", *arguments, "--json")
        assert (told.code, told.error["message"]) == (2, "name a connection, or say --all")


def test_a_credential_is_renewed_by_hand(acme: Shell):
    made = acme.good(*AUTOMATIC)
    renewed = acme.good("connections", "refresh", "acme")
    assert (renewed["state"], renewed["subject"]) == ("connected", "octo")
    assert renewed["current_credential_id"] != made["current_credential_id"]
    assert "acme has a new credential, until " in acme.run("connections", "refresh", "acme").out


def test_what_is_tried_again_by_itself_asks_for_nobody(acme: Shell, server: token_server.TokenServer):
    acme.good(*AUTOMATIC)
    server.refusal = (503, b'{"error": "temporarily_unavailable"}')
    told = acme.run("connections", "refresh", "acme", "--json")
    assert (told.error["code"], told.error["retry"]) == ("not_renewed", "later")
    assert told.error["next_step"].startswith("Ask again later: Interlock goes on trying to renew the credential")
    assert "(renewal is tried again)" in acme.run("connections", "show", "acme").out
    with closing(sqlite3.connect(acme.store)) as store, store:
        store.execute("update credentials set expires_at = 1")
    assert "(it has ended; renewal is tried again)" in acme.run("connections", "show", "acme").out


def test_where_a_secret_stays_is_shown(shell: Shell):
    shell.connect("--name", "kept")
    assert "secret" not in shell.run("connections", "show", "kept").out
    shell.good("connect", "github", "--from", "env:TOKEN", "--base-url", shell.service.url, "--name", "sourced")
    assert "secret    token from env:TOKEN" in shell.run("connections", "show", "sourced").out


def test_what_is_not_renewed_is_told_with_why(acme: Shell, server: token_server.TokenServer):
    acme.good(*AUTOMATIC)
    server.refusal = (400, b'{"error": "invalid_grant"}')
    told = acme.run("connections", "refresh", "acme", "--json")
    assert (told.code, told.error["code"]) == (1, "not_renewed")
    assert told.error["message"] == "connection 'acme' was not renewed: refresh_invalid_grant"
    told = acme.run("connections", "refresh", "github", "--json")
    assert (
        told.error["message"] == "connection 'github' was not renewed: it holds nothing that new tokens are made from"
    )
