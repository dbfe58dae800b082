"""The contract kit for memory providers: more than a hundred cases, for any test runner, as a pytest plugin and a pytest class.

Owns: the cases by level, what each needs, and how they are tried. Refuses: to know any provider. Invariants: a case holds for
the provider in this process, fails for one that breaks its promise, and is skipped, with the reason, for one that does not
offer what it needs.

    pytest -p interlock.testing.memory --memory-provider mymodule:open

    from interlock.testing.memory import pytest_kit

    class TestMine(pytest_kit.MemoryContract):
        def reference(self, folder):
            return memory.ProviderRef(name="mine", config={"path": str(folder / "mine.db")})
"""

from interlock.testing.memory import (
    apart,
    filters,
    isolation,
    lifecycle,
    lists,
    moving,
    refusals,
    required,
    search,
    temporal,
)
from interlock.testing.memory.case import CASES, LEVELS, SCOPE, Case, Reference, Trial, trying
from interlock.testing.memory.plugin import filled, pytest_addoption, pytest_configure

__all__ = [
    "CASES",
    "LEVELS",
    "SCOPE",
    "Case",
    "Reference",
    "Trial",
    "apart",
    "filled",
    "filters",
    "isolation",
    "lifecycle",
    "lists",
    "moving",
    "pytest_addoption",
    "pytest_configure",
    "refusals",
    "required",
    "search",
    "temporal",
    "trying",
]
