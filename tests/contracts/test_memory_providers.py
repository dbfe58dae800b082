"""Every provider keeps the contract."""

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from fix_memory import MemoryDatabase
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


@pytest.mark.faults
class TestPostgres(MemoryContract):
    """As a role that row-level security holds, on tables that are emptied for each case."""

    @pytest.fixture(autouse=True)
    def there(self, memory_database: MemoryDatabase) -> None:
        self.database = memory_database

    def reference(self, folder: Path) -> memory.ProviderRef:
        return self.database.emptied()


@pytest.mark.hypothesis
def test_sqlite_answers_as_dictionaries_do():
    machine = against_dictionaries(TestSqlite().reference)
    run_state_machine_as_test(
        machine, settings=settings(max_examples=settings().max_examples // 5, stateful_step_count=20)
    )


@pytest.mark.hypothesis
@pytest.mark.faults
def test_postgres_answers_as_dictionaries_do(memory_database: MemoryDatabase):
    machine = against_dictionaries(lambda _: memory_database.emptied())
    run_state_machine_as_test(
        machine, settings=settings(max_examples=settings().max_examples // 5, stateful_step_count=20)
    )
