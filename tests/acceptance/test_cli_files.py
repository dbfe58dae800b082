"""Files that commands write: never over another one, never into a folder that is not there, whole or not at all."""

import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fix_cli import REPOSITORY, Shell


@pytest.fixture(name="writers")
def _writers(shell: Shell) -> list[tuple[str, ...]]:
    """The commands that write a file; `-o FILE` is to be added."""
    shell.write_settings('[policy]\ndefault = "allow"\n')
    run_id = shell.good("invoke", "github.repo.fetch", f"repo={REPOSITORY}")["run_id"]
    artifact_id = shell.good("runs", "show", run_id)["artifacts"][0]["artifact_id"]
    return [("review", "export", run_id), ("review", "trust"), ("artifacts", "get", artifact_id)]


def test_a_file_that_is_there_is_replaced_only_by_force(shell: Shell, writers: Sequence[tuple[str, ...]]):
    path = shell.folder / "out"
    for command in writers:
        path.write_text("mine")
        told = shell.run(*command, "-o", "out")
        assert (told.code, told.out) == (2, "")
        assert "out is there already" in told.err
        assert "--force" in told.err
        assert shell.run(*command, "-o", "out", "--json").error["code"] == "file_refused"
        assert path.read_text() == "mine"
        shell.good(*command, "-o", "out", "--force")
        assert path.read_bytes().startswith(b"{")


def test_a_folder_that_is_not_there_is_told_and_not_made(shell: Shell, writers: Sequence[tuple[str, ...]]):
    for command in writers:
        told = shell.run(*command, "-o", "no/such/out")
        assert (told.code, told.out) == (2, "")
        assert "there is no folder no/such" in told.err
        assert not (shell.folder / "no").exists()
        assert "Is a directory" in shell.run(*command, "-o", ".interlock", "--force").err


def test_a_device_a_link_and_stdout_take_what_they_get(shell: Shell, writers: Sequence[tuple[str, ...]]):
    (shell.folder / "real").write_text("old")
    (shell.folder / "link").symlink_to("real")
    for command in writers:
        shell.good(*command, "-o", "/dev/null")
        shell.good(*command, "-o", "link", "--force")
        assert (shell.folder / "link").is_symlink()
        assert (shell.folder / "real").read_text().startswith("{")
        assert shell.run(*command, "-o", "-").out.startswith("{")


def test_with_json_stdout_gets_one_document(shell: Shell, writers: Sequence[tuple[str, ...]]):
    for command in writers:
        assert isinstance(shell.run(*command, "-o", "-", "--json").json, dict)


def test_a_full_disk_is_told(shell: Shell, writers: Sequence[tuple[str, ...]]):
    for command in writers:
        told = shell.run(*command, "-o", "/dev/full")
        assert (told.code, told.out) == (2, "")
        assert "No space left on device" in told.err


def test_settings_go_only_into_a_folder_that_is_there(bare_shell: Shell):
    told = bare_shell.run("init", "--config", "no/such/interlock.toml")
    assert told.code == 2
    assert "there is no folder" in told.err
    assert list(bare_shell.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://{user}:hunter2@{host}/{name}?password=hunter2", "postgresql://{user}:***@{host}/{name}"),
        (
            "postgresql:///{name}?host={host}&user={user}&password=hunter2",
            "postgresql:///{name}?host={host}&user={user}",
        ),
    ],
)
def test_an_address_is_shown_whole_and_without_its_password(url: str, shown: str):
    from interlock import app

    parts = {"user": "me", "host": "db.internal", "name": "interlock"}
    settings = app.Settings(store=url.format(**parts))
    assert app.show_store(settings) == shown.format(**parts)


def test_an_empty_store_is_told_how_to_be_filled(shell: Shell):
    fresh = shell.folder / "fresh.db"
    sqlite3.connect(fresh).execute("VACUUM")
    told = shell.run("runs", "list", "--store", str(fresh), "--json")
    assert told.code == 7
    assert "backup" not in told.error["next_step"]
    assert Path(fresh).exists()


def test_doctor_looks_at_where_large_content_is_kept(shell: Shell):
    def blobs(**environment: str) -> dict[str, Any]:
        told = shell.run("doctor", "--json", environment=environment)
        found = next(each for each in told.json["checks"] if each["check"] == "blobs")
        assert (told.code, found["health"]) in ((0, "ok"), (0, "warn"), (7, "fail"))
        return found

    assert "nothing is kept there yet" in blobs()["found"]
    assert blobs(INTERLOCK_BLOBS="/proc/nope")["error"]["code"] == "blob_unavailable"
    shell.good(
        "invoke", "github.repo.fetch", "repo=acme/rocket", environment={"INTERLOCK_EXECUTION__INLINE_BYTES": "0"}
    )
    folder = shell.store.parent / "blobs"
    assert "can be read" in blobs()["found"]
    folder.chmod(0o755)
    assert (blobs()["health"], f"chmod -R go= {folder}" in blobs()["found"]) == ("warn", True)
    folder.chmod(0o700)
    [kept] = [path for path in folder.rglob("*") if path.is_file()]
    kept.write_bytes(b"altered")
    assert blobs()["error"]["code"] == "artifact_damaged"
    shutil.rmtree(folder)
    assert blobs()["error"]["code"] == "blob_missing"
    assert not list(shell.store.parent.glob("**/.interlock-*"))
