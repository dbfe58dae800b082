"""The table of all errors in `docs/errors.md`, made from the error tree.

`python tools/errors.py` says whether the page is what the tree says; `--write` puts its table in order. The prose above the
mark is written by hand.
"""

import argparse
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

import interlock
from interlock import kernel, plane
from interlock.cli import complaint

PAGE = Path(__file__).parents[1] / "docs" / "errors.md"
MARK = "<!-- made by tools/errors.py: below this line the error tree speaks -->"
LEFT_OUT = ("interlock.adapters.sql.versions", "interlock.adapters.sql.env")
"""Scripts that only Alembic runs."""


def errors() -> list[type[kernel.InterlockError]]:
    """Every error that Interlock defines, each branch of the tree before its leaves."""
    for module in pkgutil.walk_packages(interlock.__path__, "interlock."):
        if not module.name.startswith(LEFT_OUT) and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = dict.fromkeys(_tree(kernel.InterlockError))  # one with two parents is met twice
    return [error for error in found if error.__module__.startswith("interlock.")]


def table() -> str:
    """The errors, a section for each branch, in the order in which the kernel draws them."""
    found = errors()
    branches = [error for error in found if error.__module__ == "interlock.kernel.errors"]
    parts: list[str] = []
    for branch in branches:
        own = sorted((error for error in found if _branch(error, branches) is branch), key=lambda error: error.code)
        rows = [_row(error) for error in (branch, *(error for error in own if error is not branch))]
        lines = ["| code | exit code | meaning | retry | who acts | next step |", "|---|---|---|---|---|---|", *rows]
        parts.append("\n".join([f"## {branch.__name__}", "", *lines]))
    return "\n\n".join([*parts, _failures()]) + "\n"


def _failures() -> str:
    """Why the plane brought no answer: the classes behind `effect_failed`."""
    rows = [
        f"| `{failure.value}` | {meaning.effect} | {meaning.retry.value} | {meaning.owner.value} | {meaning.next_step} |"
        for failure, meaning in plane.MEANINGS.items()
    ]
    about = """## Why there was no answer

An `effect_failed` has one of these in `details.failure_class`, and takes its retry meaning, its fault and its next step from
here. The effect is `none` (nothing happened), `unknown` (it may have), or `depends` (the receipt's delivery tells)."""
    lines = ["| failure class | effect | retry | who acts | next step |", "|---|---|---|---|---|", *rows]
    return "\n".join([about, "", *lines])


def page() -> str:
    """The page as it should be."""
    prose, mark, _ = PAGE.read_text().partition(MARK)
    if not mark:
        raise ValueError(f"{PAGE} lacks the line {MARK}")
    return f"{prose}{MARK}\n\n{table()}"


def _tree(root: type[kernel.InterlockError]) -> Iterator[type[kernel.InterlockError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


def _branch(error: type[kernel.InterlockError], branches: list[type[kernel.InterlockError]]) -> type:
    return next(parent for parent in error.__mro__ if parent in branches)


def _row(error: type[kernel.InterlockError]) -> str:
    about = inspect.cleandoc(error.__doc__ or "").partition("\n\n")[0]
    exit_code = str(complaint.exit_code_of(error))
    cells = (f"`{error.code}`", exit_code, about, error.retry.value, error.fault.value, error.next_step)
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def main() -> None:
    """Compare, or write."""
    parser = argparse.ArgumentParser(description="The table of all errors in docs/errors.md.")
    parser.add_argument("--write", action="store_true", help="write what differs")
    wanted = page()
    if parser.parse_args().write:
        PAGE.write_text(wanted)
    if PAGE.read_text() != wanted:
        sys.exit("docs/errors.md is not what the error tree says; `python tools/errors.py --write` puts it in order.")


if __name__ == "__main__":
    main()
