"""Polls on the command line."""

from fix_cli import REPOSITORY, Shell

CREATE = ("polls", "create", "issues", "github.issue_updated", "--handler", "incident")


def test_a_poll_is_made_shown_paused_resumed_and_deleted(shell: Shell):
    made = shell.good(
        *CREATE, f"repo={REPOSITORY}", "--every", "5m", "--priority", "high", "--retry", '{"max_attempts":1}'
    )
    assert (made["state"], made["config"], made["interval"]) == ("active", {"repo": REPOSITORY}, 300)
    shown = shell.run("polls", "show", "issues")
    assert "300 s now, 300 s without news" in shown.out
    assert "  tried       once\n" in shown.out
    assert shell.good("polls", "pause", made["trigger_id"])["next_at"] is None
    assert shell.good("polls", "resume", "issues")["state"] == "active"
    assert "github.issue_updated" in shell.run("polls", "list").out
    assert shell.run("polls", "delete", "issues").out == "issues is deleted.\n"
    assert "No polls yet" in shell.run("polls", "list").out


def test_what_goes_wrong_is_told(shell: Shell):
    assert shell.run(*CREATE, "--json").error["code"] == "invalid_poll"
    assert shell.run(*CREATE, "repo=acme/nowhere", "--json").error["code"] == "resource_not_found"
    assert shell.run("polls", "create", "x", "github.push", "--handler", "h", "--json").error["code"] == "invalid_poll"
    assert shell.run("polls", "create", "x", "gitbub.push", "--handler", "h", "--json").error["code"] == (
        "unknown_connector"
    )
    assert shell.run("polls", "show", "issues", "--json").error["code"] == "poll_not_found"
    shell.good(*CREATE, f"repo={REPOSITORY}")
    assert shell.run(*CREATE, f"repo={REPOSITORY}", "--json").error["code"] == "poll_exists"
