"""Every provider keeps the contract."""

from pathlib import Path

from interlock import memory
from interlock.testing.memory.pytest_kit import MemoryContract


class TestInProcess(MemoryContract):
    """The oracle."""

    def reference(self, folder: Path) -> memory.ProviderRef:
        return memory.ProviderRef(name="memory")


class TestSqlite(MemoryContract):
    """The flagship."""

    def reference(self, folder: Path) -> memory.ProviderRef:
        return memory.ProviderRef(name="sqlite", config={"path": str(folder / "memory.db"), "dimensions": 64})
