"""Settings: which source wins, and what a mistake is told."""

from pathlib import Path

import pytest

from interlock import app, budgets, policy
from interlock.app import provided


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
    assert app.find_file(tmp_path / "a" / "b") is None or not str(app.find_file(tmp_path / "a")).startswith(
        str(tmp_path)
    )
    (tmp_path / app.FILE_NAME).touch()
    assert app.find_file(tmp_path / "a" / "b") == tmp_path / app.FILE_NAME
    (tmp_path / "a" / app.FILE_NAME).touch()
    assert app.find_file(tmp_path / "a" / "b") == tmp_path / "a" / app.FILE_NAME


def test_all_typos_are_told_at_once_with_suggestions(tmp_path: Path) -> None:
    file = written(tmp_path, 'stor = "x"\n[execution]\nowner_leese = 3\nretry_wait = -1\n')
    with pytest.raises(app.InvalidSettings) as caught:
        app.load(file)
    told = caught.value.message
    assert "stor: unknown setting; did you mean 'store'?" in told
    assert "execution.owner_leese: unknown setting; did you mean 'owner_lease'?" in told
    assert "execution.retry_wait" in told
    assert str(tmp_path) in told


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"a = ", "is not TOML"), (b"\xff\xfe", "is not UTF-8"), (b"x" * 1_048_577, "the limit is 1048576")],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / app.FILE_NAME).write_bytes(content)
    with pytest.raises(app.InvalidSettings, match=told):
        app.read_file(tmp_path / app.FILE_NAME)
    with pytest.raises(app.InvalidSettings, match="cannot read"):
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
    with pytest.raises(provided.FileUnreadable, match="manifest"):
        provided.read_manifests(settings)


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
    assert caught.value.details["problems"] == [{"path": name, "problem": "unknown setting", "suggestion": meant}]


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
        "execution.retrywait: unknown setting",
        "INTERLOCK_STOER: unknown setting",
    ):
        assert expected in told


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("INTERLOCK_ROLES", "admin", "INTERLOCK_ROLES: a JSON list is expected"),
        (
            "INTERLOCK_EXECUTION__EGRESS_ALLOW",
            "127.0.0.1",
            "INTERLOCK_EXECUTION__EGRESS_ALLOW: a JSON list is expected",
        ),
        ("INTERLOCK_EXECUTION__EGRESS_ALLOW", "[1]", "execution.egress_allow.0: "),
        ("INTERLOCK_EXECUTION", "fast", "INTERLOCK_EXECUTION: a JSON object is expected"),
        (
            "INTERLOCK_EXECUTION",
            '{"owner_leese": 3}',
            "execution.owner_leese: unknown setting; did you mean 'owner_lease'?",
        ),
        ("INTERLOCK_EXECUTION", "[3]", "INTERLOCK_EXECUTION: a JSON object is expected"),
        ("INTERLOCK_EXECUTION__OWNER_LEASE", "long", "execution.owner_lease: "),
        ("INTERLOCK_OUTPUT", "loud", "output: "),
    ],
)
def test_a_variable_of_the_wrong_kind_is_told(monkeypatch: pytest.MonkeyPatch, name: str, text: str, told: str) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(app.InvalidSettings) as caught:
        app.load(None, {"tenant": "x"})
    assert caught.value.message.startswith(told)
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
        "owner_lease": 30, "egress_allow": ("::1",), "inline_bytes": 3, "retry_wait": 10,
    }  # fmt: skip
    assert settings.roles == {"approver", "auditor"}
    assert not settings.approvals.self_review


def test_settings_that_are_made_by_hand_read_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_TENANT", "x")
    assert app.Settings().tenant == "default"
