"""A room's `__init__` is its door: a charter and the exports, no logic. What it exports says what it promises."""

import ast
import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest

import sources

HELD = tuple(wall.removeprefix("interlock.") for wall in sources.WALLS)


def is_export(node: ast.stmt) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    if isinstance(node, ast.Assign):
        return all(isinstance(target, ast.Name) and target.id.startswith("__") for target in node.targets)
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def breaches(module: sources.Module) -> list[str]:
    """Imports from other rooms that take a name instead of the room, or climb in behind the door. The kernel's names may
    be taken by themselves, and what a wall holds is a room; so is each service that `testing` plays."""
    found: list[str] = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            behind = [alias.name for alias in node.names if re.match(r"interlock\.\w+\.", alias.name)]
            found += [f"{module.name}:{node.lineno}: {name}" for name in behind]
        elif isinstance(node, ast.ImportFrom) and node.module:
            package, _, room = node.module.partition(".")
            if (
                package == "interlock"
                and room not in ("", "kernel", "testing", *HELD)
                and room.partition(".")[0] != module.room
            ):
                found.append(f"{module.name}:{node.lineno}: {node.module}")
    return found


def promise(thing: object) -> str | None:
    """The docstring that stands in the source; a dataclass or an enumeration makes one up when there is none."""
    assert inspect.isclass(thing) or inspect.isfunction(thing)
    tree = ast.parse(Path(sys.modules[thing.__module__].__file__ or "").read_text())
    named = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == thing.__name__
    ]
    return ast.get_docstring(named[0]) if named else inspect.getdoc(thing)


@pytest.mark.parametrize("door", sources.DOORS, ids=str)
def test_a_door_has_a_charter(door: sources.Module):
    charter = ast.get_docstring(door.tree) or ""
    missing = [word for word in ("Owns:", "Refuses:", "Invariants:") if word not in charter]
    assert not missing, f"the charter of {door} does not say {missing}"


def test_walls_say_what_they_hold():
    walls = [module for module in sources.MODULES if module.name in sources.WALLS]
    assert len(walls) == len(sources.WALLS)
    assert not [wall.name for wall in walls if not ast.get_docstring(wall.tree) or len(wall.tree.body) > 1]


@pytest.mark.parametrize("door", sources.DOORS, ids=str)
def test_a_door_has_no_logic(door: sources.Module):
    assert not [ast.unparse(node) for node in door.tree.body if not is_export(node)]


@pytest.mark.parametrize("door", sources.DOORS, ids=str)
def test_a_door_names_its_exports(door: sources.Module):
    room = importlib.import_module(door.name)
    exports: list[str] = room.__all__
    assert not [name for name in exports if name.startswith("_") or not hasattr(room, name)]


@pytest.mark.parametrize("door", sources.DOORS, ids=str)
def test_exports_say_what_they_promise(door: sources.Module):
    room = importlib.import_module(door.name)
    silent: list[str] = []
    for name in room.__all__:
        thing = getattr(room, name)
        if not getattr(thing, "__module__", "").startswith("interlock"):
            continue
        if inspect.isclass(thing) or inspect.isfunction(thing):
            if not promise(thing):
                silent.append(name)
            if getattr(thing, "_is_protocol", False):
                methods = inspect.getmembers(thing, inspect.isfunction)
                silent += [f"{name}.{method}" for method, code in methods if method[0] != "_" and not code.__doc__]
    assert not silent, f"exported by {door} without a docstring"


def test_other_rooms_are_imported_whole_and_by_the_door():
    """The package itself is the front door: it hands out what users import by name."""
    inside = [module for module in sources.MODULES if module.room]
    assert not [breach for module in inside for breach in breaches(module)]
