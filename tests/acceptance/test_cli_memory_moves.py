"""`interlock memory export` and `import`: all of a memory out of one place and into another, and nothing lost on the way."""

import json
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from fix_cli import Shell
from interlock import memory

ANA = ("--user", "ana")
OTHER = ("--set", "path=other.db")


@pytest.fixture(name="lived")
def _lived(bare_shell: Shell) -> Shell:
    """A memory in which things have happened, and its export."""

    def remember(*words: str) -> str:
        return bare_shell.good("memory", "remember", *words)["record"]["record_id"]

    first = remember("one", *ANA, "--tag", "t", "--meta", "n:=1.5", "--key", "k")
    remember("two", *ANA, "--record", first)
    paris = remember("Ana lives in Paris", *ANA, "--class", "semantic")
    remember("Ana lives in Lyon 🎉\n\u2028end", *ANA, "--class", "semantic", "--supersedes", paris)
    for _ in range(2):
        remember("said twice", *ANA, "--session", "s1")
    bare_shell.good("memory", "consolidate", *ANA, "--apply")
    gone = remember("forgotten", *ANA)
    bare_shell.good("memory", "forget", gone, *ANA)
    remember("Bob's", "--user", "bob")
    told = bare_shell.good("memory", "export", *ANA, "-o", "ana.jsonl")
    assert told["head"]["exact"] is True
    return bare_shell


def lines(shell: Shell, name: str = "ana.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (shell.folder / name).read_bytes().split(b"\n") if line]


def contents(shell: Shell, *words: str) -> list[bytes]:
    """What an export has behind its first line."""
    shell.good("memory", "export", *words, "-o", "again.jsonl", "--force")
    return (shell.folder / "again.jsonl").read_bytes().split(b"\n")[1:]


def test_out_and_in_again_everything_is_as_it_was(lived: Shell):
    before = (lived.folder / "ana.jsonl").read_bytes()
    assert b"forgotten" not in before
    assert b"Bob" not in before
    told = lived.good("memory", "import", "ana.jsonl", *ANA, *OTHER)
    end = lines(lived)[-1]
    assert (told["accepted"], told["rejected"], told["whole"]) == (end["revisions"], 0, True)
    assert end["revisions"] > end["records"]
    assert contents(lived, *ANA, *OTHER) == before.split(b"\n")[1:]
    again = lived.good("memory", "import", "ana.jsonl", *ANA, *OTHER)
    assert (again["accepted"], again["duplicates"]) == (0, end["revisions"])
    for words in (("lives",), ("--as-of", "any")):
        found = [lived.good("memory", "search", *words, *ANA, *place)["hits"] for place in ((), OTHER)]
        assert [hit["record"] for hit in found[0]] == [hit["record"] for hit in found[1]]


def test_through_a_pipe_it_is_the_same(lived: Shell):
    told = lived.run("memory", "export", *ANA)
    assert told.code == 0
    assert told.out.split("\n")[1:] == (lived.folder / "ana.jsonl").read_text().split("\n")[1:]
    taken = lived.good("memory", "import", "-", *ANA, *OTHER, stdin=told.out)
    assert taken["rejected"] == 0


def test_another_scope_takes_nothing(lived: Shell):
    for other in (("--user", "bob"), ("--tenant", "other"), (*ANA, "--session", "s2")):
        told = lived.run("memory", "import", "ana.jsonl", *other, *OTHER, "--json")
        assert (told.code, told.error["code"]) == (2, "memory_scope_denied")
        assert lived.good("memory", "search", *other, *OTHER)["hits"] == []
    wider = lived.good("memory", "import", "ana.jsonl", *OTHER)
    assert wider["rejected"] == 0


def test_a_record_of_another_scope_is_told_by_its_line(lived: Shell):
    told = lines(lived)
    told[2]["record"]["scope"]["user"] = "bob"
    (lived.folder / "odd.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in told))
    taken = lived.run("memory", "import", "odd.jsonl", *ANA, *OTHER, "--json")
    assert (taken.code, taken.error["code"]) == (1, "import_incomplete")
    assert [problem["line"] for problem in taken.json["problems"]] == [3]
    assert "bound to one user" in taken.json["problems"][0]["problem"]
    assert lived.good("memory", "search", "--user", "bob", *OTHER)["hits"] == []


def test_bad_lines_are_told_by_number_and_can_be_corrected(lived: Shell):
    good = (lived.folder / "ana.jsonl").read_bytes().split(b"\n")[:-1]
    altered = good[5].replace(b'"importance":0.5', b'"importance":7')
    bad = [*good[:2], b'{"a"', *good[2:5], altered, b"\xff\xfe", b"[]", b"", *good[6:]]
    (lived.folder / "bad.jsonl").write_bytes(b"\n".join(bad) + b"\n")
    told = lived.run("memory", "import", "bad.jsonl", *ANA, *OTHER, "--rejected", "left.jsonl", "--json")
    assert told.code == 1
    assert [problem["line"] for problem in told.json["problems"]][:4] == [3, 7, 8, 9]
    shown = lived.run("memory", "import", "bad.jsonl", *ANA, *OTHER)
    assert "line 3: " in shown.out
    left = (lived.folder / "left.jsonl").read_bytes()
    assert left.split(b"\n")[0] == good[0]
    assert altered in left
    (lived.folder / "left.jsonl").write_bytes(left.replace(altered, good[5]))
    lived.run("memory", "import", "left.jsonl", *ANA, *OTHER)
    lived.good("memory", "import", "ana.jsonl", *ANA, *OTHER)
    assert contents(lived, *ANA, *OTHER) == (lived.folder / "ana.jsonl").read_bytes().split(b"\n")[1:]


def test_what_is_cut_off_is_told(lived: Shell):
    content = (lived.folder / "ana.jsonl").read_bytes()
    (lived.folder / "cut.jsonl").write_bytes(content[: content.rindex(b"\n", 0, -1) - 40])
    told = lived.run("memory", "import", "cut.jsonl", *ANA, *OTHER, "--json")
    assert (told.code, told.json["whole"], told.json["rejected"]) == (1, False, 1)
    assert told.json["accepted"] > 0


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"my notes\n", b"[]\n", b'{"contract": "interlock.memory-export/v9"}\n', b"\x00" * 99, b"[" * 10**6],
)
def test_what_is_no_export_is_refused(bare_shell: Shell, content: bytes):
    (bare_shell.folder / "x.jsonl").write_bytes(content)
    told = bare_shell.run("memory", "import", "x.jsonl", "--json")
    assert (told.code, told.error["code"]) == (2, "memory_invalid_input")


def test_a_line_that_is_too_long_is_passed_over(lived: Shell):
    first, rest = (lived.folder / "ana.jsonl").read_bytes().split(b"\n", 1)
    (lived.folder / "long.jsonl").write_bytes(first + b"\n" + b"x" * 5_000_000 + b"\n" + rest)
    told = lived.run("memory", "import", "long.jsonl", *ANA, *OTHER, "--json")
    assert (told.code, told.json["rejected"], told.json["whole"]) == (1, 1, True)
    assert "line" in told.json["problems"][0]
    assert "more than 4194304 bytes" in told.json["problems"][0]["problem"]


def test_what_was_forgotten_does_not_come_back(lived: Shell):
    [kept] = [line["record"] for line in lines(lived)[1:-1] if line["record"]["text"] == "two"]
    lived.good("memory", "forget", kept["record_id"], *ANA)
    told = lived.run("memory", "import", "ana.jsonl", *ANA, "--json")
    assert told.code == 1
    assert {"was forgotten here" in problem["problem"] for problem in told.json["problems"]} == {True}
    assert lived.run("memory", "get", kept["record_id"], *ANA, "--json").error["code"] == "memory_record_not_found"


def test_files_are_not_written_over(lived: Shell):
    before = (lived.folder / "ana.jsonl").read_bytes()
    for words in (("export", "-o", "ana.jsonl"), ("import", "ana.jsonl", "--rejected", "ana.jsonl")):
        told = lived.run("memory", *words, *ANA, "--json")
        assert (told.code, told.error["code"]) == (2, "file_refused")
    assert (lived.folder / "ana.jsonl").read_bytes() == before
    for words in (("-o", "no/such/x"), ("-o", "/dev/full"), ("-o", ".")):
        told = lived.run("memory", "export", *words, *ANA, "--json")
        assert (told.code, told.error["code"]) == (2, "file_refused")
    for words in (("import", "none.jsonl"), ("import", ".")):
        assert lived.run("memory", *words, *ANA, "--json").error["code"] == "file_refused"
    assert lived.run("memory", "export", *ANA, "--json").error["code"] == "usage"
    assert not [name for name in os.listdir(lived.folder) if name.startswith(".ana")]


LESSER = """
from interlock.adapters.memory.sqlite.provider import Sqlite

class Lesser(Sqlite):
    name = "lesser"
    withheld = frozenset({"transfer", "history"})
"""


@pytest.fixture(name="lesser")
def _lesser(lived: Shell, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder: Path = tmp_path_factory.mktemp("site")
    (folder / "lesser.py").write_text(LESSER)
    info = folder / "lesser-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lesser\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[interlock.memory]\nlesser = lesser:Lesser\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield lived


def test_of_a_lesser_provider_it_is_told_what_is_lost(lesser: Shell):
    there = ("--provider", "lesser", "--set", "path=lesser.db")
    told = lesser.good("memory", "import", "ana.jsonl", *ANA, *there)
    assert told["rejected"] == 0
    assert any("revisions before the last" in each for each in told["lost"])
    texts = {hit["record"]["text"] for hit in lesser.good("memory", "search", *ANA)["hits"]}
    found = lesser.good("memory", "search", *ANA, *there)["hits"]
    assert {hit["record"]["text"] for hit in found} == texts
    ids = {line["record"]["record_id"] for line in lines(lesser)[1:-1]}
    assert {hit["record"]["record_id"] for hit in found} <= ids
    again = lesser.good("memory", "import", "ana.jsonl", *ANA, *there)
    assert again["accepted"] == 0
    out = lesser.good("memory", "export", *ANA, *there, "-o", "lesser.jsonl")
    assert out["head"]["exact"] is False
    assert "revisions before the last" in out["head"]["lost"]
    assert out["records"] >= len(texts)


@pytest.mark.faults
def test_an_import_that_is_killed_goes_on(lived: Shell):
    head, *rest = lines(lived)
    record = rest[0]["record"]
    with (lived.folder / "many.jsonl").open("w") as file:
        file.write(f"{json.dumps(head)}\n")
        for number in range(5_000):
            made = {**record, "record_id": f"mem_{number:032x}", "text": f"number {number}", "idempotency_key": None}
            file.write(f"{json.dumps({'change': 'remembered', 'record': {**made, 'revision': 1}})}\n")
        file.write('{"contract": "interlock.memory-export-end/v1", "records": 5000, "revisions": 5000}\n')
    with lived.start("memory", "import", "many.jsonl", *ANA, *OTHER, "--json") as process:
        while not (lived.folder / "other.db-wal").exists():
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    told = lived.good("memory", "import", "many.jsonl", *ANA, *OTHER)
    assert told["accepted"] + told["duplicates"] == 5_000


@pytest.mark.faults
def test_a_killed_import_keeps_what_it_had_taken_and_goes_on_where_it_was(bare_shell: Shell):
    """Killed in the middle: every batch is there whole or not at all, a repeat takes the rest, and nothing is there twice."""

    async def fill() -> bytes:
        async with memory.Memory.open("memory", scope=memory.Scope(tenant="default", user="ana")) as mem:
            for number in range(1_500):
                kept = await mem.remember(f"note {number}")
                if number % 3 == 0:
                    await mem.remember(f"note {number}, corrected", record_id=kept.record_id)
            return b"".join([memory.line_of(value) async for value in memory.exported(mem)])

    whole = anyio.run(fill)
    (bare_shell.folder / "ana.jsonl").write_bytes(whole)
    path = bare_shell.folder / "other.db"
    there = 0
    for share in (3, 2):
        process = bare_shell.start("memory", "import", "-", *ANA, *OTHER)
        with process:
            assert process.stdin is not None
            process.stdin.write(whole[: len(whole) // share].decode())
            process.stdin.flush()  # it is still to get the rest
            before = there
            while (there := _revisions(path)) == before:
                time.sleep(0.02)
            process.kill()
            process.communicate()
        there = _revisions(path)
    told = bare_shell.good("memory", "import", "ana.jsonl", *ANA, *OTHER)
    assert 0 < there < 2_000
    assert (told["accepted"], told["duplicates"], told["rejected"], told["whole"]) == (2_000 - there, there, 0, True)
    assert contents(bare_shell, *ANA, *OTHER) == whole.split(b"\n")[1:]
    found = bare_shell.good("memory", "search", *ANA, *OTHER, "--total", "--limit", "1")
    assert found["total"] == 1_500


def _revisions(path: Path) -> int:
    """How many revisions are kept in a file by now."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as session:
            return session.execute("SELECT count(*) FROM revisions").fetchone()[0]
    except sqlite3.OperationalError:  # not yet made
        return 0
