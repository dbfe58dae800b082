"""The main job, as a newcomer meets it: `interlock demo` in an empty folder, with nothing set up."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from interlock.cli.demo import tell
from interlock.cli.demo.folder import ISSUES, REPO, TOKEN, Folder
from interlock.testing import github

PROGRAM = [sys.executable, "-c", "from interlock.cli import main; raise SystemExit(main())"]
FOLDER = ".interlock-demo"
SEEN = [
    "connected as octo-agent",
    "acme/rocket, branch main; allowed: agents may read and add",
    "both times issue #1, from one run; issues at the service: 1",
    "denied: branches are not an agent's business; nothing is deleted in the demo",
    "approved by person:reviewer; closed once",
    "that approval again: refused (run_not_held)",
    "outcome unknown: looked up, not repeated; it had happened; comments at the service: 1",
    "the service has the issue, and the ledger still says running",
    "looked up, found, completed; issues at the service: 2",
    "verified: 14 events, chained and signed",
    "altered: event 11 (reconcile.concluded): its content was changed",
    "4 writes completed, 4 effects at the service",
]


@pytest.fixture(name="room")
def _room(tmp_path: Path) -> Path:
    """A folder to work in, with an empty home beside it."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def interlock(
    folder: Path, *arguments: str, warm: Path | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run the command with nothing in its environment but a home. No process outlives it. With `warm` it is the one that is
    found there."""
    home = next(each for each in (folder, *folder.parents) if (each / "home").is_dir()) / "home"
    process = subprocess.Popen(
        [*(PROGRAM if warm is None else [warm / "interlock"]), *arguments],
        cwd=folder,
        env={"HOME": str(home), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    out, err = process.communicate()
    assert_nobody_is_left(process.pid)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def assert_nobody_is_left(group: int) -> None:
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)


@pytest.mark.faults
def test_it_tells_its_story_and_leaves_a_store_to_look_around_in(room: Path, warm: Path):
    told = interlock(room, "demo")
    assert (told.returncode, told.stderr) == (0, "")
    assert [text for text in SEEN if text not in told.stdout] == []
    assert len(told.stdout.splitlines()) <= 50
    assert max(map(len, told.stdout.splitlines())) <= 120
    assert "\x1b" not in told.stdout

    folder = room / FOLDER
    assert [path.name for path in room.iterdir()] == [FOLDER]
    assert list((room.parent / "home").iterdir()) == []
    assert stat.S_IMODE((folder / "root.key").stat().st_mode) == 0o600

    look = partial(interlock, folder, warm=warm, INTERLOCK_KEY_FILE=str(folder / "root.key"))
    assert len(json.loads(look("runs", "list", "--json").stdout)["runs"]) == 7
    assert look("runs", "show", re.findall(r"run_\w+", told.stdout)[-1]).returncode == 0
    verify = ["review", "verify", "--trust", "trust.json"]
    assert look(*verify, "packet.json").returncode == 0
    assert look(*verify, "packet-altered.json").returncode == 6


@pytest.mark.faults
def test_a_second_run_begins_afresh_and_touches_nothing_else(room: Path, warm: Path):
    folder, elsewhere = room / FOLDER, room / "elsewhere.db"
    assert interlock(room, "demo", "--json", warm=warm).returncode == 0
    key = (folder / "root.key").read_bytes()
    (folder / "notes.txt").write_text("mine")

    foreign = {"INTERLOCK_STORE": str(elsewhere), "INTERLOCK_ACTOR": "person:reviewer"}
    again = interlock(room, "demo", "--json", warm=warm, **foreign)
    assert (again.returncode, again.stderr) == (0, "")
    document = json.loads(again.stdout)
    facts = [step["facts"] for step in document["steps"]]
    assert document["ok"]
    assert len(document["steps"]) == 10
    assert [each["effects"] for each in facts if "effects" in each] == [1, 1, 1, 2]
    assert [each["verdict"]["status"] for each in facts if "verdict" in each] == ["verified", "altered"]
    assert facts[-1] == {"runs": 7, "ledger": 4, "service": 4}
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "root.key").read_bytes() != key
    assert not elsewhere.exists()


@pytest.mark.parametrize("taken", ["a file", "a folder of somebody's"])
def test_what_it_did_not_make_is_left_alone(room: Path, warm: Path, taken: str):
    if taken == "a file":
        (room / "there").write_text("mine")
    else:
        (room / "there").mkdir()
        (room / "there" / "interlock.toml").write_text("# mine")
    answer = interlock(room, "demo", "--folder", "there", "--json", warm=warm)
    assert answer.returncode == 2
    assert json.loads(answer.stdout or answer.stderr)["error"]["code"] == "demo_folder_taken"
    left = room / "there"
    assert (left if left.is_file() else left / "interlock.toml").read_text().endswith("mine")


def test_what_is_not_as_claimed_is_said(room: Path, monkeypatch: pytest.MonkeyPatch):
    """A service that reports one effect more than there should be."""
    counted = github.Control.effects

    def one_more(control: github.Control, match: str = "*") -> int:
        return counted(control, match) + 1

    monkeypatch.setattr(github.Control, "effects", one_more)
    before = dict(os.environ)
    answer = tell(folder=room / "demo")
    document = json.loads(json.dumps(answer.document))
    assert answer.exit_code == 1
    assert not document["ok"]
    assert document["error"]["code"] == "demo_claim_failed"
    assert "issues opened at the service: expected 1, saw 2" in document["error"]["message"]
    assert dict(os.environ) == before


@pytest.mark.faults
def test_the_service_can_be_had_alone(room: Path):
    process = subprocess.Popen(
        [*PROGRAM, "demo", "--serve", "--json"],
        cwd=room,
        env={"HOME": str(room.parent / "home")},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    lines: list[str] = []
    while "}" not in lines:
        lines.append(process.stdout.readline().rstrip("\n"))
        assert lines[-1], "it ended"
    url = str(json.loads("\n".join(lines))["url"])
    connection = HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request("GET", "/user", headers={"user-agent": "test"})
    with connection.getresponse() as answer:
        assert answer.status == 401
        answer.read()
    for number, title in enumerate(ISSUES, start=1):
        headers = {"user-agent": "test", "authorization": f"Bearer {TOKEN}"}
        connection.request("GET", f"/repos/{REPO}/issues/{number}", headers=headers)
        assert json.load(connection.getresponse())["title"] == title
    connection.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    process.stdout.close()
    assert_nobody_is_left(process.pid)
    assert list(room.iterdir()) == []


def test_its_environment_replaces_what_the_shell_had_set(room: Path):
    place = Folder.at(room / "demo")
    place.make(host="127.0.0.1:8791", key=bytes(range(32)))
    before = {
        "INTERLOCK_EXECUTION__EGRESS_ALLOW": '["127.0.0.1:8790"]', "INTERLOCK_STORE": "a b.db", "INTERLOCK_KEY": "mine",
        "OTHER": "stays", "PATH": os.environ["PATH"],
    }  # fmt: skip
    shell = subprocess.run(
        ["/bin/sh", "-euc", ". ./env && env"], cwd=place.path, env=before, capture_output=True, text=True, check=True
    )
    after = dict(line.split("=", 1) for line in shell.stdout.splitlines())
    assert {name: value for name, value in after.items() if name.startswith("INTERLOCK_")} == {
        "INTERLOCK_KEY_FILE": str(place.path / "root.key")
    }
    assert after["OTHER"] == "stays"
    assert shell.stderr == ""
