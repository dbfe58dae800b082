"""Bad input: one clear error, a documented exit code, and nothing written that should not be."""

import base64
import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fix_cli import REPOSITORY, Shell
from interlock.kernel import to_micros

CREATE = ("invoke", "github.issue.create", f"repo={REPOSITORY}")


def refused(shell: Shell, *arguments: str, code: str, exit_code: int = 2, stdin: str = "") -> str:
    """The message of a command that is refused with that error, having written no run; the same on stderr for people."""
    before = shell.good("runs", "list")["runs"]
    told = shell.run(*arguments, "--json", stdin=stdin)
    assert (told.code, told.error["code"]) == (exit_code, code), told.out
    assert told.error["next_step"]
    for_people = shell.run(*arguments, stdin=stdin)
    assert (for_people.code, for_people.out) == (exit_code, "")
    assert for_people.err.startswith("error: ")
    assert "\nnext: " in for_people.err
    assert shell.good("runs", "list")["runs"] == before
    assert shell.service.effects() == 0
    return told.error["message"]


def test_an_unknown_capability_names_the_nearest(shell: Shell):
    message = refused(shell, "invoke", "github.isue.create", code="unknown_capability")
    assert "did you mean github.issue.create" in message


def test_an_unknown_connector_names_those_there_are(shell: Shell):
    message = refused(shell, "connect", "gitlab", "--token-env", "TOKEN", code="unknown_connector")
    assert "installed: github" in message


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (("title=x", "labels=bug"), "wrong: labels: a list, got a text of 3 characters"),
        (("title:=7",), "wrong: title: a text, got 7"),
        ((), "wrong: title: a required field, got nothing"),
        (("title=x", "titel=y"), "wrong: titel: no such field (did you mean 'title'?)"),
        (("title=x", "labels:=[1]"), "wrong: labels[0]: a text, got 1"),
    ],
)
def test_wrong_types_and_unknown_fields_name_path_and_expectation(shell: Shell, fields: tuple[str, ...], said: str):
    assert said in refused(shell, *CREATE, *fields, code="invalid_input")


def test_a_wrong_value_is_told_in_words(shell: Shell):
    asked = ("invoke", "github.issue.list", f"repo={REPOSITORY}", "per_page=250", "state=opne")
    message = refused(shell, *asked, code="invalid_input")
    assert "per_page: at most 100, got 250" in message
    assert "state: one of open, closed, all, got a text of 4 characters (did you mean 'open'?)" in message


@pytest.mark.parametrize(
    ("arguments", "usage"),
    [
        (("runs", "show"), "interlock runs show [OPTIONS] {RUN}"),
        (("runs", "list", "--limt", "3"), "interlock runs list [OPTIONS]"),
        (("runs", "list", "--limit", "many"), "interlock runs list [OPTIONS]"),
        (("runs", "list", "--state", "hled"), "interlock runs list [OPTIONS]"),
        (("runs", "shw"), "interlock runs [OPTIONS] COMMAND [ARGS]..."),
        (("runs", "--store"), "interlock runs [OPTIONS] COMMAND [ARGS]..."),
        (("invoke", "--timeout"), "interlock invoke [OPTIONS] {CAPABILITY} [KEY=VALUE]..."),
        (("connect", "github", "--port", "many"), "interlock connect [OPTIONS] {CONNECTOR}"),
        (("rums",), "interlock [OPTIONS] COMMAND [ARGS]..."),
    ],
)
def test_a_wrong_command_line_is_shown_its_commands_own_usage(
    bare_shell: Shell, arguments: tuple[str, ...], usage: str
):
    for_people = bare_shell.run(*arguments)
    command = usage.partition(" [")[0]
    assert for_people.code == 2
    assert f"\nusage: {usage}\n" in for_people.err
    assert f"\nnext: `{command} --help` " in for_people.err
    told = bare_shell.run(*arguments, "--json") if arguments[-1][:2] != "--" else None
    assert told is None or told.error["details"]["usage"] == usage


def test_a_target_class_that_is_unknown_is_refused(shell: Shell):
    asked = (*CREATE, "title=x", "--target", "local-htpp", "--target", "local-http")
    message = refused(shell, *asked, code="unknown_target")
    assert message.startswith("there is no target class 'local-htpp'; did you mean 'local-http'? there are: ")
    assert ", local-http, " in message


def test_a_sandbox_that_nothing_enforces_is_refused(shell: Shell):
    message = refused(shell, *CREATE, "title=x", "--sandbox", "strict", code="sandbox_not_enforced")
    assert "local-http lacks capabilities-none, " in message
    assert "enforced by local-bubblewrap, container-runc, container-gvisor" in message
    assert "none, standard, strict" in refused(shell, *CREATE, "title=x", "--sandbox", "hard", code="invalid_request")


def test_a_sandbox_that_a_rule_demands_and_nothing_enforces_is_refused(shell: Shell):
    settings = shell.folder / "interlock.toml"
    settings.write_text(settings.read_text() + '[[policy.rules]]\nid = "walls"\nthen = "allow"\nsandbox = "standard"\n')
    assert "level 'standard'" in refused(shell, *CREATE, "title=x", code="sandbox_not_enforced")


@pytest.mark.parametrize(
    ("field", "said"),
    [("title", "is not a field"), ("=x", "is not a field"), ("repo=a/b", "given twice")],
)
def test_what_is_not_a_field_is_refused(shell: Shell, field: str, said: str):
    assert said in refused(shell, *CREATE, field, code="usage")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"title": ' + "[" * 5000 + "]" * 5000 + "}", "nested deeper than 64"),
        ('{"title": ' + "[" * 100 + "]" * 100 + "}", "nested deeper than 64"),
        ('{"title": NaN}', "not JSON"),
        ('{"title": 1e999}', "JSON"),
        ('{"title": "a\\u0007b"}', "control character U+0007"),
        ('{"title": "a\\u001b[31mb"}', "control character U+001B"),
        ('{"title": "cut', "not JSON"),
        ("", "not JSON"),
    ],
    ids=["very deep", "deep", "nan", "infinite", "bell", "escape", "cut", "empty"],
)
def test_hostile_json_is_refused(shell: Shell, text: str, said: str):
    assert said in refused(shell, *CREATE, "--input", "-", stdin=text, code="invalid_json")


def test_a_file_that_is_too_large_is_refused(shell: Shell):
    much = '{"title": "' + "x" * 10_000_000 + '"}'
    assert "the limit is 1048576" in refused(shell, *CREATE, "--input", "-", stdin=much, code="file_refused")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"title": "a", "body": "b", "title": "c"}', "$: the key 'title' stands twice"),
        ('{"title": "a", "x": [{}, {"y": {"z": 1, "z": 2}}]}', "$.x[1].y: the key 'z' stands twice"),
        ('{"title": "a", "t\\u0069tle": "b"}', "$: the key 'title' stands twice"),
    ],
    ids=["top", "deep", "escaped"],
)
def test_a_key_that_stands_twice_is_refused_with_its_place(shell: Shell, text: str, place: str):
    assert place in refused(shell, *CREATE, "--input", "-", stdin=text, code="invalid_json")
    assert place.removeprefix("$") in refused(shell, *CREATE, f"body:={text}", code="invalid_json")


def test_hostile_pairs_are_refused(shell: Shell):
    assert "U+001B" in refused(shell, *CREATE, "title=a\x1b[31mb", code="invalid_json")
    assert "not JSON" in refused(shell, *CREATE, "title:=NaN", code="invalid_json")


def test_an_input_that_is_no_object_or_not_there_is_refused(shell: Shell):
    refused(shell, *CREATE, "--input", "-", stdin="[1]", code="usage")
    assert "missing.json" in refused(shell, *CREATE, "--input", "missing.json", code="file_refused")


@pytest.mark.parametrize("option", ["--connection=a\x07b", "--idempotency-key=", "--environment=", "--timeout=0"])
def test_wrong_options_are_refused(shell: Shell, option: str):
    refused(shell, *CREATE, "title=x", option, code="invalid_request")


def test_another_tenants_connection_is_not_there(shell: Shell):
    connection_id = shell.good("connections", "list")["connections"][0]["connection_id"]
    asked = (*CREATE, "title=x", "--tenant", "other", "--connection", connection_id)
    message = refused(shell, *asked, code="connection_not_found")
    assert message == refused(shell, *(*asked[:-1], "con_no_such"), code="connection_not_found").replace(
        "con_no_such", connection_id
    )
    refused(shell, "connections", "show", connection_id, "--tenant", "other", code="connection_not_found")
    for command in (("connections", "show"), ("connections", "revoke"), (*CREATE, "title=x", "--connection")):
        assert "did you mean 'github'?" in refused(shell, *command, "githb", code="connection_not_found")


def test_another_tenants_run_and_approval_are_not_there(shell: Shell):
    run_id, approval_id = shell.hold("mine")
    other = ("--tenant", "other", "--json")
    assert shell.run("runs", "show", run_id, *other).error["code"] == "run_not_found"
    assert shell.run("runs", "cancel", run_id, *other).error["code"] == "run_not_found"
    assert shell.run("review", "export", run_id, "-o", "x.json", *other).error["code"] == "run_not_found"
    assert shell.run("approvals", "approve", approval_id, *other).error["code"] == "approval_not_found"
    assert not (shell.folder / "x.json").exists()
    assert shell.good("runs", "show", run_id)["run"]["state"] == "held"


def test_a_revoked_connection_does_not_serve(shell: Shell):
    shell.good("connections", "revoke", "github")
    refused(shell, *CREATE, "title=x", "--connection", "github", code="connection_revoked")


def test_an_expired_connection_does_not_serve(shell: Shell):
    with sqlite3.connect(shell.store) as session:
        session.execute("UPDATE credentials SET expires_at = 1")
    session.close()
    message = refused(shell, *CREATE, "title=x", code="connection_expired")
    assert "expired at 1970-01-01" in message


def test_a_connection_expires_when_its_user_said_so(shell: Shell):
    url = ("--base-url", shell.service.url)
    line = ("connect", "github", "--token-env", "TOKEN", *url)
    assert "--expires-at" in refused(shell, *line, "--expires-at", "soon", code="usage")
    assert "the token expired" in refused(shell, *line, "--expires-at", "2020-01-31", code="invalid_grant")
    assert "--overlap" in refused(shell, *line, "--overlap", "soon", code="usage")
    assert "300 s" in refused(shell, *line, "--overlap", "6m", code="invalid_grant")
    shell.good(*line, "--expires-at", "2199-01-31", "--overlap", "5m")
    with sqlite3.connect(shell.store) as session:
        ends = session.execute("SELECT expires_at FROM credentials WHERE superseded_at IS NULL").fetchall()
    session.close()
    assert ends == [(to_micros(datetime(2199, 1, 31, tzinfo=UTC)),)]


def test_the_end_of_a_token_is_shown_and_told_when_near(shell: Shell):
    line = ("connect", "github", "--token-env", "TOKEN", "--base-url", shell.service.url)

    def shown() -> list[str]:
        return [shell.run("connections", *command).out for command in (("show", "github"), ("list",))]

    assert "token ends" not in shown()[0]
    assert shell.good("connections", "show", "github")["credential_expires_at"] is None
    assert shell.good(*line, "--expires-at", "2199-01-31")["credential_expires_at"] == "2199-01-31T00:00:00.000000Z"
    for text in shown():
        assert "2199-01-31 00:00:00Z" in text
        assert "connect again" not in text
    for ahead, warning in (("50h", "(in 2 d: connect again)"), ("2h", "(in less than a day: connect again)")):
        shell.good(*line, "--expires-at", ahead)
        assert all(warning in text for text in shown())
    [listed] = shell.good("connections", "list")["connections"]
    assert listed == shell.good("connections", "show", "github")
    with sqlite3.connect(shell.store) as session:
        session.execute("UPDATE credentials SET expires_at = 1")
    session.close()
    assert all("1970-01-01 00:00:00Z (it has ended: connect again)" in text for text in shown())
    assert all("expired" in text and "connected" not in text for text in shown())
    told = shell.run("invoke", "github.repo.fetch", f"repo={REPOSITORY}", "--json")
    assert "`interlock connect github --token-env NAME`" in told.error["next_step"]
    shell.good("connections", "revoke", "github")
    assert "token ends" not in shown()[0]


def test_no_connection_says_how_to_connect(bare_shell: Shell):
    bare_shell.good("init")
    refused(bare_shell, *CREATE, "title=x", code="no_connection")


def test_a_token_comes_from_somewhere(shell: Shell):
    assert "NOWHERE" in refused(shell, "connect", "github", "--token-env", "NOWHERE", code="token_missing")
    refused(shell, "connect", "github", code="usage")
    refused(shell, "connect", "github", "--token-env", "TOKEN", "--token-file", "x", code="usage")


def test_a_private_address_says_how_to_allow_it(shell: Shell):
    closed = {"INTERLOCK_EXECUTION__EGRESS_ALLOW": "[]"}
    told = shell.run(
        "connect",
        "github",
        "--token-env",
        "TOKEN",
        "--base-url",
        shell.service.url,
        "--name",
        "new",
        environment=closed,
    )
    assert told.code == 1
    host = shell.service.url.removeprefix("http://")
    assert f'egress_allow = ["{host}"]' in told.err
    assert len(shell.good("connections", "list")["connections"]) == 1


def test_a_wrong_token_is_not_kept(shell: Shell):
    wrong = {"WRONG": "ghp_not-a-token-of-anyone"}
    told = shell.run("connect", "github", "--token-env", "WRONG", "--base-url", shell.service.url, "--name", "new", "--json",
                     environment=wrong)  # fmt: skip
    assert (told.code, told.error["code"]) == (1, "probe_failed")
    assert len(shell.good("connections", "list")["connections"]) == 1


@pytest.mark.parametrize("command", [("runs", "list"), CREATE, ("doctor",)], ids=["read", "write", "doctor"])
def test_the_wrong_key_is_named(shell: Shell, command: tuple[str, ...]):
    other = {"INTERLOCK_KEY": base64.urlsafe_b64encode(bytes(range(32))).decode()}
    told = shell.run(*command, environment=other)
    assert told.code == 2
    assert "sealed under the root key" in told.out + told.err
    assert "INTERLOCK_KEY" in told.out + told.err


def test_a_missing_key_is_named_and_not_made(shell: Shell):
    elsewhere = {"XDG_CONFIG_HOME": str(shell.folder / "elsewhere")}
    told = shell.run("runs", "list", "--json", environment=elsewhere)
    assert (told.code, told.error["code"]) == (2, "key_missing")
    assert "Put back the key" in told.error["next_step"]
    assert not (shell.folder / "elsewhere").exists()


def test_a_wrong_address_is_named_before_the_key_that_it_would_need(bare_shell: Shell):
    told = bare_shell.run("runs", "list", "--store", "postgresql://db.example:port/interlock", "--json")
    assert (told.code, told.error["code"]) == (2, "invalid_store_url")


def test_a_typo_in_the_policy_is_named_with_its_line(shell: Shell):
    shell.write_settings('[policy]\n[[policy.rules]]\nid = "x"\nthen = "alow"\nefect = "read"\n')
    lines = (shell.folder / "interlock.toml").read_text().splitlines()
    line = 1 + lines.index('then = "alow"')
    for command in (("runs", "list"), CREATE):
        told = shell.run(*command, "--json")
        assert (told.code, told.error["code"]) == (2, "invalid_policy")
        assert f"interlock.toml:{line}:1" in told.error["message"]
        assert "did you mean 'allow'?" in told.error["message"]
        assert "did you mean 'effect'?" in told.error["message"]
    doctor = shell.run("doctor")
    assert doctor.code == 2
    assert "did you mean 'allow'?" in doctor.out


def test_a_typo_in_the_settings_is_named(shell: Shell):
    path = shell.folder / "interlock.toml"
    path.write_text(path.read_text().replace("self_review", "self_reviw"))
    told = shell.run("runs", "list", "--json")
    assert (told.code, told.error["code"]) == (2, "invalid_settings")
    assert "did you mean 'self_review'?" in told.error["message"]
    assert shell.run("runs", "list", "--config", "nowhere.toml", "--json").error["code"] == "invalid_settings"


def test_a_misspelt_variable_is_named(shell: Shell):
    wrong = {"INTERLOCK_STOER": "x.db", "INTERLOCK_EXECUTION_RETRY_WAIT": "3", "INTERLOCK_PORT": "tcp://10.0.0.1:80"}
    for command in (("runs", "list"), ("doctor",), CREATE):
        told = shell.run(*command, environment=wrong)
        assert told.code == 2
        said = told.out + told.err
        assert "INTERLOCK_STOER: unknown setting; did you mean 'INTERLOCK_STORE'?" in said
        assert "did you mean 'INTERLOCK_EXECUTION__RETRY_WAIT'?" in said
        assert "INTERLOCK_PORT" not in said


def test_a_missing_store_says_how_to_make_one(bare_shell: Shell):
    bare_shell.good("init")
    bare_shell.store.unlink()
    for command in (("runs", "list"), CREATE, ("connections", "list"), ("approvals", "list")):
        told = bare_shell.run(*command, "--json")
        assert (told.code, told.error["code"]) == (7, "store_missing")
        assert "interlock init" in told.error["next_step"]
    assert bare_shell.run("doctor").code == 7
    assert not bare_shell.store.exists()


@pytest.mark.parametrize(
    ("content", "code"), [(b"", "store_damaged"), (b"not a database", "foreign_file")], ids=["empty", "foreign"]
)
def test_a_store_that_is_none_is_left_alone(shell: Shell, content: bytes, code: str):
    shell.store.write_bytes(content)
    told = shell.run("runs", "list", "--json")
    assert (told.code, told.error["code"]) == (7, code)
    assert shell.run("migrate", "--json").error["code"] == code
    assert shell.store.read_bytes() == content


@pytest.fixture
def packet(shell: Shell) -> Path:
    run_id = shell.good("invoke", "github.repo.fetch", f"repo={REPOSITORY}")["run_id"]
    shell.good("review", "export", run_id, "-o", "packet.json")
    return shell.folder / "packet.json"


def verdict(shell: Shell, trust: str | None = ".interlock/trust.json") -> str:
    told = shell.run("review", "verify", "packet.json", *(() if trust is None else ("--trust", trust)), "--json")
    assert told.code == (0 if told.json["ok"] else 6)
    return told.json["status"]


def test_a_packet_that_is_truncated_altered_or_newer_is_not_verified(shell: Shell, packet: Path):
    assert verdict(shell) == "verified"
    whole = packet.read_bytes()
    packet.write_bytes(whole[: len(whole) // 2])
    assert verdict(shell) == "malformed"
    packet.write_bytes(whole.replace(b"interlock.packet/v1", b"interlock.packet/v2", 1))
    assert verdict(shell) == "newer_version"
    packet.write_bytes(whole.replace(b'"completed"', b'"cancelled"', 1))
    assert verdict(shell) == "altered"
    said = shell.run("review", "verify", "packet.json").out
    assert "event" in said
    assert "Do not rely on it." in said


def test_a_packet_signed_by_another_installation_is_not_verified(shell: Shell, packet: Path):
    other = shell.folder / "other"
    other.mkdir()
    stranger = Shell(other, shell.service)
    stranger.good("init")
    assert verdict(shell, trust="other/.interlock/trust.json") == "wrong_signer"
    assert verdict(shell, trust=None) == "intact_signer_unknown"


def test_a_packet_is_verified_without_store_settings_or_key(shell: Shell, packet: Path):
    away = shell.folder / "away"
    away.mkdir()
    (away / "interlock.toml").write_text("this is not [[ toml")
    (away / "packet.json").write_bytes(packet.read_bytes())
    stranger = Shell(away, shell.service)
    assert verdict(stranger, trust="../.interlock/trust.json") == "verified"
    assert sorted(path.name for path in away.iterdir()) == ["interlock.toml", "packet.json"]


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"contract": "interlock.trust/v1", "keys": []}', json.dumps({"keys": 1}), "twice"],
)
def test_a_trust_file_that_is_none_is_refused(shell: Shell, packet: Path, content: str):
    if content == "twice":  # the file of this installation, with a second list of keys in front
        own = (shell.folder / ".interlock" / "trust.json").read_text()
        content = own.replace("{", '{"keys": [],', 1)
    (shell.folder / "trust.json").write_text(content)
    told = shell.run("review", "verify", "packet.json", "--trust", "trust.json", "--json")
    assert (told.code, told.error["code"]) == (2, "invalid_trust")


ASTRAY = """\
[policy]
default = "allow"
[[policy.rules]]
id = "x"
then = "deny"
capability = "github.git.ref.delte"
"""
TOLD = "capability: rule 'x': no capability that is installed is 'github.git.ref.delte'; did you mean 'github.git.ref.delete'?"


def test_a_misspelt_rule_lets_nothing_through(shell: Shell):
    shell.write_settings(ASTRAY)
    message = refused(
        shell, "invoke", "github.git.ref.delete", f"repo={REPOSITORY}", "ref=refs/heads/main", code="rule_astray"
    )
    path = shell.folder / "interlock.toml"
    line = next(at for at, text in enumerate(path.read_text().splitlines(), 1) if text.startswith("capability"))
    assert f"{path}:{line}:1: {TOLD}" in message
    assert f"{path}:{line}:1: {TOLD}" in shell.run("doctor").out
    assert shell.run("doctor").code == 2
    assert shell.good("runs", "list")["runs"] == []
    shell.write_settings(ASTRAY + "ahead = true\n")
    assert shell.run("doctor").code == 0
    assert shell.good("invoke", "github.repo.fetch", f"repo={REPOSITORY}")["state"] == "completed"


def test_a_rule_for_what_is_not_installed_is_pointed_out(shell: Shell):
    shell.write_settings(ASTRAY.replace("github.git.ref.delte", "linear.*"))
    told = shell.run("doctor")
    assert told.code == 0
    assert "capability: rule 'x': no capability that is installed is 'linear.*'" in told.out
    assert shell.good("invoke", "github.repo.fetch", f"repo={REPOSITORY}")["state"] == "completed"


def test_a_token_that_was_pasted_for_a_name_is_not_said_again(shell: Shell):
    for pasted in ("ghp_pasted0token", "a-token-for-trying"):
        told = shell.run("connect", "github", "--token-env", pasted)
        assert told.code == 2
        assert pasted not in told.out + told.err


@pytest.mark.parametrize("seconds", ["nan", "inf", "1e300", "-2", "0", "3601"])
def test_a_timeout_that_is_none(shell: Shell, seconds: str):
    told = shell.run(*CREATE, "--timeout", seconds)
    assert told.code == 2
    assert "timeout must be above 0 and at most 3600 seconds" in told.err


def test_a_whole_number_has_one_spelling(shell: Shell):
    shell.service.add_issues("acme/rocket", 1)
    told = shell.good("invoke", "github.issue.fetch", "repo=acme/rocket", "issue_number:=1.0")
    assert told["output"]["number"] == 1
