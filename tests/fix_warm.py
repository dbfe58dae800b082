"""Fixture: the command `interlock`, already started (see `warm.py`)."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def warm() -> Iterator[Path]:
    """The folder of a program `interlock` that answers as the real one does, and sooner."""
    with tempfile.TemporaryDirectory(prefix="warm-") as folder:
        program = Path(__file__).with_name("warm.py")
        with subprocess.Popen([sys.executable, program, folder], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"warm\n"
            yield Path(folder)
            process.kill()
