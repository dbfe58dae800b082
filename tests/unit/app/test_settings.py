"""Settings: which source wins, and what a mistake is told."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import pydantic
import pytest

from interlock import app, budgets, catalog, policy
from interlock.app import mistakes, provided


def written(folder: Path, text: str) -> app.SettingsFile:
    (folder / app.FILE_NAME).write_text(text)
    return app.read_file(folder / app.FILE_NAME)


def test_defaults_are_one_local_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = app.load(None)
    assert settings.store_url == str(tmp_path / ".interlock" / "interlock.db")
    assert settings.blobs_url == str(tmp_path / ".interlock" / "blobs")
    assert (settings.tenant, settings.environment) == ("default", "dev")
    assert settings.actor.startswith("local:")


def test_a_flag_beats_the_environment_which_beats_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(
        tmp_path, 'store = "f.db"\ntenant = "file"\nactor = "file"\n[execution]\nretry_wait = 1\nowner_lease = 2\n'
    )
    monkeypatch.setenv("INTERLOCK_TENANT", "environment")
    monkeypatch.setenv("INTERLOCK_ACTOR", "environment")
    monkeypatch.setenv("INTERLOCK_EXECUTION__RETRY_WAIT", "3")
    settings = app.load(file, {"actor": "flag"})
    assert (settings.actor, settings.tenant, settings.store_url) == ("flag", "environment", str(tmp_path / "f.db"))
    assert (settings.execution.retry_wait, settings.execution.owner_lease) == (3, 2)


def test_the_nearest_file_upwards_is_found(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert app.find_file(tmp_path / "a" / "b") == app.find_file(tmp_path.parent)
    (tmp_path / app.FILE_NAME).touch()
    assert app.find_file(tmp_path / "a" / "b") == tmp_path / app.FILE_NAME
    (tmp_path / "a" / app.FILE_NAME).touch()
    assert app.find_file(tmp_path / "a" / "b") == tmp_path / "a" / app.FILE_NAME


def test_all_typos_are_told_at_once_with_suggestions(tmp_path: Path) -> None:
    file = written(tmp_path, 'stor = "x"\n[execution]\nowner_leese = 3\nretry_wait = -1\n')
    with pytest.raises(app.InvalidSettings) as caught:
        app.load(file)
    path = tmp_path / app.FILE_NAME
    assert caught.value.message.splitlines()[1:] == [
        f"  {path}:1:1: stor: unknown setting; did you mean 'store'?",
        f"  {path}:3:1: execution.owner_leese: unknown setting; did you mean 'owner_lease'?",
        f"  {path}:4:1: execution.retry_wait: must be a number from 0 to 300, not -1",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tenant = 5", ":1:1: tenant: must be a text, not 5"),
        ('roles = "admin"', ":1:1: roles: must be a list of texts"),
        ('roles = ["admin", ""]', ":1:1: roles[1]: must be 1 to 200 printable"),
        ('environment = ""', ":1:1: environment: must be 1 to 200 printable characters"),
        ('actor = "a\\nb"', ":1:1: actor: must be 1 to 200 printable characters"),
        ('store = "a\\u0000b"', ":1:1: store: must be a path or an address, without a zero character"),
        ('output = "plian"', ":1:1: output: must be auto or plain; did you mean 'plain'?"),
        (
            'execution.places = "ssh://a@b"',
            ":1:1: execution.places: must be a list of tables, each under [[execution.places]]",
        ),
        (
            "[execution]\nplaces = {url = 'guest://a:1'}",
            ":2:1: execution.places: must be a list of tables, each under [[execution.places]], not a table",
        ),
        ("execution.places = ['ssh://a@b']", ":1:1: execution.places[0]: must be a table"),
        ("approvals = 3", ":1:1: approvals: must be a table, not 3"),
        ("[approvals]\nself_review = []", ":2:1: approvals.self_review: must be true or false, not a list"),
        ("[approvals]\nexpires_after = 0", ": must be a number above 0 and at most 2592000, not 0"),
        ("[execution]\nowner_lease = nan", ": must be a number from 1 to 300, not nan"),
        ("[execution]\ninline_bytes = 0.5", ": must be a whole number from 0 to 1048576, not 0.5"),
        (
            '[execution]\negress_allow = [\n"::1", "a b"]',
            ":2:1: execution.egress_allow[1]: must be host:port, [address]",
        ),
        ("owner_lease = 3", ":1:1: owner_lease: unknown setting; did you mean 'execution.owner_lease'?"),
        ("[[rules]]\nid = 'x'", ":1:1: rules: unknown setting; did you mean 'policy.rules'?"),
        ("oauth = 5", ":1:1: oauth: must be a table, not 5"),
        ("[oauth]\nx = 5", ":2:1: oauth.x: must be a table, not 5"),
        ('[oauth.x]\nkey_id = "a"', ":1:1: oauth.x.client_id: is missing"),
        ("[oauth.x]\nclient_id = 5", ":2:1: oauth.x.client_id: must be a text, not 5"),
        (
            '[oauth.x]\nclient_id = "a"\nkey_idd = "b"',
            ":3:1: oauth.x.key_idd: unknown setting; did you mean 'key_id'?",
        ),
        ('[oauth."a\\nb"]\nclient_id = "a"', ": must be 1 to 200 printable characters"),
        ("[execution]\nself_review = true", ":2:1: execution.self_review: unknown setting; did you mean 'approvals"),
    ],
)
def test_a_wrong_value_is_told_with_its_line_and_what_is_expected(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(app.InvalidSettings) as caught:
        app.load(written(tmp_path, text))
    assert told in caught.value.message
    assert len(caught.value.problems) == 1


class Shelves(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    shelves: Mapping[Annotated[str, pydantic.Field(pattern="^[a-z]+$")], Mapping[str, int]] = {}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"Abc": {}}, "shelves.Abc: is no name that can stand here: string should match pattern '^[a-z]+$'"),
        ({"abc": 5}, "shelves.abc: must be a table, not 5"),
        ({"abc": {"books": True}}, "shelves.abc.books: must be a whole number, not true"),
    ],
)
def test_names_of_which_a_pattern_is_wanted_are_told(given: object, told: str) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        Shelves.model_validate({"shelves": given}, strict=True)
    assert [str(each) for each in mistakes.problems(Shelves, caught.value.errors(), also=())] == [told]


@pytest.mark.parametrize(
    "table",
    ["app.agents", "app.workflows", "oauth", "mcp", "memory.config", "inference.providers", "inference.fallbacks"],
)
def test_a_wrong_name_in_a_table_of_free_names_is_told(tmp_path: Path, table: str) -> None:
    with pytest.raises(app.InvalidSettings) as caught:
        app.load(written(tmp_path, f'[{table}]\n"A\\u0000" = "x"\n'))
    assert f"{table}.A" in caught.value.message


def test_settings_that_are_made_by_hand_raise_no_foreign_error() -> None:
    with pytest.raises(app.InvalidSettings, match="tenant: must be 1 to 200 printable characters"):
        app.Settings(tenant="")


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"a = 1\nb = ", ":2: not TOML"), (b"\xff\xfe", "not UTF-8"), (b"x" * 262_145, "the limit is 262144")],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / app.FILE_NAME).write_bytes(content)
    with pytest.raises(app.InvalidSettings, match=told):
        app.read_file(tmp_path / app.FILE_NAME)
    with pytest.raises(app.InvalidSettings, match=r"missing\.toml: cannot be read: No such file"):
        app.read_file(tmp_path / "missing.toml")


def test_rules_come_from_the_settings_file_or_from_their_own(tmp_path: Path) -> None:
    text = '[policy]\ndefault = "deny"\n[[budgets]]\nname = "calls"\nper = "tenant"\nconcurrency = 2\n'
    file = written(tmp_path, text)
    judged, limits = provided.read_rules(app.load(file), file)
    assert judged.default is policy.Effect.DENY
    assert [limit.name for limit in limits] == ["calls"]
    (tmp_path / "rules.yaml").write_text("policy:\n  default: allow\n")
    judged, limits = provided.read_rules(app.load(file, {"policy_file": "rules.yaml"}), file)
    assert (judged.default, limits) == (policy.Effect.ALLOW, ())
    assert provided.read_rules(app.load(None), None) == (policy.DEFAULT, ())


def test_a_policy_typo_is_told_with_its_line(tmp_path: Path) -> None:
    file = written(tmp_path, '[policy]\ndefualt = "deny"\n')
    with pytest.raises(policy.InvalidPolicy) as caught:
        provided.read_rules(app.load(file), file)
    assert "interlock.toml:2" in caught.value.message
    assert "default" in caught.value.message
    file = written(tmp_path, "[[budgets]]\nname = 'x'\nper = 'planet'\nconcurrency = 1\n")
    with pytest.raises(budgets.InvalidBudget, match=r"interlock\.toml:3"):
        provided.read_rules(app.load(file), file)


def test_files_that_the_settings_name_must_be_there(tmp_path: Path) -> None:
    file = written(tmp_path, 'policy_file = "no.yaml"\n[connectors]\nmanifests = ["no.json"]\n')
    settings = app.load(file)
    with pytest.raises(provided.FileUnreadable, match="policy file"):
        provided.read_rules(settings, file)
    _, known = provided.read_catalog(settings)
    assert [(each.entry_point, each.code) for each in known.problems] == [
        (str(tmp_path / "no.json"), "file_unreadable")
    ]
    with pytest.raises(catalog.ConnectorBroken, match=r"cannot read the manifest .*no\.json"):
        known.fetch("acme.thing.fetch")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("INTERLOCK_STOER", "INTERLOCK_STORE"),
        ("interlock_stoer", "INTERLOCK_STORE"),
        ("INTERLOCK_STORE_URL", "INTERLOCK_STORE"),
        ("INTERLOCK_STORE__URL", "INTERLOCK_STORE"),
        ("INTERLOCK_ENV", "INTERLOCK_ENVIRONMENT"),
        ("INTERLOCK_TENNANT", "INTERLOCK_TENANT"),
        ("INTERLOCK_POLICY", "INTERLOCK_POLICY_FILE"),
        ("INTERLOCK_KEYFILE", "INTERLOCK_KEY_FILE"),
        ("INTERLOCK_EXECUTION_RETRY_WAIT", "INTERLOCK_EXECUTION__RETRY_WAIT"),
        ("INTERLOCK_APROVALS__SELF_REVIEW", "INTERLOCK_APPROVALS__SELF_REVIEW"),
        ("INTERLOCK_KYE", "INTERLOCK_KEY"),
        ("INTERLOCK_EGRESS_ALLOW", "INTERLOCK_EXECUTION__EGRESS_ALLOW"),
    ],
)
def test_a_misspelt_variable_is_told_with_the_nearest(monkeypatch: pytest.MonkeyPatch, name: str, meant: str) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(app.InvalidSettings) as caught:
        app.load(None)
    assert f"{name}: unknown setting; did you mean {meant!r}?" in caught.value.message
    assert caught.value.details["problems"] == [
        {"path": [], "source": name, "line": None, "column": None, "problem": "unknown setting", "suggestion": meant}
    ]


@pytest.mark.parametrize(
    "name",
    [
        "INTERLOCK_KEY",
        "INTERLOCK_KEY_FILE",
        "INTERLOCK_DEBUG",
        "INTERLOCK_LIVE_GITHUB_TOKEN",
        "INTERLOCK_TESTING_CONTROL_SECRET",
        "INTERLOCK_VERSION",  # an image's
        "INTERLOCK_SERVICE_HOST",  # Kubernetes sets these three for a service that is called interlock
        "INTERLOCK_PORT",
        "INTERLOCK_PORT_8790_TCP_ADDR",
        "INTERLOCKED_STORE",
        "_INTERLOCK_COMPLETE",
    ],
)
def test_other_variables_are_nobodys_business(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    app.load(None)


def test_a_whole_table_may_stand_in_one_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_EXECUTION", '{"retry_wait": 7}')
    assert app.load(None).execution.retry_wait == 7


def test_our_oauth_clients_may_stand_in_one_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_OAUTH", '{"acme": {"client_id": "here"}}')
    settings = app.load(written(tmp_path, '[oauth.acme]\nclient_id = "file"\n[oauth.other]\nclient_id = "o"\n'))
    assert {name: client.client_id for name, client in settings.oauth.items()} == {"acme": "here", "other": "o"}


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_STOER", "")
    app.load(None)


def test_typos_of_all_sources_are_told_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_STOER", "x")
    monkeypatch.setenv("INTERLOCK_EXECUTION__RETRYWAIT", "3")
    with pytest.raises(app.InvalidSettings) as caught:
        app.load(written(tmp_path, 'tenannt = "x"\n'))
    told = caught.value.message
    for expected in (
        "tenannt: unknown setting",
        "INTERLOCK_EXECUTION__RETRYWAIT: unknown setting; did you mean 'retry_wait'?",
        "INTERLOCK_STOER: unknown setting",
    ):
        assert expected in told


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("INTERLOCK_ROLES", "admin", "INTERLOCK_ROLES: must be a JSON list; the value is not JSON: unexpected char"),
        ("INTERLOCK_EXECUTION__EGRESS_ALLOW", "127.0.0.1", "INTERLOCK_EXECUTION__EGRESS_ALLOW: must be a JSON list; "),
        ("INTERLOCK_EXECUTION__EGRESS_ALLOW", "[1]", "INTERLOCK_EXECUTION__EGRESS_ALLOW: [0]: must be a text, not 1"),
        ("INTERLOCK_EXECUTION", "fast", "INTERLOCK_EXECUTION: must be a JSON object; the value is not JSON"),
        ("INTERLOCK_EXECUTION", "[3]", "INTERLOCK_EXECUTION: must be a JSON object"),
        (
            "INTERLOCK_EXECUTION",
            '{"a":1,"a":2}',
            "INTERLOCK_EXECUTION: must be a JSON object; value $: the key 'a' stands",
        ),
        (
            "INTERLOCK_EXECUTION",
            '{"owner_leese": 3}',
            "INTERLOCK_EXECUTION: owner_leese: unknown setting; did you mean",
        ),
        (
            "INTERLOCK_EXECUTION",
            '{"owner_lease": 0}',
            "INTERLOCK_EXECUTION: owner_lease: must be a number from 1 to 300",
        ),
        (
            "INTERLOCK_EXECUTION__OWNER_LEASE",
            "long",
            "INTERLOCK_EXECUTION__OWNER_LEASE: must be a number from 1 to 300",
        ),
        ("INTERLOCK_OAUTH", "acme", "INTERLOCK_OAUTH: must be a JSON object; the value is not JSON"),
        ("INTERLOCK_OAUTH", '{"x": {}}', "INTERLOCK_OAUTH: x.client_id: is missing"),
        ("INTERLOCK_OUTPUT", "loud", "INTERLOCK_OUTPUT: must be auto or plain"),
        ("INTERLOCK_ENVIRONMENT", "a\nb", "INTERLOCK_ENVIRONMENT: must be 1 to 200 printable characters"),
    ],
)
def test_a_variable_of_the_wrong_kind_is_told(monkeypatch: pytest.MonkeyPatch, name: str, text: str, told: str) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(app.InvalidSettings) as caught:
        app.load(None, {"tenant": "x"})
    assert caught.value.message.partition("\n  ")[2].startswith(told)
    assert text not in caught.value.message.partition(":")[2]


def test_sources_are_joined_setting_by_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(
        tmp_path, "[execution]\nretry_wait = 1\nowner_lease = 2\ninline_bytes = 3\n[approvals]\nself_review = true\n"
    )
    monkeypatch.setenv("INTERLOCK_EXECUTION__RETRY_WAIT", "10")
    monkeypatch.setenv("INTERLOCK_EXECUTION", '{"retry_wait": 20, "owner_lease": 30}')
    monkeypatch.setenv("INTERLOCK_ROLES", '["approver", "auditor"]')
    monkeypatch.setenv("INTERLOCK_APPROVALS__SELF_REVIEW", "false")
    settings = app.load(file, {"execution": {"egress_allow": ["::1"]}})
    assert settings.execution.model_dump() == {
        "owner_lease": 30, "egress_allow": ("::1",), "places": (), "inline_bytes": 3, "retry_wait": 10,
        "trace_to": (),
    }  # fmt: skip
    assert settings.roles == {"approver", "auditor"}
    assert not settings.approvals.self_review


def test_settings_that_are_made_by_hand_read_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_TENANT", "x")
    assert app.Settings().tenant == "default"


@pytest.mark.parametrize("store", ["x.db", "sqlite:///x.db", "postgresql://host/db"])
def test_blobs_in_memory_are_for_a_store_in_memory(tmp_path: Path, store: str) -> None:
    with pytest.raises(app.InvalidSettings, match="blobs: must outlive the process as the store does"):
        app.load(written(tmp_path, f'store = "{store}"\nblobs = ":memory:"\n'))
    assert app.load(written(tmp_path, 'store = ":memory:"\nblobs = ":memory:"\n')).blobs_url == ":memory:"


def test_every_spelling_of_a_relative_store_starts_at_the_settings_file(tmp_path: Path) -> None:
    plain = app.load(written(tmp_path, 'store = "data/x.db"\n'))
    spelled = app.load(written(tmp_path, 'store = "sqlite:///data/x.db"\nblobs = "elsewhere"\n'))
    assert spelled.store_url == f"sqlite:///{plain.store_url}" == f"sqlite:///{tmp_path}/data/x.db"
    assert plain.blobs_url == f"{tmp_path}/data/blobs"
    assert spelled.blobs_url == f"{tmp_path}/elsewhere"
    whole = app.load(written(tmp_path, 'store = "sqlite:////var/x.db"\n'))
    assert (whole.store_url, whole.blobs_url) == ("sqlite:////var/x.db", "/var/blobs")
    for memory in (":memory:", "sqlite:///:memory:"):
        settings = app.load(written(tmp_path, f'store = "{memory}"\n'))
        assert (settings.store_url, settings.blobs_url) == (memory, ":memory:")


def test_what_a_memory_is_opened_with_is_not_printed(tmp_path: Path) -> None:
    settings = app.load(
        written(tmp_path, '[memory]\nprovider = "postgres"\nconfig = {url = "postgresql://u:hunter2@h/d"}\n')
    )
    assert settings.memory.config == {"url": "postgresql://u:hunter2@h/d"}
    assert "hunter2" not in repr(settings)
