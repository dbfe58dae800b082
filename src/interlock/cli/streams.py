"""stdout is for a command's answer and for nothing else, since programs parse it."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import TextIO

_kept: list[TextIO] = []
"""stdout, while something else stands in its place."""


class Unwritten(Exception):
    """The answer could not be written, for a reason other than that nobody reads it."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def answers() -> TextIO:
    """Where a command's answer goes."""
    return _kept[-1] if _kept else sys.stdout


@contextmanager
def set_aside() -> Generator[None]:
    """Keep stdout for the answer. What connectors print meanwhile goes to stderr, and so does what C code and the programs
    that they start write to the process's own stdout. Raises Unwritten and BrokenPipeError for what was still buffered."""
    real = sys.stdout
    own = _is_own(real)
    kept = _second(real) if own else real
    _kept.append(kept)
    sys.stdout = sys.stderr
    try:
        if own:
            os.dup2(sys.stderr.fileno(), 1)
        yield
        _flush(kept)
    finally:
        _kept.pop()
        sys.stdout = real
        if own:
            os.dup2(kept.fileno(), 1)
            with suppress(OSError):  # what was not written has been told
                kept.close()


def _is_own(stream: TextIO) -> bool:
    """Whether it is the process's own stdout, and not something that a program has put in its place."""
    try:
        return stream.fileno() == 1 and sys.stderr.fileno() >= 0
    except OSError:
        return False


def _second(stream: TextIO) -> TextIO:
    stream.flush()
    return os.fdopen(os.dup(1), "w", encoding=stream.encoding, errors=stream.errors)


def _flush(stream: TextIO) -> None:
    try:
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Unwritten(error) from error
