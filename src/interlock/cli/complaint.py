"""Errors as people and programs see them, and the exit codes that go with them."""

import json
import os
import sys
import traceback
from collections.abc import Iterator
from math import ceil
from typing import TextIO, cast

from interlock.cli.errors import Usage
from interlock.cli.text import hanging, json_text
from interlock.kernel import (
    JSON,
    ConfigurationError,
    ConnectionError_,
    InterlockError,
    RequestError,
    StoreError,
    UnknownOutcome,
    VerificationError,
    canonical,
)

DONE, FAILED, USAGE, DENIED, HELD, UNKNOWN, NOT_VERIFIED, STORE = range(8)
INTERRUPTED = 130
"""As shells count: 128 and the number of the signal."""

PIPE_CLOSED = 141

_BRANCHES: tuple[tuple[type[InterlockError], int], ...] = (
    (StoreError, STORE),
    (VerificationError, NOT_VERIFIED),
    (UnknownOutcome, UNKNOWN),
    (RequestError, USAGE),
    (ConfigurationError, USAGE),
    (ConnectionError_, USAGE),
)
_LEAVES = {
    "over_budget": DENIED,
    "interrupted": INTERRUPTED,
    # These were tried, or ended while a call was under way; of other connections nothing is asked before they change.
    **dict.fromkeys(
        (
            "probe_failed",
            "not_renewed",
            "lease_expired",
            "lease_revoked",
            "lease_not_found",
            "host_not_leased",
            "install_failed",
        ),
        FAILED,
    ),
    "credential_damaged": STORE,
}
"""Errors that mean something else to a shell than their branch does."""


def exit_code(error: InterlockError) -> int:
    """The exit code that an error means."""
    # A failure that is told again keeps its recorded code and loses its class.
    code = str(error.to_json()["code"])
    return exit_code_of(type(error) if code == error.code else next(_known(code, InterlockError), type(error)))


def exit_code_of(kind: type[InterlockError]) -> int:
    """The exit code that errors of a class mean."""
    branch = next((code for branch, code in _BRANCHES if issubclass(kind, branch)), FAILED)
    return _LEAVES.get(kind.code, branch)


def _known(code: str, tree: type[InterlockError]) -> Iterator[type[InterlockError]]:
    if tree.code == code:
        yield tree
    for each in tree.__subclasses__():
        yield from _known(code, each)


def complain(error: InterlockError, *, as_json: bool, on_a_line: bool = False, verbose: bool = False) -> None:
    """Say what is wrong, with what, and what next: on stderr, or as one JSON document on stdout, `on_a_line` where it follows
    others."""
    if os.environ.get("INTERLOCK_DEBUG") == "1":
        traceback.print_exception(error)
    told = error.to_json()
    if as_json and _written((canonical({"error": told}).decode() if on_a_line else json_text({"error": told})) + "\n"):
        return
    lines = [("error", error.message)]
    if isinstance(error, Usage) and "usage" in error.details:
        lines.append(("usage", str(error.details["usage"])))
    if error.run_id is not None:
        lines.append(("run", error.run_id))
    if verbose:
        lines += [("code", str(told["code"])), ("retry", str(told["retry"])), ("fault", str(told["fault"]))]
        if getattr(error, "tells_cause", False) and error.__cause__ is not None:
            lines.append(("cause", f"{type(error.__cause__).__name__}: {error.__cause__}"[:2_000]))
        lines += [("details", json.dumps(told["details"], ensure_ascii=False))] if told["details"] else []
    if isinstance(after := cast("dict[str, JSON]", told["details"]).get("retry_after"), int | float):
        lines.append(("wait", f"{ceil(after)} s"))
    lines.append(("next", str(told["next_step"])))
    try:
        _write(lines)
    except OSError:  # nobody can be told
        drop(sys.stderr)


def drop(stream: TextIO) -> None:
    """What is still buffered goes nowhere, so that the interpreter ends in peace."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _written(text: str) -> bool:
    """Whether stdout took a text, or is not read; if it cannot be written, stderr may."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        drop(sys.stdout)
        return isinstance(error, BrokenPipeError)
    return True


def _write(lines: list[tuple[str, str]]) -> None:
    colours = {"error": "\x1b[1;31m", "next": "\x1b[1;36m"} if _coloured() else {}
    for label, text in lines:
        start, end = (colours[label], "\x1b[0m") if label in colours else ("", "")
        sys.stderr.write(f"{start}{label}:{end} {hanging(text)}\n")
    sys.stderr.flush()


def _coloured() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
