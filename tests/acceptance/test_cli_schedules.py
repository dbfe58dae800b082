"""Schedules on the command line."""

from fix_cli import REPOSITORY, Shell


def test_a_schedule_is_made_shown_paused_resumed_and_deleted(shell: Shell):
    made = shell.good(
        "schedules", "create", "morning", "--cron", "30 9 * * MON-FRI", "--zone", "Europe/Berlin", "--handler", "report",
        "of=yesterday", "--catch-up", "all", "--cap", "3",
    )  # fmt: skip
    assert (made["state"], made["handler"], made["input"]) == ("active", "report", {"of": "yesterday"})
    assert len(made["next"]) == 5
    shown = shell.run("schedules", "show", "morning", "--next", "2")
    assert "30 9 * * MON-FRI (Europe/Berlin)" in shown.out
    assert shown.out.count(" 09:30 Europe/Berlin)") == 2
    assert "are one run each, the last 3 of them" in shown.out
    assert shell.good("schedules", "pause", made["schedule_id"])["next_at"] is None
    assert shell.good("schedules", "show", "morning")["next"] == []
    assert shell.good("schedules", "resume", "morning")["next_at"] == made["next_at"]
    [listed] = shell.good("schedules", "list")["schedules"]
    assert listed["name"] == "morning"
    assert shell.run("schedules", "delete", "morning").out == "morning is deleted.\n"
    assert "No schedules yet" in shell.run("schedules", "list").out


def test_a_capability_is_looked_up_and_its_input_read(shell: Shell):
    made = shell.good(
        "schedules", "create", "look", "--every", "90s", "--capability", "github.issue.fetch",
        f"repo={REPOSITORY}", "issue_number=7", "--connection", "github",
    )  # fmt: skip
    assert (made["when"], made["input"]) == ("every 90 s", {"repo": REPOSITORY, "issue_number": 7})
    unknown = shell.run("schedules", "create", "no", "--every", "1h", "--capability", "github.issue.fetsch", "--json")
    assert unknown.error["code"] == "unknown_capability"


def test_what_goes_wrong_is_told(shell: Shell):
    def refused(*arguments: str) -> str:
        told = shell.run("schedules", "create", "x", *arguments, "--json")
        assert (told.code, told.error["code"]) == (2, "invalid_schedule")
        return told.error["message"]

    assert "exactly one of cron, every, at" in refused("--handler", "h")
    assert "exactly one of handler, capability" in refused("--every", "1h")
    assert "no cron expression" in refused("--cron", "* * *", "--handler", "h")
    assert "time zone" in refused("--cron", "@daily", "--zone", "Mars", "--handler", "h")
    shell.good("schedules", "create", "x", "--at", "2h", "--handler", "h")
    assert shell.run("schedules", "create", "x", "--at", "2h", "--handler", "h", "--json").error["code"] == (
        "schedule_exists"
    )
    missing = shell.run("schedules", "show", "y", "--json")
    assert missing.error["code"] == "schedule_not_found"
