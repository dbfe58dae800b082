"""What an operator writes wrongly: told all at once, in our words, with the place and what is expected there."""

import pytest

from fix_cli import Shell

SETTINGS = """\
stor = "x"
tenant = 5

[execution]
owner_leese = 3
owner_lease = "long"

[approvls]
self_review = true

[policy]
defualt = "deny"
[[budgets]]
nmae = "few"
per = "tenat"
concurrency = 1
"""

PER = "budgets[0].per: 'tenat' is not one of connection, tenant, capability, agent, session; did you mean 'tenant'?"


def lines(text: str) -> list[str]:
    """What follows the first line of a complaint, up to the next step."""
    return [line.strip() for line in text.partition("\nnext: ")[0].splitlines()[1:]]


def test_all_that_is_wrong_with_the_settings_is_told_at_once(shell: Shell):
    (shell.folder / "interlock.toml").write_text(SETTINGS)
    environment = {
        "INTERLOCK_STROE": "x",
        "INTERLOCK_APPROVALS": '{"self_review": 1, "self_review": 2}',
        "INTERLOCK_EXECUTION__RETRY_WAIT": "-1",
    }
    told = shell.run("runs", "list", environment=environment)
    assert (told.code, told.out) == (2, "")
    path = shell.folder / "interlock.toml"
    assert lines(told.err) == [
        f"{path}:1:1: stor: unknown setting; did you mean 'store'?",
        f"{path}:2:1: tenant: must be a text, not 5",
        f"{path}:5:1: execution.owner_leese: unknown setting; did you mean 'owner_lease'?",
        f"{path}:6:1: execution.owner_lease: must be a number from 1 to 300",
        f"{path}:8:1: approvls: unknown setting; did you mean 'approvals'?",
        f"{path}:12:1: policy.defualt: unknown key; did you mean 'default'?",
        f"{path}:14:1: budgets[0].nmae: unknown key; did you mean 'name'?",
        f"{path}:15:1: {PER}",
        "INTERLOCK_EXECUTION__RETRY_WAIT: must be a number from 0 to 300",
        "INTERLOCK_APPROVALS: must be a JSON object; value $: the key 'self_review' stands twice",
        "INTERLOCK_STROE: unknown setting; did you mean 'INTERLOCK_STORE'?",
    ]
    doctor = shell.run("doctor", environment=environment)
    assert [each for each in doctor.out.splitlines() if each.startswith("  ")] == [
        f"  {each}" for each in lines(told.err)
    ]


def test_policy_and_budgets_that_are_both_wrong_are_told_at_once(shell: Shell):
    shell.write_settings('[policy]\ndefualt = "deny"\n[[budgets]]\nname = "few"\nper = "tenat"\nconcurrency = 1\n')
    told = shell.run("runs", "list")
    assert told.code == 2
    assert [each.partition(": ")[2] for each in lines(told.err)] == [
        "policy.defualt: unknown key; did you mean 'default'?",
        PER,
    ]


def test_a_store_that_ends_with_the_command_is_refused(shell: Shell):
    for command in (
        "init --config new.toml",
        "migrate",
        "runs list",
        "approvals approve apr_1",
        "invoke github.repo.fetch repo=a/b",
    ):
        for store in (":memory:", "sqlite:///:memory:"):
            told = shell.run("--store", store, *command.split(), "--json")
            assert (told.code, told.json["error"]["code"]) == (2, "store_not_kept"), command
    assert not (shell.folder / "new.toml").exists()


def test_a_flag_that_cannot_be_is_told_by_its_name(shell: Shell):
    told = shell.run("runs", "list", "--tenant", "", "--actor", "a\nb")
    assert lines(told.err) == [
        "--tenant: must be 1 to 200 printable characters",
        "--actor: must be 1 to 200 printable characters",
    ]
    assert told.code == 2
    assert shell.run("doctor", "--tenant", "", "--json").json["checks"][0]["check"] == "settings"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("default: allow\n", ":1:1: default: stands at the top of the file, and belongs below the key 'policy'"),
        ("polcy: {default: allow}\n", ":1:1: polcy: unknown key; did you mean 'policy'?"),
        ("- id: x\n", ":1:1: the file must hold a table of keys, of which one is 'policy'"),
        ("", ": policy: the file has no such key; default, reviewer, rules stand below it"),
    ],
)
def test_a_policy_file_without_policy_says_how_it_begins(shell: Shell, text: str, told: str):
    (shell.folder / "rules.yaml").write_text(text)
    answer = shell.run("runs", "list", environment={"INTERLOCK_POLICY_FILE": "rules.yaml"})
    assert answer.code == 2
    assert f"{shell.folder / 'rules.yaml'}{told}" in lines(answer.err)


MANIFEST = """\
contract: interlock.connector/v1
connector_id: Acme
display_name: Acme
operations:
  - operation_id: issue.list
    effect: reed
    colour: red
  - operation_id: issue.fetch
"""


def test_all_that_is_wrong_with_a_manifest_is_told_with_its_line(shell: Shell):
    (shell.folder / "acme.yaml").write_text(MANIFEST)
    environment = {"INTERLOCK_CONNECTORS__MANIFESTS": '["acme.yaml"]'}
    told = shell.run("connectors", "list", environment=environment)
    assert told.code == 0
    found = [each.strip() for each in told.out.splitlines()]
    assert "version: it is missing" in found
    assert "line 2: connector_id: must be 1 to 63 lower-case letters, digits and _, a letter first" in found
    assert "line 5: operations[issue.list].description: it is missing" in found
    assert "line 6: operations[issue.list].effect: must be 'read', 'create', 'update', 'delete' or 'execute'" in found
    assert any(each.startswith("line 7: operations[issue.list].colour: there is no such key") for each in found)
    assert "line 8: operations[issue.fetch].effect: it is missing" in found
    (shell.folder / "acme.yaml").write_text("contract: x\nname: 'cut\n")
    told = shell.run("connectors", "list", environment=environment)
    assert "$: line 3: it is not YAML: found unexpected end of stream" in told.out


HANDLED = """\
contract: interlock.connector/v1
connector_id: acme
version: 1.0.0
display_name: Acme
description: Of a file, with code.
auth: [{ profile_id: none, grant: { type: none }, base_url: "https://example.com" }]
operations:
  - operation_id: thing.go
    display_name: Go
    description: Go.
    effect: read
    input_schema: { type: object, additionalProperties: false, properties: {} }
    output_schema: { type: object, properties: {} }
    handler: code_of_acme:go
"""


def test_a_file_that_names_code_is_not_called_data(shell: Shell):
    (shell.folder / "acme.yaml").write_text(HANDLED)
    environment = {"INTERLOCK_CONNECTORS__MANIFESTS": '["acme.yaml"]'}
    listed = shell.good("connectors", "list", environment=environment)["connectors"]
    assert {each["connector_id"]: each["trusted_in_process"] for each in listed} == {"acme": True, "github": True}
    found = {each["check"]: each for each in shell.run("doctor", "--json", environment=environment).json["checks"]}
    lost = "; code_of_acme:go cannot be loaded: ModuleNotFoundError: No module named 'code_of_acme'"
    assert found["connector acme"]["found"] == f"1.0.0, 1 operations; is trusted inside this process{lost}"
    assert found["connector acme"]["health"] == "warn"
    isolated = {**environment, "INTERLOCK_CONNECTORS__ISOLATED": '["acme"]'}
    found = {each["check"]: each for each in shell.run("doctor", "--json", environment=isolated).json["checks"]}
    assert found["connector acme"]["found"] == "1.0.0, 1 operations; its handlers run in a child process"


def test_a_run_did_not_happen_and_happen(shell: Shell):
    for seen in (["--happened", "--not-happened"], ["--not-happened", "--happened"]):
        told = shell.run("runs", "settle", "run_1", *seen, "--json")
        assert (told.code, told.error["code"]) == (2, "usage")
