"""`interlock tokens`, and a token in use."""

import json
from pathlib import Path

import pytest

from fix_cli import Shell

SAME = (
    ("runs", "list"),
    ("runs", "list", "--state", "held", "--limit", "1"),
    ("runs", "show", "RUN"),
    ("runs", "events", "RUN"),
    ("approvals", "list"),
    ("approvals", "show", "APPROVAL"),
    ("connections", "list"),
    ("connections", "show", "github"),
    ("connections", "events", "github"),
    ("connections", "leases", "github"),
    ("capabilities", "list", "--connector", "github", "--effect", "read", "--limit", "3"),
    ("capabilities", "list", "--search", "create isue"),
    ("capabilities", "show", "github.issue.create"),
    ("connectors", "show", "github"),
    ("providers", "list"),
    ("runs", "show", "run_01890a5d4c3e7b2a8f6e5d4c3b2a1908"),
    ("capabilities", "show", "github.isue.create"),
)
SHOWN = SAME[2], SAME[5], SAME[12]


@pytest.mark.faults
def test_a_command_says_the_same_of_a_server_until_its_token_is_revoked(shell: Shell, warm: Path):
    shell.connect()
    run_id, approval_id = shell.hold("Door")
    made = shell.good("tokens", "create", "ops", "--role", "operator", "--expires", "30d")
    reviewer = shell.good(
        "tokens", "create", "ann", "--role", "approver", "--role", "caller", "--capability", "github.*"
    )
    assert (made["actor"], made["roles"], reviewer["capabilities"]) == ("ops", ["operator"], ["github.*"])
    listed = shell.good("tokens", "list")["tokens"]
    assert listed[1] == {name: value for name, value in made.items() if name != "token"}
    with shell.start("serve", "--bind", "127.0.0.1:0", "--json", program=warm / "interlock") as process:
        try:
            assert process.stdout is not None
            url = f"http://{json.loads(process.stdout.readline())['listening']}"
            there = {"INTERLOCK_SERVER": url, "INTERLOCK_TOKEN": made["token"]}
            for each in SAME:
                words = [{"RUN": run_id, "APPROVAL": approval_id}.get(word, word) for word in each]
                here, told = shell.run(*words, "--json"), shell.run(*words, "--json", environment=there)
                assert (told.code, told.json) == (here.code, here.json), each
                if each in SHOWN:
                    assert shell.run(*words, environment=there).out == shell.run(*words).out, each
            wrong = shell.run(
                "invoke", "github.issue.create", "repo=acme/rocket", "title=Gate", "--json", environment=there
            )
            assert wrong.code == 4
            ann = {**there, "INTERLOCK_TOKEN": reviewer["token"]}
            approved = shell.good("approvals", "approve", wrong.json["approval_id"], environment=ann)
            assert approved["outcome"]["output"]["title"] == "Gate"
            packet = shell.folder / "packet.json"
            shell.good("review", "export", approved["outcome"]["run_id"], "-o", str(packet), environment=there)
            assert shell.run("review", "verify", str(packet), "--json").json["status"] == "intact_signer_unknown"
            for local in (
                ["keys", "list"],
                ["migrate"],
                ["doctor"],
                ["runs", "recover"],
                ["connect", "github", "--from", "env:A"],
            ):
                refused = shell.run(*local, "--json", environment=there)
                assert (refused.code, refused.error["code"]) == (2, "not_remote"), local
            assert shell.run("tokens", "list", "--json", environment=there).error["code"] == "forbidden"
            assert shell.run("runs", "list", "--tenant", "x", "--json", environment=there).error["code"] == "usage"
            shell.good("tokens", "revoke", made["token_id"])
            assert shell.run("runs", "list", "--json", environment=there).error["code"] == "token_refused"
        finally:
            process.terminate()
        out, err = process.communicate()
    assert (process.returncode, out, err) == (0, "", "")
    kept = shell.store.read_bytes()
    assert not [each for each in (made, reviewer) if each["token"].encode() in kept]


def test_a_server_that_is_not_there_or_not_ours(shell: Shell):
    told = shell.run("runs", "list", "--server", "http://127.0.0.1:1", "--json", environment={"INTERLOCK_TOKEN": "t"})
    assert (told.code, told.error["code"]) == (7, "server_unreachable")
    told = shell.run("runs", "list", "--server", "http://127.0.0.1:1", "--json")
    assert (told.code, told.error["code"]) == (2, "server_token_missing")
    clear = shell.run("runs", "list", "--server", "http://example.com", "--json", environment={"INTERLOCK_TOKEN": "t"})
    assert (clear.code, clear.error["code"]) == (2, "invalid_configuration")
    (shell.folder / "token").write_text("t\n")
    kept = {"INTERLOCK_TOKEN_FILE": str(shell.folder / "token")}
    assert (
        shell.run("runs", "list", "--server", shell.service.url, "--json", environment=kept).error["code"]
        == "not_interlock"
    )


def test_tokens_in_a_table(shell: Shell):
    assert "There are no tokens yet." in shell.run("tokens", "list").out
    told = shell.run("tokens", "create", "ops", "--for", "person:ann", "--role", "operator", "--expires", "never").out
    assert "ilk_" in told
    assert "person:ann in default" in told
    assert "person:ann" in shell.run("tokens", "list").out
    wrong = shell.run("tokens", "create", "x", "--expires", "soon", "--json")
    assert (wrong.code, wrong.error["code"]) == (2, "usage")
    assert shell.run("tokens", "create", "x", "--role", "operator", "--connection", "nowhere", "--json").code == 2


def test_beyond_this_machine_it_speaks_tls_or_is_told_why_not(shell: Shell):
    told = shell.run("serve", "--bind", "0.0.0.0:0", "--json")
    assert (told.code, told.error["code"]) == (2, "usage")
    assert "--tls-cert" in told.error["next_step"]
    assert shell.run("serve", "--bind", "127.0.0.1:0", "--tls-cert", "cert.pem", "--json").code == 2
