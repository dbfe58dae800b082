"""The init of a sandbox is of the machine that it runs on."""

import platform
from pathlib import Path

import pytest

from interlock.adapters.targets import init
from interlock.adapters.targets.calls import NUMBERS


@pytest.mark.parametrize("machine", sorted(NUMBERS))
def test_it_is_for_the_machine_that_the_filter_is_for(machine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    init.in_file(tmp_path / "init")
    assert (tmp_path / "init").read_bytes() == init.program(machine)
