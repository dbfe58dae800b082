"""The reference app's story, as a reader tells it: webhooks, a dead letter replayed, a process killed at work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

STORY = Path(__file__).parents[2] / "examples" / "devops_incident_response" / "story.py"

pytestmark = [pytest.mark.rig, pytest.mark.timeout(900)]  # dozens of processes, and being slow fails no test


def told(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(STORY), "--folder", str(folder)]
    kept = {name: os.environ[name] for name in ("HOME", "PATH", "PYTHONPATH") if name in os.environ}
    environment = {**kept, **environ}
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=400, check=False)


def test_all_of_it_is_as_claimed_and_can_be_told_again(tmp_path: Path):
    folder = tmp_path / "incidents"
    for foreign in ({}, {"INTERLOCK_STORE": str(tmp_path / "elsewhere.db")}):
        answer = told(folder, **foreign)
        assert (answer.returncode, answer.stderr) == (0, ""), answer.stdout
        assert answer.stdout.count("✔") == 8
    assert not (tmp_path / "elsewhere.db").exists()


def test_a_folder_of_somebodys_is_left_alone(tmp_path: Path):
    (tmp_path / "mine").write_text("mine")
    answer = told(tmp_path)
    assert answer.returncode == 1
    assert "did not make" in answer.stdout
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]
