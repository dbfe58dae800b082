"""The entry points of installed packages, looked through once for as long as nothing is installed."""

import os
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias, cast

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint, EntryPoints

_Place: TypeAlias = tuple[str, int]


def entry_points(*, group: str) -> "tuple[EntryPoint, ...]":
    """Those of a group, in no order. `importlib.metadata` reads the list of each installed package each time, which is two
    thirds of what it takes to open an Interlock."""
    return _of(group, tuple((path, _changed(path)) for path in sys.path))


def package_of(entry: "EntryPoint") -> tuple[str, str] | None:
    """The name and the version of the package that brought it; None for one that no package brought."""
    return None if entry.dist is None else _named(entry.dist)


@lru_cache(maxsize=64)
def _named(package: "Distribution") -> tuple[str, str]:
    return package.name, package.version  # for each of them its whole description is read and parsed


@lru_cache(maxsize=32)
def _of(group: str, places: tuple[_Place, ...]) -> "tuple[EntryPoint, ...]":
    return tuple(_installed(places).select(group=group))


@lru_cache(maxsize=4)
def _installed(places: tuple[_Place, ...]) -> "EntryPoints":
    from importlib import metadata  # here: few of those that import the kernel need it

    del places  # they tell one installation from another
    # Before 3.12 it is a group of groups, which selects in the same way.
    return cast("EntryPoints", metadata.entry_points())


def _changed(path: str) -> int:
    """When a place of packages was last changed, in nanoseconds; 0 for none."""
    try:
        return os.stat(path or ".").st_mtime_ns
    except OSError:
        return 0
