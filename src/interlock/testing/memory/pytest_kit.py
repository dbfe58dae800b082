"""The contract kit for pytest: derive from `MemoryContract`, and say where the provider is."""

from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from interlock import memory
from interlock.testing.memory.case import Case, trying


def _cases() -> list[Case]:
    from interlock.testing.memory import CASES

    return CASES


class MemoryContract(ABC):
    """Every case of the contract as a test. What a provider does not offer is skipped, and said."""

    registry: memory.Registry | None = None
    """Where the provider is found; None: among what is installed."""

    @abstractmethod
    def reference(self, folder: Path) -> memory.ProviderRef:
        """The provider, on storage of its own in this folder."""

    @pytest.fixture(scope="class")
    @classmethod
    def anyio_backend(cls) -> str:
        """What drives the cases."""
        return "asyncio"

    @pytest.mark.anyio
    @pytest.mark.parametrize("case", _cases(), ids=str)
    async def test_case(self, case: Case, tmp_path: Path) -> None:
        """One promise."""
        async with trying(self.reference, tmp_path, registry=self.registry) as trial:
            if (missing := case.missing(trial.mem.capabilities())) is not None:
                pytest.skip(f"not offered: {missing}")
            await case.act(trial)
