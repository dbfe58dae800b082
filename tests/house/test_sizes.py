"""A module is one idea, and a function fits on a screen."""

import ast

import sources

MODULE_LINES = 400
FUNCTION_LINES = 50
CONFTEST_LINES = 150

LONGER: dict[str, str] = {}
"""Functions that may be longer, with the reason: {"interlock.room.module.function": "why"}."""


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of code from the `def` to the end, without the docstring: promises are free."""
    end = function.end_lineno or function.lineno
    first = function.body[0]
    documented = ast.get_docstring(function, clean=False) is not None
    promise = (first.end_lineno or first.lineno) - first.lineno + 1 if documented else 0
    return end - function.lineno + 1 - promise


def long_functions() -> dict[str, int]:
    modules = [module for module in sources.MODULES if not module.name.startswith(sources.MIGRATIONS)]
    lengths = {name: length(node) for module in modules for name, node in sources.functions(module)}
    return {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES}


def test_modules_are_short():
    lengths = {module.name: len(module.text.splitlines()) for module in sources.MODULES}
    assert not {name: lines for name, lines in lengths.items() if lines > MODULE_LINES}


def test_functions_fit_on_a_screen():
    assert not {name: lines for name, lines in long_functions().items() if name not in LONGER}


def test_exceptions_are_still_needed():
    assert not LONGER.keys() - long_functions().keys()


def test_conftest_is_short():
    assert len((sources.ROOT / "tests" / "conftest.py").read_text().splitlines()) <= CONFTEST_LINES
