"""One governed call, end to end, as an operator does it at a shell."""

import json
import signal
from pathlib import Path

import pytest

from fix_cli import REPOSITORY, TOKEN, Shell

SHORT = {"INTERLOCK_EXECUTION__OWNER_LEASE": "6"}
"""Seconds until a death shows: as few as a busy machine allows."""
FREE = '[policy]\n[[policy.rules]]\nid = "free"\nthen = "allow"\n'


def create(title: str, *more: str) -> tuple[str, ...]:
    return ("invoke", "github.issue.create", f"repo={REPOSITORY}", f"title={title}", *more)


def test_a_write_is_held_approved_done_once_and_proven(any_shell: Shell):
    shell = any_shell
    checks = shell.good("doctor")
    assert checks["healthy"]
    assert {"check": "connector github", "health": "ok"}.items() <= next(
        check.items() for check in checks["checks"] if check["check"] == "connector github"
    )

    read = shell.good("invoke", "github.issue.list", f"repo={REPOSITORY}", "per_page=5")
    assert (read["state"], read["output"]["issues"]) == ("completed", [])

    run_id, approval_id = shell.hold("It broke")
    assert shell.service.effects("issues/create") == 0
    waiting = shell.good("approvals", "list")["approvals"]
    assert [each["approval_id"] for each in waiting] == [approval_id]
    shown = shell.run("approvals", "show", approval_id).out
    assert '"title": "It broke"' in shown
    assert f"interlock approvals approve {approval_id}" in shown

    done = shell.good("approvals", "approve", approval_id)
    assert done["approval"]["state"] == "spent"
    assert done["approval"]["self_reviewed"]
    assert (done["outcome"]["state"], done["outcome"]["output"]["title"]) == ("completed", "It broke")
    again = shell.run("approvals", "approve", approval_id, "--json")
    assert (again.code, again.error["code"]) == (2, "already_decided")
    assert shell.service.effects("issues/create") == 1

    shell.good("review", "export", run_id, "-o", "packet.json")
    unknown = shell.run("review", "verify", "packet.json")
    assert unknown.code == 6
    assert "--trust trust.json" in unknown.out
    assert shell.good("review", "verify", "packet.json", "--trust", ".interlock/trust.json")["status"] == "verified"
    packet = shell.folder / "packet.json"
    packet.write_text(packet.read_text().replace('"environment":"dev"', '"environment":"prd"', 1))
    altered = shell.run("review", "verify", "packet.json", "--trust", ".interlock/trust.json", "--json")
    assert (altered.code, altered.json["ok"]) == (6, False)
    assert altered.json["problems"][0]["where"] == "event 1 (run.accepted)"


def test_what_was_approved_and_not_executed_is_listed(shell: Shell):
    _, approval_id = shell.hold("It broke")
    shell.good("approvals", "approve", approval_id, "--no-run")
    told = shell.run("approvals", "list").out
    assert approval_id in told
    assert "Approved, and not executed: interlock approvals approve APPROVAL does it." in told
    shell.good("approvals", "approve", approval_id)
    assert shell.good("approvals", "list")["approvals"] == []


def test_a_key_acts_once(shell: Shell):
    shell.write_settings(FREE)
    first = shell.good(*create("once", "--idempotency-key", "k-1"))
    again = shell.good(*create("once", "--idempotency-key", "k-1"))
    assert (again["run_id"], again["replayed"]) == (first["run_id"], True)
    assert list(again["output"].items()) == list(first["output"].items())  # in that order, too
    other = shell.run(*create("something else", "--idempotency-key", "k-1", "--json"))
    assert (other.code, other.error["code"]) == (2, "idempotency_conflict")
    assert shell.service.effects("issues/create") == 1


def test_a_denied_call_says_why(shell: Shell):
    denied = ("invoke", "github.git.ref.delete", f"repo={REPOSITORY}", "ref=refs/heads/main")
    told = shell.run(*denied)
    assert told.code == 3
    assert "because nothing is deleted from here" in told.out
    document = shell.run(*denied, "--json")
    assert (document.code, document.json["state"]) == (3, "denied")
    assert "nothing is deleted from here" in document.json["reasons"]
    assert shell.service.effects("*") == 0


def test_an_edited_input_is_what_is_done(shell: Shell):
    _, approval_id = shell.hold("Rude words")
    (shell.folder / "edit.json").write_text(json.dumps({"repo": REPOSITORY, "title": "Kind words"}))
    done = shell.good("approvals", "approve", approval_id, "--edit", "edit.json")
    assert done["outcome"]["output"]["title"] == "Kind words"


def test_a_decision_can_be_made_without_running(shell: Shell):
    run_id, approval_id = shell.hold("later")
    decided = shell.good("approvals", "approve", approval_id, "--no-run")
    assert (decided["approval"]["state"], decided["outcome"]) == ("approved", None)
    assert shell.service.effects("issues/create") == 0
    assert "this executes it" in shell.run("runs", "show", run_id).out
    assert shell.good("approvals", "approve", approval_id)["outcome"]["state"] == "completed"


def test_a_denial_sticks(shell: Shell):
    run_id, approval_id = shell.hold("no")
    shell.good("approvals", "deny", approval_id, "--reason", "wrong repository")
    told = shell.run("approvals", "approve", approval_id, "--json")
    assert (told.code, told.error["code"]) == (2, "already_decided")
    assert shell.good("runs", "show", run_id)["run"]["state"] == "denied"


def test_waiting_for_an_approval(shell: Shell, warm: Path):
    for verdict, code, state in (("approve", 0, "completed"), ("deny", 3, "denied")):
        with shell.start(*create(verdict, "--wait-approval", "--json"), program=warm / "interlock") as process:
            assert process.stderr is not None
            approval_id = process.stderr.readline().rpartition("approve ")[2].strip("`\n")
            more = ("--reason", "no") if verdict == "deny" else ()
            shell.good("approvals", verdict, approval_id, *more)
            out, _ = process.communicate()
        assert (process.returncode, json.loads(out)["state"]) == (code, state)
    assert shell.service.effects("issues/create") == 1


def test_waiting_for_an_approval_ends_with_the_timeout(shell: Shell):
    told = shell.run(*create("nobody"), "--wait-approval", "--timeout", "0.3", "--json")
    assert (told.code, told.json["state"]) == (4, "held")


def test_a_cut_answer_is_settled_by_reading(shell: Shell):
    shell.write_settings(FREE)
    shell.service.fault("cut_answer", match="issues/create")
    done = shell.good(*create("cut"))
    shown = shell.run("runs", "show", done["run_id"]).out
    assert "nobody knows yet" in shown
    assert "answer_cut_off" in shown
    assert "read: it happened" in shown
    assert shell.service.effects("issues/create") == 1


def test_what_nobody_can_find_out_waits_for_a_person(shell: Shell):
    shell.write_settings(FREE)
    shell.service.fault("cut_answer", match="issues/create")
    shell.service.fault("status:404", match="GET *", times=50)
    told = shell.run(*create("doubt", "--json"))
    assert (told.code, told.error["code"]) == (5, "unknown_outcome")
    run_id = told.error["run_id"]
    assert f"runs settle {run_id} --happened` or `--not-happened`" in told.error["next_step"]
    assert f"interlock runs settle {run_id}" in shell.run("runs", "show", run_id).out
    assert shell.run("runs", "settle", run_id, "--json").code == 5
    settled = shell.good("runs", "settle", run_id, "--happened", "--note", "I saw it")
    assert settled["run"]["state"] == "completed"
    assert "saw: happened (I saw it)" in shell.run("runs", "events", run_id).out


def test_what_a_person_did_not_see_is_told_under_its_key(shell: Shell):
    shell.write_settings(FREE)
    shell.service.fault("cut_answer", match="issues/create")
    shell.service.fault("status:404", match="GET *", times=50)
    told = shell.run(*create("doubt", "--json", "--idempotency-key", "k1"))
    assert told.code == 5
    run_id = told.error["run_id"]
    shell.good("runs", "settle", run_id, "--not-happened", "--note", "no such issue")
    told = shell.run(*create("doubt", "--json", "--idempotency-key", "k1"))
    assert (told.code, told.error["code"], told.error["run_id"]) == (1, "not_happened", run_id)
    assert "saw that github.issue.create did not happen: no such issue" in told.error["message"]
    assert "under a new idempotency key" in told.error["next_step"]
    assert told.error["details"]["effect"] == "not_happened"
    assert told.error["details"]["cause"]["code"] == "unknown_outcome"
    assert "did not happen: no such issue (not_happened)" in " ".join(shell.run("runs", "show", run_id).out.split())
    shell.good(*create("doubt", "--idempotency-key", "k2"))


def test_what_was_given_up_is_told_as_what_nobody_knows(shell: Shell):
    shell.write_settings(FREE)
    shell.service.fault("cut_answer", match="issues/create")
    shell.service.fault("status:404", match="GET *", times=50)
    told = shell.run(*create("doubt", "--json", "--idempotency-key", "k1"))
    run_id = told.error["run_id"]
    assert "reads the service once more" in told.error["next_step"]
    gone = shell.run("runs", "cancel", run_id).out
    assert ("given_up" in gone, "whether it happened stays unknown" in gone) == (True, True)
    shown = shell.run("runs", "show", run_id).out
    assert "given_up: whether it happened stays unknown; its key tells so, a new try takes a new one" in shown
    assert "cancelled: given up, and github.issue.create may or may not have happened" in shown
    told = shell.run(*create("doubt", "--json", "--idempotency-key", "k1"))
    assert (told.code, told.error["code"], told.error["run_id"]) == (5, "given_up", run_id)
    assert told.error["message"].startswith(f"github.issue.create was given up in {run_id}")
    assert shell.service.effects("issues/create") == 1


@pytest.mark.faults
def test_a_killed_command_is_recovered(shell: Shell):
    shell.write_settings(FREE)
    shell.service.fault("hold", match="issues/create")
    with shell.start(*create("killed"), environment=SHORT) as process:
        shell.service.wait_held()
        process.send_signal(signal.SIGKILL)
    shell.service.release()
    run_id = shell.good("runs", "list", "--state", "running")["runs"][0]["run_id"]
    assert "interlock runs recover" in shell.run("runs", "show", run_id).out
    recovered: list[str] = []
    while run_id not in recovered:  # until the dead process's lease has lapsed
        recovered = [each["run_id"] for each in shell.good("runs", "recover")["recovered"]]
    assert shell.good("runs", "show", run_id)["run"]["state"] == "completed"
    assert shell.service.effects("issues/create") == 1


def test_following_a_run(shell: Shell):
    run_id, approval_id = shell.hold("follow")
    held = shell.run("runs", "events", run_id, "--follow")
    assert held.out.splitlines()[-1].endswith("held: writes-ask")
    shell.good("approvals", "approve", approval_id)
    out = shell.run("runs", "events", run_id, "--follow", "--after", "4", "--json").out
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["seq"] for line in lines] == list(range(5, 5 + len(lines)))
    assert lines[-1]["type"] == "run.completed"


def test_a_held_run_says_until_when_it_waits(shell: Shell):
    run_id, approval_id = shell.hold("waits")
    until = next(line for line in shell.run("runs", "show", run_id).out.splitlines() if "waits until" in line)
    expires = next(line for line in shell.run("approvals", "show", approval_id).out.splitlines() if "expires" in line)
    assert until.split()[2:] == expires.split()[1:]
    shell.good("approvals", "approve", approval_id)
    assert "waits until" not in shell.run("runs", "show", run_id).out


def test_lists_have_pages_and_filters(shell: Shell):
    ids = [shell.hold(f"issue {number}")[0] for number in range(3)]
    first = shell.good("runs", "list", "--limit", "2", "--connection", "github")
    assert [each["run_id"] for each in first["runs"]] == [ids[2], ids[1]]
    rest = shell.good("runs", "list", "--limit", "2", "--cursor", first["next_cursor"])
    assert ([each["run_id"] for each in rest["runs"]], rest["next_cursor"]) == ([ids[0]], None)
    shell.good("runs", "cancel", ids[0], "--reason", "mistake")
    assert [each["run_id"] for each in shell.good("runs", "list", "--state", "cancelled")["runs"]] == [ids[0]]
    assert shell.good("runs", "list", "--by", "nobody")["runs"] == []
    assert len(shell.good("runs", "list", "--since", "1h")["runs"]) == len(ids)
    assert shell.good("runs", "list", "--until", "1h")["runs"] == []
    assert shell.good("runs", "list", "--parent", ids[0])["runs"] == []
    trace = shell.good("runs", "show", ids[1])["run"]["trace_id"]
    assert [each["run_id"] for each in shell.good("runs", "list", "--trace", trace)["runs"]] == [ids[1]]
    assert "--since: 'yesterday' is no time" in shell.run("runs", "list", "--since", "yesterday").err
    assert shell.good("approvals", "list", "--state", "cancelled")["approvals"][0]["run_id"] == ids[0]


def test_an_artifact_is_passed_on_byte_for_byte(shell: Shell):
    run_id = shell.good("invoke", "github.repo.fetch", f"repo={REPOSITORY}")["run_id"]
    artifact = shell.good("runs", "show", run_id)["artifacts"][0]
    piped = shell.run("artifacts", "get", artifact["artifact_id"])
    assert len(piped.out.encode()) == artifact["size"]
    shell.good("artifacts", "get", artifact["artifact_id"], "-o", "out.json")
    assert (shell.folder / "out.json").read_text() == piped.out
    assert json.loads(shell.good("artifacts", "get", artifact["artifact_id"])["content"]["text"]) == json.loads(
        piped.out
    )


def test_the_catalogue_needs_no_store(bare_shell: Shell):
    listed = bare_shell.good("capabilities", "list", "--search", "create issue")["capabilities"]
    assert "github.issue.create" in [each["capability_id"] for each in listed]
    assert len(bare_shell.good("capabilities", "list")["capabilities"]) == 24
    only = bare_shell.good("capabilities", "list", "--effect", "delete")["capabilities"]
    assert [each["capability_id"] for each in only] == ["github.git.ref.delete"]
    shown = bare_shell.run("capabilities", "show", "github.issue.create").out
    assert "is settled by reading; what is not there yet is read again after 15 s" in shown
    assert "interlock invoke github.issue.create repo=REPO title=TITLE" in shown
    assert "array of string" in shown
    assert [each["connector_id"] for each in bare_shell.good("connectors", "list")["connectors"]] == ["github"]
    heads, row = bare_shell.run("connectors", "list").out.splitlines()
    assert row[heads.index("TRUSTED") :].startswith("in process")
    connector = bare_shell.run("connectors", "show", "github").out
    assert "interlock connect github --token-env NAME" in connector
    assert "whoever gives it, a secret store" in connector
    [issues] = [line for line in connector.splitlines() if line.strip().startswith("github.issues ")]
    assert "by a webhook, proven by hmac_sha256" in issues
    [profile] = bare_shell.good("connectors", "show", "github")["profiles"]
    assert (profile["grant"], profile["management_modes"]) == ("manual", ["manual", "external_secret"])
    assert (profile["install"], profile["reauth"], profile["renewal"]) == ("paste", "paste", "none")
    assert profile["fields"] == [{"name": "token", "secret": True}]
    assert list(bare_shell.folder.iterdir()) == []


def test_connections_come_and_go(shell: Shell):
    other = shell.good("connect", "github", "--token-file", "-", "--name", "mona", "--base-url", shell.service.url,
                       stdin="ghp_a-token-of-somebody-else\n")  # fmt: skip
    assert (other["subject"], other["name"]) == ("mona", "mona")
    both = shell.run("invoke", "github.repo.fetch", f"repo={REPOSITORY}", "--json")
    assert (both.code, both.error["code"]) == (2, "ambiguous_connection")
    assert (
        shell.good("invoke", "github.repo.fetch", f"repo={REPOSITORY}", "--connection", "mona")["state"] == "completed"
    )
    assert shell.good("connections", "revoke", "mona", "--reason", "left")["state"] == "revoked"
    assert "reason" not in shell.run("connections", "revoke", "github").out
    assert {each["name"] for each in shell.good("connections", "list")["connections"]} == {"github", "mona"}
    assert "left" in shell.run("connections", "show", "mona").out


def test_the_token_is_nowhere(shell: Shell):
    run_id = shell.good("invoke", "github.repo.fetch", f"repo={REPOSITORY}")["run_id"]
    shell.good("review", "export", run_id, "-o", "packet.json")
    files = [path for path in shell.folder.rglob("*") if path.is_file()]
    assert len(files) > 3
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]


def test_one_operator_may_be_told_apart_from_another(shell: Shell):
    path = shell.folder / "interlock.toml"
    path.write_text(path.read_text().replace("self_review = true", "self_review = false"))
    run_id, approval_id = shell.hold("alone")
    assert "answered by" not in shell.run("runs", "show", run_id).out
    own = shell.run("approvals", "approve", approval_id, "--json")
    assert (own.code, own.error["code"]) == (2, "self_review")
    decided = shell.run("approvals", "approve", approval_id, "--no-run", "--actor", "local:reviewer").out
    assert decided.endswith("by local:reviewer\n")
    done = shell.good("approvals", "approve", approval_id, "--actor", "local:reviewer")
    assert (done["approval"]["reviewer"], done["outcome"]["state"]) == ("local:reviewer", "completed")
    _, decision = shell.run("runs", "show", run_id).out.split("Decision\n")
    first, again = decision.split("Timeline")[0].split("judged again")
    assert f"answered by local:reviewer: {approval_id}" in first
    assert f"answered by local:reviewer: {approval_id}" in again


def test_init_writes_a_policy_that_reads_well(bare_shell: Shell):
    told = bare_shell.run("init")
    assert told.code == 0
    assert "interlock connect github --token-env GITHUB_TOKEN" in told.out
    written = (bare_shell.folder / "interlock.toml").read_text()
    assert "the record says so each time" in written
    assert (bare_shell.folder / ".interlock" / "trust.json").exists()
    key = bare_shell.folder / "config" / "interlock" / "root.key"
    assert key.stat().st_mode & 0o777 == 0o600
    again = bare_shell.run("init", "--json")
    assert (again.code, again.error["code"]) == (2, "already_initialised")
    assert (bare_shell.folder / "interlock.toml").read_text() == written


def test_init_takes_a_store_of_its_own(bare_shell: Shell):
    bare_shell.good("init", "--store", "data/mine.db")
    assert (bare_shell.folder / "data" / "mine.db").exists()
    assert 'store = "data/mine.db"' in (bare_shell.folder / "interlock.toml").read_text()
    deeper = bare_shell.folder / "deeper"
    deeper.mkdir()
    bare_shell.folder = deeper
    assert bare_shell.good("runs", "list")["runs"] == []
    migrated = bare_shell.good("migrate")
    assert (migrated["before"], migrated["applied"]) == (migrated["after"], [])


def test_the_trust_file_can_be_exported(shell: Shell):
    piped = shell.run("review", "trust")
    assert piped.out == (shell.folder / ".interlock" / "trust.json").read_text()
    shell.good("review", "trust", "-o", "mine.json")
    assert (shell.folder / "mine.json").read_text() == piped.out


@pytest.mark.faults
def test_the_same_command_again_finds_out_what_became_of_a_killed_one(shell: Shell):
    shell.write_settings(FREE)
    shell.service.fault("hold", match="issues/create")
    command = (*create("killed"), "--idempotency-key", "k")
    with shell.start(*command, environment=SHORT) as process:
        shell.service.wait_held()
        process.send_signal(signal.SIGKILL)
    shell.service.release()
    told = shell.run(*command, "--json")
    assert (told.code, told.json["state"], told.json["replayed"]) == (0, "completed", True)
    assert shell.service.effects("issues/create") == 1


def test_a_clone_with_settings_gets_what_is_missing(shell: Shell):
    text = (shell.folder / "interlock.toml").read_text()
    for path in sorted((shell.folder / ".interlock").rglob("*"), reverse=True):
        path.unlink()
    assert "interlock init" in shell.run("runs", "list").err
    shell.good("init")
    assert (shell.folder / "interlock.toml").read_text() == text
    assert shell.good("runs", "list")["runs"] == []
    assert shell.run("init").code == 2
