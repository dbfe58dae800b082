"""`interlock memory`: keep, find, forget and put in order, from the command line."""

import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fix_cli import COMMAND, Shell

ANA = ("--user", "ana")
NOBODY = "mem_" + "f" * 32


def remember(shell: Shell, *words: str, **more: Any) -> dict[str, Any]:
    return shell.good("memory", "remember", *words, *ANA, **more)["record"]


def search(shell: Shell, *words: str) -> list[str]:
    return [hit["record"]["text"] for hit in shell.good("memory", "search", *words, *ANA)["hits"]]


def test_what_is_remembered_is_found_and_says_why(bare_shell: Shell):
    kept = remember(bare_shell, "Ana prefers short answers", "--class", "semantic", "--kind", "preference")
    remember(bare_shell, "The billing service failed on Friday", "--tag", "incident")
    found = bare_shell.good("memory", "search", "which answers does Ana prefer?", *ANA)
    assert found["hits"][0]["record"]["record_id"] == kept["record_id"]
    assert set(found["hits"][0]["matched_terms"]) == {"ana", "answers"}
    told = bare_shell.run("memory", "search", "answers", "--mode", "text", *ANA)
    assert "text #1" in told.out
    assert "words: answers" in told.out
    assert search(bare_shell, "--tag", "incident") == ["The billing service failed on Friday"]
    assert remember(bare_shell, "Ana prefers short answers", "--class", "semantic", "--kind", "preference") == kept
    shown = bare_shell.run("memory", "get", kept["record_id"], *ANA)
    assert "semantic, kind preference" in shown.out
    assert (bare_shell.folder / ".interlock" / "memory.db").is_file()
    assert not bare_shell.store.exists()


def test_it_is_found_by_nobody_else(bare_shell: Shell):
    kept = remember(bare_shell, "a secret of Ana's")
    for other in (("--user", "bob"), ("--tenant", "other"), ("--user", "ana", "--session", "s1")):
        found = bare_shell.good("memory", "search", "secret", *other)
        assert (found["hits"], found["scope_known"]) == ([], False)
        assert "Nothing was ever kept for" in bare_shell.run("memory", "search", "secret", *other).out
        told = bare_shell.run("memory", "get", kept["record_id"], *other, "--json")
        assert (told.code, told.error["code"]) == (2, "memory_record_not_found")
        assert bare_shell.good("memory", "forget", kept["record_id"], *other)["forgotten"][0]["existed"] is False
    assert search(bare_shell, "secret") == ["a secret of Ana's"]


def test_text_comes_from_stdin_too(bare_shell: Shell):
    assert remember(bare_shell, stdin="one\ntwo\n")["text"] == "one\ntwo"
    assert remember(bare_shell, "-", stdin="three")["text"] == "three"
    assert remember(bare_shell, "--content", '{"a": [1]}')["content"] == {"a": [1]}
    assert remember(bare_shell, "x", "--meta", "lang=en", "--meta", "n:=1")["metadata"] == {"lang": "en", "n": 1}
    blank = bare_shell.run("memory", "remember", "--json", stdin="")
    assert (blank.code, blank.error["code"]) == (2, "memory_invalid_input")


def test_a_record_is_revised_replaced_and_forgotten(bare_shell: Shell):
    paris = remember(bare_shell, "Ana lives in Paris", "--class", "semantic")
    lyon = remember(bare_shell, "Ana lives in Lyon", "--class", "semantic", "--supersedes", paris["record_id"])
    assert search(bare_shell, "lives") == ["Ana lives in Lyon"]
    both = bare_shell.good("memory", "search", "lives", "--as-of", "any", *ANA)
    assert len(both["hits"]) in (1, 2)
    gone = bare_shell.good("memory", "forget", lyon["record_id"], *ANA)["forgotten"][0]
    assert (gone["existed"], gone["traces"], gone["restored_ids"]) == (True, 0, [paris["record_id"]])
    assert search(bare_shell, "lives") == ["Ana lives in Paris"]
    revised = ("Ana lives in Nice", "--class", "semantic", "--record", paris["record_id"], "--if-revision")
    late = bare_shell.run("memory", "remember", *revised, "7", *ANA, "--json")
    assert (late.code, late.error["code"]) == (2, "memory_conflict")
    now = bare_shell.good("memory", "get", paris["record_id"], *ANA)["record"]["revision"]
    assert remember(bare_shell, *revised, str(now))["revision"] == now + 1
    told = bare_shell.good("memory", "history", paris["record_id"], *ANA)["history"]
    assert [each["revision"] for each in told] == list(range(1, now + 2))
    assert "remembered" in bare_shell.run("memory", "history", paris["record_id"], *ANA).out
    left = bare_shell.good("memory", "history", lyon["record_id"], *ANA)["history"]
    assert [(each["change"], each["record"]) for each in left] == [("forgotten", None)]


def test_what_has_expired_is_not_seen_and_pruned(bare_shell: Shell):
    remember(bare_shell, "stays")
    remember(bare_shell, "goes", "--expires", "2000-01-01")
    assert search(bare_shell) == ["stays"]
    assert bare_shell.good("memory", "prune", *ANA)["removed"] == 1
    assert bare_shell.good("memory", "prune", *ANA)["removed"] == 0


def test_explain_tells_the_near_misses(bare_shell: Shell):
    for number in range(3):
        remember(bare_shell, f"the outage number {number}")
    told = bare_shell.good("memory", "explain", "outage", "--limit", "1", *ANA)
    assert len(told["explanation"]["near_misses"]) == 2
    shown = bare_shell.run("memory", "explain", "outage", "--limit", "1", *ANA).out
    assert "How it came about" in shown
    assert "Near misses" in shown


def test_a_page_goes_on_where_the_last_one_ended(bare_shell: Shell):
    for number in range(5):
        remember(bare_shell, f"number {number}")
    first = bare_shell.good("memory", "search", "--limit", "3", "--total", "--oldest", *ANA)
    assert first["total"] == 5
    rest = bare_shell.good("memory", "search", "--limit", "3", "--oldest", "--cursor", first["cursor"], *ANA)
    texts = [hit["record"]["text"] for page in (first, rest) for hit in page["hits"]]
    assert (texts, rest["cursor"]) == ([f"number {number}" for number in range(5)], None)


def test_a_consolidation_is_shown_done_and_undone(bare_shell: Shell):
    for _ in range(3):
        remember(bare_shell, "The nightly build is green", "--kind", "build")
    told = bare_shell.run("memory", "consolidate", *ANA)
    assert "3 records with the same words" in told.out
    assert "--apply" in told.out
    assert len(search(bare_shell)) == 3
    done = bare_shell.good("memory", "consolidate", "--policy", "duplicates", "--apply", *ANA)
    assert (done["result"]["status"], len(search(bare_shell))) == ("applied", 1)
    back = bare_shell.good("memory", "consolidate", "--undo", done["result"]["change_id"], *ANA)
    assert (back["result"]["status"], len(search(bare_shell))) == ("undone", 3)
    unknown = bare_shell.run("memory", "consolidate", "--undo", "cns_none", *ANA, "--json")
    assert (unknown.code, unknown.error["code"]) == (2, "memory_record_not_found")
    wrong = bare_shell.run("memory", "consolidate", "--policy", "no-such", *ANA, "--json")
    assert (wrong.code, wrong.error["code"]) == (2, "memory_invalid_input")


@pytest.mark.parametrize(("answer", "left"), [("y\n", 1), ("n\n", 2)])
def test_on_a_terminal_a_consolidation_asks(bare_shell: Shell, answer: str, left: int):
    for _ in range(2):
        remember(bare_shell, "said twice", "--kind", "build")
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode())
    done = subprocess.run(
        [COMMAND, "memory", "consolidate", *ANA],
        cwd=bare_shell.folder, env=bare_shell.environment, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(theirs)
    os.close(ours)
    assert (done.returncode, b"2 records with the same words" in done.stdout) == (0, True)
    assert len(search(bare_shell)) == left


def test_who_keeps_it_is_set_and_told(bare_shell: Shell):
    (bare_shell.folder / "interlock.toml").write_text(
        '[memory]\nconfig = { path = "data/notes.db", embedder = "none" }\n'
    )
    remember(bare_shell, "in the settings' file")
    assert (bare_shell.folder / "data" / "notes.db").is_file()
    told = bare_shell.good("memory", "info")
    assert told["health"]["ok"] is True
    assert told["provider"]["capabilities"]["guarantees"]["search_modes"] == ["text"]
    other = {"INTERLOCK_MEMORY__CONFIG": '{"path": "other.db"}'}
    assert bare_shell.good("memory", "remember", "elsewhere", *ANA, environment=other)
    found = bare_shell.good("memory", "search", *ANA, "--set", "path=other.db", "--set", "embedder=hashed")
    assert [hit["record"]["text"] for hit in found["hits"]] == ["elsewhere"]
    listed = {each["name"]: each for each in bare_shell.good("memory", "providers")["providers"]}
    assert "history" in listed["sqlite"]["offers"]
    assert listed["memory"]["aliases"] == ["basic"]
    assert "turn_hooks" not in listed["cached"]["offers"]
    assert "`--`" in bare_shell.run("memory", "search", "-x").err


def test_a_broken_provider_hides_no_other(bare_shell: Shell, tmp_path: Path):
    folder = tmp_path / "site" / "broken-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[interlock.memory]\nbroken = no_such_module:Provider\n")
    spawned = bare_shell.spawn("memory", "providers", "--json", environment={"PYTHONPATH": str(folder.parent)})
    listed = {each["name"]: each for each in spawned.json["providers"]}
    assert "no_such_module" in listed["broken"]["problem"]
    assert listed["sqlite"]["problem"] is None


@pytest.mark.faults
def test_a_provider_that_blocks_its_thread_ends_with_its_time(bare_shell: Shell, tmp_path: Path):
    folder = tmp_path / "site" / "blocks-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: blocks\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[interlock.memory]\nblocks = blocking:Blocks\n")
    (folder.parent / "blocking.py").write_text(
        "import time\nfrom interlock.adapters.memory import InProcess\n"
        "class Blocks(InProcess):\n    name = 'blocks'\n"
        "    async def retrieve(self, scope, query):\n        time.sleep(3600)\n"
    )
    asked = ("memory", "search", "x", "--provider", "blocks", "--timeout", "1", "--json")
    told = bare_shell.spawn(*asked, environment={"PYTHONPATH": str(folder.parent)})
    assert (told.code, told.error["code"]) == (1, "memory_deadline_exceeded")
    assert told.error["details"] == {"provider": "blocks", "operation": "retrieve"}


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        (("remember", " "), 2, "memory_invalid_input"),
        (("remember", "x", "--importance", "2"), 2, "memory_invalid_input"),
        (("remember", "x", "--importance", "nan"), 2, "memory_invalid_input"),
        (("remember", "x", "--class", "odd"), 2, "usage"),
        (("remember", "x", "--content", "{"), 2, "invalid_json"),
        (("remember", "x", "--meta", "novalue"), 2, "usage"),
        (("remember", "x", "--record", "me"), 2, "usage"),
        (("remember", "x", "--record", NOBODY), 2, "memory_record_not_found"),
        (("remember", "x", "--expires", "soon"), 2, "usage"),
        (("remember", "x", "--user", ""), 2, "memory_invalid_input"),
        (("remember", "x", "--provider", "memory"), 2, "store_not_kept"),
        (("remember", "x", *(f"--tag={number}" for number in range(101))), 2, "memory_invalid_input"),
        (("remember", "x", "--set", "path="), 2, "memory_invalid_config"),
        (("remember", "x", "--set", "no=1"), 2, "memory_invalid_config"),
        (("remember", "x", "--set", "path=/dev/null/x.db"), 7, "memory_unavailable"),
        (("remember", "x", "--timeout", "0"), 2, "invalid_settings"),
        (("remember", "x\udcff"), 2, "memory_invalid_input"),
        (("search", "x", "--provider", "none"), 2, "memory_unknown_provider"),
        (("search", "x", "--set", "path=none.db"), 7, "memory_unavailable"),
        (("search", "x", "--store", "notes.db"), 2, "usage"),
        (("search", "x", "--server", "http://127.0.0.1:1"), 2, "not_remote"),
        (("search", " "), 2, "memory_invalid_input"),
        (("search", "-x"), 2, "usage"),
        (("search", "--mode", "text"), 2, "memory_invalid_input"),
        (("search", "x", "--limit", "100000"), 2, "memory_invalid_input"),
        (("search", "x", "--cursor", "rubbish"), 2, "memory_invalid_input"),
        (("search", "x", "--weight", "odd=1"), 2, "memory_invalid_input"),
        (("search", "x", "--weight", "recency"), 2, "usage"),
        (("search", "x", "--since", "2026-02-01", "--until", "2026-01-01"), 2, "memory_invalid_input"),
        (("get", "no-id"), 2, "usage"),
        (("get", NOBODY), 2, "memory_record_not_found"),
        (("history", NOBODY), 2, "memory_record_not_found"),
        (("consolidate", "--undo", "x", "--apply"), 2, "usage"),
    ],
)
def test_bad_input_is_told(bare_shell: Shell, words: tuple[str, ...], code: int, kind: str):
    remember(bare_shell, "there is something")
    told = bare_shell.run("memory", *words, "--json")
    assert told.code == code, told.out
    assert told.error["code"] == kind
    said = bare_shell.run("memory", *words)
    assert (said.code, said.out) == (code, "")
    assert said.err.startswith("error: ")
    assert "next: " in said.err


def test_a_file_of_something_else_is_left_as_it_is(bare_shell: Shell):
    (bare_shell.folder / "notes.txt").write_text("my notes, " * 1_000)
    told = bare_shell.run("memory", "remember", "x", "--set", "path=notes.txt", "--json")
    assert (told.code, told.error["code"]) == (2, "memory_invalid_config")
    assert (bare_shell.folder / "notes.txt").read_text() == "my notes, " * 1_000


def test_odd_texts_come_back_as_they_were(bare_shell: Shell):
    for text in ('"; DROP TABLE revisions; --', 'NEAR("a" b, 2) AND c* OR -^', "שלום e\u0301 🎉\u202e", "a\tb\r\nc"):
        kept = remember(bare_shell, text)
        assert bare_shell.good("memory", "get", kept["record_id"], *ANA)["record"]["text"] == text
        assert text in search(bare_shell, text)
