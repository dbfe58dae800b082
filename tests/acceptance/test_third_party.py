"""A connector in a package of its own: installed, found by its entry point, connected, invoked."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from interlock.testing import github

TOP = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
TOKEN = "third-party-token-1"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example package, built to a wheel and installed as pip would, in a folder of its own."""
    folder = tmp_path_factory.mktemp("site")
    install = ["pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(folder)]
    environment = {**os.environ, "VIRTUAL_ENV": str(BIN.parent)}
    subprocess.run([BIN / "uv", *install, TOP / "examples" / "acme_tracker"], check=True, env=environment)
    return folder


@pytest.fixture
def interlock(installed: Path, warm: Path, tmp_path: Path) -> Any:
    (tmp_path / "home").mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(installed),
        "ACME_TOKEN": TOKEN,
    }

    def run(*words: str, code: int = 0) -> Any:
        done = subprocess.run(
            [warm / "interlock", *words, "--json"], cwd=tmp_path, env=environment, capture_output=True, check=False
        )
        assert done.returncode == code, done.stdout.decode() + done.stderr.decode()
        assert TOKEN.encode() not in done.stdout + done.stderr
        return json.loads(done.stdout)

    return run


def test_it_is_found_connected_and_invoked(interlock: Any, tmp_path: Path) -> None:
    with github.GitHub.start(tokens={TOKEN: "acme-agent"}) as server:
        host = server.url.removeprefix("http://")
        settings = f'[execution]\negress_allow = ["{host}"]\n[policy]\ndefault = "allow"\n'
        interlock("init")
        (tmp_path / "interlock.toml").write_text(settings)
        listed = interlock("connectors", "list")
        found = next(each for each in listed["connectors"] if each["connector_id"] == "acme_tracker")
        assert found["distribution"] == "acme-tracker"
        interlock("connect", "acme_tracker", "--token-env", "ACME_TOKEN", "--base-url", server.url)

        opened = interlock("invoke", "acme_tracker.ticket.open", "repo=acme/rocket", "title=Leak")
        assert (opened["state"], opened["output"]["title"]) == ("completed", "Leak")

        said = ("invoke", "acme_tracker.ticket.report", "repo=acme/rocket", "title=Smoke", "detail=much of it")
        assert interlock(*said)["state"] == "completed"
        (tmp_path / "interlock.toml").write_text(settings + '[connectors]\nisolated = ["acme_tracker"]\n')
        apart = interlock(*said)
        assert apart["state"] == "completed"
        assert server.effects("issues/create") == 3
        assert server.effects("issues/create-comment") == 2

        packet = tmp_path / "packet.json"
        interlock("review", "export", apart["run_id"], "-o", str(packet))
        verdict = interlock("review", "verify", str(packet), "--trust", ".interlock/trust.json")
        assert verdict["status"] == "verified"


def test_a_broken_one_hides_no_other(interlock: Any, installed: Path) -> None:
    broken = installed / "broken-1.0.dist-info"
    broken.mkdir(exist_ok=True)
    (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (broken / "entry_points.txt").write_text("[interlock.connectors]\nbroken = no_such_module:connector\n")
    try:
        listed = interlock("connectors", "list")
    finally:
        for each in broken.iterdir():
            each.unlink()
        broken.rmdir()
    assert {"acme_tracker", "github"} <= {each["connector_id"] for each in listed["connectors"]}
    assert "no_such_module" in json.dumps(listed)
