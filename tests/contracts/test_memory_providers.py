"""Every provider keeps the contract."""

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from interlock import memory
from interlock.testing.memory.machine import against_dictionaries
from interlock.testing.memory.pytest_kit import MemoryContract


class TestInProcess(MemoryContract):
    """The oracle."""

    def reference(self, folder: Path) -> memory.ProviderRef:
        return memory.ProviderRef(name="memory")


class TestSqlite(MemoryContract):
    """The flagship."""

    def reference(self, folder: Path) -> memory.ProviderRef:
        return memory.ProviderRef(name="sqlite", config={"path": str(folder / "memory.db"), "dimensions": 64})


@pytest.mark.hypothesis
def test_sqlite_answers_as_dictionaries_do():
    machine = against_dictionaries(TestSqlite().reference)
    run_state_machine_as_test(
        machine, settings=settings(max_examples=settings().max_examples // 5, stateful_step_count=20)
    )
