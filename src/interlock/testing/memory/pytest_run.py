"""What `pytest -p interlock.testing.memory` collects: the cases, on the provider that its options name."""

from pathlib import Path

import pytest

from interlock import memory
from interlock.testing.memory import plugin
from interlock.testing.memory.pytest_kit import MemoryContract


class TestProvider(MemoryContract):
    """The provider of `--memory-provider`."""

    @pytest.fixture(autouse=True)
    def subject(self, pytestconfig: pytest.Config) -> None:
        """Find it."""
        self._made, self.registry = plugin.subject(pytestconfig)

    def reference(self, folder: Path) -> memory.ProviderRef:
        return self._made(folder)
