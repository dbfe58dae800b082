"""`interlock keys`: keys are made, looked at and replaced at a shell, while connections go on to serve."""

import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from fix_cli import OTHER_TOKEN, REPOSITORY, Shell
from fix_roots import TOKEN as VAULT_TOKEN
from fix_roots import VAULT_KEY, Vault

OLD = bytes(range(32)).hex()


def works(shell: Shell, **environment: str) -> bool:
    told = shell.run("invoke", "github.repo.fetch", f"repo={REPOSITORY}", "--json", environment=environment)
    return (told.code, told.json.get("state")) == (0, "completed")


def states(shell: Shell, purpose: str) -> list[tuple[str, int]]:
    return [(key["state"], key["sealed"]) for key in shell.good("keys", "list")["keys"] if key["purpose"] == purpose]


def test_data_keys_are_replaced_and_everything_goes_on(any_shell: Shell):
    shell = any_shell
    assert states(shell, "data") == [("active", 1)]
    (ended,) = shell.good("keys", "rotate")["rotations"]
    assert (ended["tenant_id"], ended["total"], ended["resealed"], ended["unopened"]) == ("default", 1, 1, 0)
    assert ended["finished_at"]
    assert states(shell, "data") == [("active", 1), ("retired", 0)]
    assert works(shell)
    shown = shell.run("keys", "rotate").out
    assert "sealed anew" in shown.lower()
    assert states(shell, "data") == [("active", 1), ("retired", 0), ("retired", 0)]
    assert works(shell)


def test_only_the_named_tenants_keys_are_replaced(shell: Shell):
    shell.connect("--tenant", "other")
    assert len(shell.good("keys", "rotate", "--tenant", "other")["rotations"]) == 1
    kept = {key["tenant_id"]: key["state"] for key in reversed(shell.good("keys", "list")["keys"])}
    assert kept["other"] == "active"
    assert len(shell.good("keys", "list", "--tenant", "default")["keys"]) == 1
    assert len(shell.good("keys", "list", "--tenant", "other")["keys"]) == 2
    assert len(shell.good("keys", "rotate")["rotations"]) == 2


def test_a_signing_key_is_replaced_and_old_packets_verify(shell: Shell):
    run_id = shell.good("invoke", "github.repo.fetch", f"repo={REPOSITORY}")["run_id"]
    shell.good("review", "export", run_id, "-o", "old.json")
    renewed = shell.good("keys", "rotate", "--purpose", "signing")["signing_key_id"]
    assert states(shell, "signing") == [("active", 0), ("retired", 0)]
    run_id = shell.good("invoke", "github.repo.fetch", f"repo={REPOSITORY}")["run_id"]
    shell.good("review", "export", run_id, "-o", "new.json")
    before = shell.run("review", "verify", "new.json", "--trust", ".interlock/trust.json", "--json")
    assert (before.code, before.json["status"]) == (6, "wrong_signer")  # handed out before that key was made
    shell.good("review", "trust", "-o", "trust.json")
    for packet, signers in (("old.json", 1), ("new.json", 1)):
        verdict = shell.good("review", "verify", packet, "--trust", "trust.json")
        assert (verdict["status"], len(verdict["signers"])) == ("verified", signers)
    assert shell.good("review", "verify", "new.json", "--trust", "trust.json")["signers"] == [renewed]


def test_the_root_key_is_replaced_with_the_old_one_at_hand(shell: Shell):
    old = shell.folder / "config" / "interlock" / "root.key"
    made = shell.good("keys", "init", "--file", "new.key")
    assert stat.S_IMODE(Path(made["file"]).stat().st_mode) == 0o600
    new = {"INTERLOCK_KEY_FILE": made["file"]}
    both = {**new, "INTERLOCK_KEY_PREVIOUS_FILE": str(old)}
    alone = shell.run("keys", "rotate", "--root", "--json", environment=new)
    assert (alone.code, alone.error["code"]) == (2, "wrong_key")
    assert "INTERLOCK_KEY_PREVIOUS" in alone.error["next_step"]
    assert works(shell, **both)
    assert "previous root key" in shell.run("keys", "status", environment=both).out
    assert [each["found"].partition(":")[0] for each in rotations(shell, **both)] == [
        "the store is under the previous root key"
    ]
    told = shell.good("keys", "rotate", "--root", environment=both)
    assert (told["rewrapped"], told["root_id"]) == (2, made["root_id"])
    assert shell.good("keys", "rotate", "--root", environment=both)["rewrapped"] == 0
    assert works(shell, **new)
    assert shell.run("doctor", environment=new).code == 0
    late = shell.run("doctor", "--json")
    assert late.code == 2
    failed = next(check for check in late.json["checks"] if check["health"] == "fail")
    assert made["root_id"] in failed["found"]


def rotations(shell: Shell, **environment: str) -> list[Any]:
    """What the doctor says of keys that somebody is replacing."""
    checks = shell.good("doctor", environment=environment)["checks"]
    return [check for check in checks if check["check"] == "key rotation"]


def test_a_rotation_that_stopped_is_told_and_goes_on(shell: Shell):
    shell.connect("--name", "second")
    shell.connect("--tenant", "other")
    assert rotations(shell) == []
    change(shell, BEGUN)
    found = " ".join(each["found"] for each in rotations(shell))
    assert "the rotation of default stopped at 0 of 2 secrets" in found
    assert "the rotation of other stopped" in found
    assert [each["resealed"] for each in shell.good("keys", "status")["rotations"]] == [0, 0]
    shown = shell.run("keys", "status").out
    assert "not finished: 0 of 2 secrets" in shown
    assert "next: interlock keys rotate" in shown
    ended = shell.good("keys", "rotate")["rotations"]
    # Both that were begun, and no other.
    assert sorted(each["rotation_id"] for each in ended) == ["krt_default", "krt_other"]
    assert all(each["finished_at"] for each in ended)
    assert rotations(shell) == []


BEGUN = (
    "INSERT INTO key_rotations SELECT 'krt_' || tenant_id, tenant_id, key_id, 'credentials', '', 2, 0, 0, 0, 1, NULL"
    " FROM keys WHERE purpose = 'data'"
)
"""What a process leaves that is killed as soon as it has begun with every tenant."""


def test_status_works_without_the_root_key(shell: Shell):
    healthy = shell.good("keys", "status")
    assert (healthy["error"], healthy["sealed"]) == (None, {"active": 1})
    assert healthy["needed"] == healthy["root"]["root_id"]
    wrong = shell.run("keys", "status", "--json", environment={"INTERLOCK_KEY": OLD})
    assert (wrong.code, wrong.error["code"], wrong.json["sealed"]) == (2, "wrong_key", {"active": 1})
    (shell.folder / "config" / "interlock" / "root.key").unlink()
    missing = shell.run("keys", "status", "--json")
    assert (missing.code, missing.error["code"], missing.json["needed"]) == (2, "key_missing", healthy["needed"])
    assert healthy["needed"] in shell.run("keys", "status").out
    assert len(shell.good("keys", "list")["keys"]) == 2
    for arguments in (("rotate",), ("rotate", "--root"), ("rotate", "--purpose", "signing")):
        refused = shell.run("keys", *arguments, "--json")
        assert (refused.code, refused.error["code"]) == (2, "key_missing")


def test_a_root_key_is_made_once(bare_shell: Shell):
    first = bare_shell.good("keys", "init")
    assert first["made"]
    again = bare_shell.good("keys", "init")
    assert (again["made"], again["root_id"]) == (False, first["root_id"])
    bare_shell.good("init")
    assert bare_shell.good("keys", "status")["needed"] == first["root_id"]
    taken = bare_shell.run("keys", "init", "--file", first["file"], "--json")
    assert (taken.code, taken.error["code"]) == (2, "key_present")


@pytest.mark.parametrize("arguments", [("--root", "--purpose", "signing"), ("--purpose", "root")])
def test_what_does_not_go_together_is_refused(shell: Shell, arguments: tuple[str, ...]):
    told = shell.run("keys", "rotate", *arguments, "--json")
    assert (told.code, told.error["code"]) == (2, "usage")


def test_a_secret_that_does_not_open_is_counted(shell: Shell):
    shell.connect("--name", "second")
    change(shell, DAMAGED)
    (ended,) = shell.good("keys", "rotate")["rotations"]
    assert (ended["resealed"], ended["unopened"]) == (1, 1)
    assert shell.good("keys", "status")["sealed"] == {"active": 1, "retiring": 1}
    assert "1 under retiring keys" in shell.run("keys", "status").out
    assert "connect those services again" in shell.run("keys", "rotate").out
    shell.good("connect", "github", "--token-env", "OTHER_TOKEN", "--base-url", shell.service.url, "--name", "third")
    assert OTHER_TOKEN not in shell.run("keys", "list").out


DAMAGED = "UPDATE credentials SET ciphertext = x'00' WHERE rowid = (SELECT min(rowid) FROM credentials)"
"""One sealed row, as a bad disk would leave it."""


def change(shell: Shell, statement: str) -> None:
    """Change the store behind everybody's back."""
    with sqlite3.connect(shell.store) as session:
        session.execute(statement)
    session.close()


def test_a_store_of_which_everything_is_in_memory_is_refused(bare_shell: Shell):
    told = bare_shell.run("keys", "status", "--store", ":memory:", "--json")
    assert (told.code, told.error["code"]) == (2, "store_not_kept")


def test_a_store_goes_over_to_a_key_in_vault(shell: Shell, vault: Vault):
    old = shell.folder / "config" / "interlock" / "root.key"
    named = {
        "INTERLOCK_KEYS__ROOT": "vault-transit",
        "INTERLOCK_KEYS__VAULT_ADDRESS": vault.url,
        "INTERLOCK_KEYS__VAULT_KEY": VAULT_KEY,
        "VAULT_TOKEN": VAULT_TOKEN,
    }
    both = {**named, "INTERLOCK_KEY_PREVIOUS_FILE": str(old)}
    assert works(shell, **both)
    assert shell.good("keys", "rotate", "--root", environment=both)["root_id"] == "vault:transit/interlock"
    old.unlink()
    assert works(shell, **named)
    assert shell.run("doctor", environment=named).code == 0
    (shell.folder / "token").write_text(f"{VAULT_TOKEN}\n")
    filed = {**named, "VAULT_TOKEN": "", "INTERLOCK_KEYS__VAULT_TOKEN_FILE": "token"}
    assert works(shell, **filed)
    told = shell.run("doctor", "--json", environment={**named, "VAULT_TOKEN": ""})
    assert (told.code, told.json["checks"][-1]["error"]["code"]) == (2, "root_refused")
    vault.answer = (503, b"{}")
    told = shell.run("doctor", "--json", environment=named)
    assert (told.code, told.json["checks"][-1]["error"]["code"]) == (7, "root_unavailable")
    assert VAULT_TOKEN not in told.out


@pytest.mark.parametrize(
    "named",
    [
        {"INTERLOCK_KEYS__ROOT": "vault-transit"},
        {"INTERLOCK_KEYS__ROOT": "aws-kms"},
        {"INTERLOCK_KEYS__VAULT_KEY": "transit/interlock"},
        {"INTERLOCK_KEYS__VAULT_KEY": "no-mount", "INTERLOCK_KEYS__VAULT_ADDRESS": "https://vault.example"},
        {"INTERLOCK_KEYS__VAULT_KEY": "transit/../x?y", "INTERLOCK_KEYS__VAULT_ADDRESS": "https://vault.example"},
        {"INTERLOCK_KEYS__ROOT": "keychain"},
    ],
)
def test_half_a_root_key_is_refused(shell: Shell, named: dict[str, str]):
    told = shell.run("keys", "status", "--json", environment=named)
    assert (told.code, told.error["code"]) == (2, "invalid_settings")
    assert "keys" in told.error["message"].lower()
