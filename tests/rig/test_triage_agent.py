"""The example of an agent, as a reader tells its story: a person is asked, the process killed, the comment there once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fix_models import ModelApi, Say

STORY = Path(__file__).parents[2] / "examples" / "triage_agent" / "story.py"
ENTRIES = 30
"""At least as many as the journal of its turn has."""

pytestmark = [pytest.mark.rig, pytest.mark.timeout(900)]  # a dozen processes each, and being slow fails no test


def told(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("HOME", "PATH", "PYTHONPATH") if name in os.environ}
    command = [sys.executable, str(STORY), "--folder", str(folder), *words]
    return subprocess.run(command, env={**kept, **environ}, capture_output=True, text=True, timeout=800, check=False)


def test_all_of_it_is_as_claimed_and_can_be_told_again(tmp_path: Path):
    folder = tmp_path / "triage"
    answer = told(folder, INTERLOCK_STORE=str(tmp_path / "elsewhere.db"))
    assert (answer.returncode, answer.stderr) == (0, ""), answer.stdout
    assert (answer.stdout.count("✔"), answer.stdout.count("kill -9")) == (5, 1)
    assert not (tmp_path / "elsewhere.db").exists()
    assert (folder / "packet.json").exists()
    again = told(folder, "--model", "nonsense")
    assert (again.returncode, again.stderr) == (1, "")
    assert not (folder / "packet.json").exists(), "it is made afresh"
    assert "must be provider:name, such as openai:gpt-4o-mini (invalid_agent_spec)" in again.stdout
    assert '"error"' not in again.stdout, "a command that fails is told in its own words"


@pytest.mark.parametrize("entry", range(2, ENTRIES + 1, 7))
def test_it_may_be_killed_with_an_entry_of_its_journal(tmp_path: Path, entry: int):
    answer = told(tmp_path / "triage", "--kill-at", str(entry))
    assert (answer.returncode, answer.stderr) == (0, ""), answer.stdout
    assert ("kill -9" in answer.stdout) is not ("nobody had to be killed" in answer.stdout)


def test_another_model_may_do_otherwise(tmp_path: Path, model_api: ModelApi):
    where = {"repo": "acme/rocket", "issue_number": 2}
    elsewhere = {"repo": "acme/other", "issue_number": 1}
    model_api.say(
        Say(calls=[("a", "list_issues", {"repo": "acme/rocket"}), ("b", "comment", {**elsewhere, "body": "Hello."})]),
        Say(calls=[("c", "comment", {**where, "body": "Seen."}), ("d", "comment", {**where, "body": "And again."})]),
        Say(text="I have said so twice."),
    )
    answer = told(tmp_path / "triage", "--model", "local:some", "--model-url", f"{model_api.url}/open/v1")
    assert (answer.returncode, answer.stderr) == (0, ""), answer.stdout
    assert "2 comment" in answer.stdout
    assert len(model_api.heard) == 3
    assert all("@mona" in str(body["messages"]) for _, _, body in model_api.heard)


def test_a_turn_that_fails_is_told_in_words_and_its_record_proven(tmp_path: Path, model_api: ModelApi):
    where = {"repo": "acme/rocket", "issue_number": 2}
    model_api.say(Say(calls=[("a", "comment", {**where, "body": "Seen."})]), Say(status=400, body="{}"))
    answer = told(tmp_path / "triage", "--model", "local:some", "--model-url", f"{model_api.url}/open/v1")
    assert (answer.returncode, answer.stderr) == (1, ""), answer.stdout
    for claimed in (
        "2 questions to the model, 1 operation, 1 comment:",
        "the turn has failed (model_failed)",
        "✔ verified",
    ):
        assert claimed in answer.stdout, answer.stdout
    assert "{" not in answer.stdout.replace('comment {"body"', "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--kill-at", "0"], "'0' is neither `any` nor the number of an entry"),
        (["--model", "local:some"], "they go together"),
        (["--model-url", "http://127.0.0.1:1/v1"], "they go together"),
        (["--github", "acme/rocket"], "--github needs a --model"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_done(tmp_path: Path, words: list[str], said: str):
    answer = told(tmp_path / "triage", *words)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert said in answer.stderr
    assert not (tmp_path / "triage").exists()


def test_a_folder_of_somebodys_is_left_alone(tmp_path: Path):
    (tmp_path / "mine").write_text("mine")
    answer = told(tmp_path)
    assert answer.returncode == 1
    assert "did not make" in answer.stdout
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]
