"""One drawn error tree: every error has a code of its own, and says what a retry means, who acts and what to do."""

import importlib
import re
from collections import Counter
from collections.abc import Iterator

import pytest

import sources
from interlock import kernel


def tree(root: type[kernel.InterlockError]) -> Iterator[type[kernel.InterlockError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


def errors() -> list[type[kernel.InterlockError]]:
    """Every error that the source defines; what tests and third parties derive does not count."""
    for module in sources.MODULES:
        if "class " in module.text and not module.name.startswith(sources.MIGRATIONS):
            importlib.import_module(module.name)
    found = dict.fromkeys(tree(kernel.InterlockError))
    return [error for error in found if error.__module__.startswith("interlock.")]


@pytest.fixture(scope="module", name="found")
def _found() -> list[type[kernel.InterlockError]]:
    return errors()


def test_every_error_has_a_code_of_its_own(found: list[type[kernel.InterlockError]]):
    assert not [error for error in found if "code" not in vars(error)]
    counts = Counter(error.code for error in found)
    assert not [f"{error.code}: {error.__module__}.{error.__name__}" for error in found if counts[error.code] > 1]
    assert not [error.code for error in found if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", error.code)]


def test_every_error_says_what_a_retry_means_and_who_acts(found: list[type[kernel.InterlockError]]):
    assert not [error for error in found if error.retry not in kernel.Retry or error.fault not in kernel.Fault]


def test_every_error_says_what_to_do_next(found: list[type[kernel.InterlockError]]):
    """Only a defect of Interlock itself is answered with "report this"."""
    report = kernel.InterlockError.next_step
    leaves = [error for error in found if not error.__subclasses__()]
    assert not [error for error in leaves if not error.next_step.strip()]
    assert not [error for error in leaves if error.next_step == report and error.fault is not kernel.Fault.INTERLOCK]


def test_every_error_says_what_it_means(found: list[type[kernel.InterlockError]]):
    assert not [error for error in found if not error.__doc__]
