"""A store that may not be written: all that reads goes on, and all that writes refuses before it does anything."""

import shutil
from pathlib import Path

from fix_cli import REPOSITORY, Shell
from fix_rights import owned_by_the_unprivileged, unprivileged

CREATE = ("invoke", "github.issue.create", f"repo={REPOSITORY}", "title=Late")
RETOKEN = ("connect", "github", "--token-env", "TOKEN")


def test_a_store_that_may_not_be_written_is_read(shell: Shell, everyones_folder: Path):
    shell.write_settings('[policy]\ndefault = "allow"\n')
    run_id = shell.good("invoke", "github.repo.fetch", f"repo={REPOSITORY}")["run_id"]
    shell.good("review", "trust", "-o", "trust.json")
    artifact_id = shell.good("runs", "show", run_id)["artifacts"][0]["artifact_id"]
    there = everyones_folder / "there"
    shutil.copytree(shell.folder, there)
    owned_by_the_unprivileged(there)
    reader = Shell(there, shell.service)
    reader.store.chmod(0o444)
    reader.store.parent.chmod(0o555)
    asked = len(shell.service.requests())
    with unprivileged():
        assert [each["run_id"] for each in reader.good("runs", "list")["runs"]] == [run_id]
        reader.good("runs", "events", run_id)
        reader.good("artifacts", "get", artifact_id, "-o", "artifact.json")
        reader.good("approvals", "list")
        reader.good("connections", "list")
        reader.good("review", "export", run_id, "-o", "packet.json")
        reader.good("review", "verify", "packet.json", "--trust", "trust.json")
        for command in (CREATE, ("connections", "revoke", "github"), (*RETOKEN, "--base-url", shell.service.url)):
            told = reader.run(*command)
            assert (told.code, told.out) == (7, ""), told
            assert "may not be written by this user" in told.err
            assert told.err.startswith("error:"), "one clear sentence, and no warnings before it"
        assert reader.run("doctor").code == 7
    assert len(shell.service.requests()) == asked, "a command that could keep nothing asked the service"
