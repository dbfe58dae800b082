"""A program's own modules, which hold its handlers of events: loaded by name."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from interlock.kernel import ConfigurationError, is_interruption


class ModuleNotLoaded(ConfigurationError):
    """A module that the settings name cannot be imported."""

    code = "module_not_loaded"
    next_step = (
        "Correct `[app] modules`, or the module. It is looked for beside the settings file, and where Python looks."
    )


def load_modules(names: Sequence[str], *, folder: Path) -> Sequence[ModuleType]:
    """Import the modules of these names, looking into that folder first. Raises ModuleNotLoaded."""
    if names and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return [_load(name) for name in names]


def _load(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except BaseException as error:
        if is_interruption(error):
            raise
        raise ModuleNotLoaded(f"the module {name} cannot be loaded: {type(error).__name__}: {error}") from error
