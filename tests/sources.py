"""The source tree as data, for the tests of the house rules."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"


@dataclass(frozen=True)
class Module:
    """One file of `src/interlock`. `name` is dotted; a package has the name of its folder."""

    name: str
    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, filename=str(self.path))

    @property
    def room(self) -> str:
        """`runs` for `interlock.runs.model`; empty for the package itself."""
        return self.name.partition(".")[2].partition(".")[0]

    @property
    def is_door(self) -> bool:
        return self.path.name == "__init__.py"

    def __str__(self) -> str:
        return self.name


def _modules() -> Iterator[Module]:
    for path in sorted((SRC / "interlock").rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        yield Module(".".join(parts[:-1] if parts[-1] == "__init__" else parts), path)


MODULES = tuple(_modules())
MIGRATIONS = "interlock.adapters.sql.versions."
"""Migrations are numbered scripts that Alembic loads by path, not modules that anyone imports."""

WALLS = ("interlock.adapters", "interlock.connectors")
"""Packages that only hold rooms: they say what they hold and export nothing."""

DOORS = tuple(
    module
    for module in MODULES
    if module.is_door and module.name not in WALLS and module.name.rpartition(".")[0] in ("interlock", *WALLS)
)
"""The rooms' own `__init__` files."""


def functions(module: Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function and method with its dotted name, nested ones included."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{prefix}.{child.name}"
                if not isinstance(child, ast.ClassDef):
                    yield name, child
                yield from walk(child, name)
            else:
                yield from walk(child, prefix)

    yield from walk(module.tree, module.name)


LOOP_METHODS = frozenset(
    {
        "connect_accepted_socket",
        "create_connection",
        "create_datagram_endpoint",
        "create_server",
        "create_unix_connection",
        "create_unix_server",
        "sock_connect",
        "sock_sendto",
        "subprocess_exec",
        "subprocess_shell",
    }
)
"""What an event loop opens and starts: no import tells of it."""

DYNAMIC = frozenset({"__import__", "eval", "exec"})


def uses(module: Module) -> Iterator[tuple[str, int]]:
    """Every imported name that the module uses, written in full (`datetime.datetime.now`), with its line. Imports count
    as uses, and so do words by which what was not imported can be had (`builtins.exec`, `?.create_connection`)."""
    known: dict[str, str] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.name if alias.asname else alias.name.partition(".")[0]
                known[alias.asname or name] = name
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                yield f"{node.module}.{alias.name}", node.lineno
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and (name := _dotted(node)):
            first, _, rest = name.partition(".")
            if first in known:
                yield f"{known[first]}.{rest}", node.lineno
        if isinstance(node, ast.Attribute) and node.attr in LOOP_METHODS:
            yield f"?.{node.attr}", node.lineno
        if isinstance(node, ast.Name) and node.id in DYNAMIC and node.id not in known:
            yield f"builtins.{node.id}", node.lineno


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (inner := _dotted(node.value)):
        return f"{inner}.{node.attr}"
    return None
