"""`interlock subscriptions`, as an operator uses it."""

import sqlite3
from contextlib import closing

from fix_cli import Shell

HOOKS = "https://hooks.example.com/interlock"


def test_a_subscription_from_its_beginning_to_its_end(shell: Shell):
    made = shell.good(
        "subscriptions", "create", HOOKS, "--type", "run.*", "--type", "connection.broken", "--capability", "github.*"
    )
    name = made["subscription_id"]
    assert made["secret"].startswith("whsec_")
    assert (made["state"], made["types"]) == ("active", ["run.*", "connection.degraded", "connection.reauth_required"])
    shown = shell.good("subscriptions", "show", name)
    assert shown == {key: value for key, value in made.items() if key != "secret"}
    assert shell.good("subscriptions", "list") == {"subscriptions": [shown], "next_cursor": None}
    paused = shell.good("subscriptions", "pause", name, "--reason", "moving")
    assert (paused["state"], paused["reason"]) == ("paused", "moving")
    assert shell.good("subscriptions", "resume", name)["state"] == "active"
    rotated = shell.good("subscriptions", "rotate", name, "--overlap", "12h")
    assert rotated["secret"] not in {None, made["secret"]}
    assert rotated["overlap_until"] is not None
    assert shell.good("subscriptions", "deliveries", name) == {"deliveries": [], "next_cursor": None}
    assert "secret" not in shell.run("subscriptions", "show", name).out
    assert shell.good("subscriptions", "delete", name)["deleted"]
    told = shell.run("subscriptions", "show", name, "--json")
    assert (told.code, told.error["code"]) == (2, "subscription_not_found")


def test_what_is_wrong_is_said(shell: Shell):
    for arguments, code, said in (
        (("create", HOOKS, "--type", "run.complete"), "invalid_subscription", "did you mean 'run.completed'?"),
        (("create", "http://hooks.example.com/", "--type", "*"), "invalid_subscription", "https"),
        (("create", HOOKS, "--type", "*", "--connection", "nobody"), "connection_not_found", "nobody"),
        (("redeliver", "msg_1"), "message_not_found", "msg_1"),
        (("test", "sub_1"), "subscription_not_found", "sub_1"),
    ):
        told = shell.run("subscriptions", *arguments, "--json")
        assert (told.code, told.error["code"], said in told.error["message"]) == (2, code, True), told.error


def test_what_is_told_no_more_shows_in_lists_and_to_the_doctor(shell: Shell):
    name = shell.good("subscriptions", "create", HOOKS, "--type", "*", "--signature", "v1a")["subscription_id"]
    with closing(sqlite3.connect(shell.store)) as session, session:
        session.execute("UPDATE subscriptions SET state = 'disabled', reason = 'gone'")
    listed = shell.run("subscriptions", "list")
    assert ("disabled" in listed.out, "gone" in listed.out) == (True, True)
    [check] = [each for each in shell.good("doctor")["checks"] if each["check"] == f"subscription {name}"]
    assert (check["health"], "disabled (gone)" in check["found"]) == ("warn", True)
