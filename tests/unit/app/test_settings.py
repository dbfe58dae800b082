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
