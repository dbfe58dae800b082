"""The contract kit as a plugin: `pytest -p interlock.testing.memory --memory-provider mymodule:open`. It is there only where it
is named; pytest itself is imported by whoever runs it."""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from interlock import memory
from interlock.testing.memory.case import Reference

if TYPE_CHECKING:
    import pytest

RUN = Path(__file__).with_name("pytest_run.py")
"""What is collected."""


def pytest_addoption(parser: "pytest.Parser") -> None:
    """Take the provider that is tried."""
    options = parser.getgroup("memory", "the contract of memory providers")
    options.addoption(
        "--memory-provider",
        metavar="PROVIDER",
        help="an installed provider, or MODULE:NAME of a provider class, or of a function from a folder to a ProviderRef",
    )
    options.addoption(
        "--memory-config",
        metavar="JSON",
        default="{}",
        help="what the provider is opened with; {folder} in it is a new folder for each case",
    )


def pytest_configure(config: "pytest.Config") -> None:
    """Collect the cases: alone, or beside the tests that are named."""
    if config.getoption("memory_provider") is None:
        return
    named = config.args if config.args_source is type(config).ArgsSource.ARGS else []
    config.args = [*named, str(RUN)]


def subject(config: "pytest.Config") -> tuple[Reference, memory.Registry | None]:
    """The provider that the options name, and where it is found. Raises pytest.UsageError."""
    import pytest

    name = str(config.getoption("memory_provider"))
    try:
        given = cast("dict[str, Any]", json.loads(str(config.getoption("memory_config"))))
        module, _, attribute = name.partition(":")
        found: Any = getattr(importlib.import_module(module), attribute) if attribute else name
    except (ValueError, ImportError, AttributeError) as error:
        raise pytest.UsageError(f"--memory-provider {name}: {error}") from error
    if isinstance(found, type) and issubclass(cast("type[object]", found), memory.Provider):
        provider = cast("type[memory.Provider]", found)
        return _named(provider.name, given), memory.Registry.of(provider)
    if isinstance(found, str):
        return _named(found, given), None
    if not callable(cast("object", found)):
        raise pytest.UsageError(f"--memory-provider {name}: neither a provider nor a function")
    return cast("Reference", found), None


def _named(name: str, config: Mapping[str, Any]) -> Reference:
    return lambda folder: memory.ProviderRef(name=name, config=filled(config, {"{folder}": str(folder)}))


def filled(value: Any, words: Mapping[str, str]) -> Any:
    """A configuration in which marks have become words."""
    if isinstance(value, str):
        for mark, word in words.items():
            value = value.replace(mark, word)
        return value
    if isinstance(value, Mapping):  # the configuration of a provider inside
        return {key: filled(each, words) for key, each in cast("Mapping[str, Any]", value).items()}
    return [filled(each, words) for each in cast("list[Any]", value)] if isinstance(value, list) else value
