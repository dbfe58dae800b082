"""Files that the command line names, with errors that say which and why."""

import sys
from pathlib import Path

from interlock.cli.errors import FileRefused

MAX_BYTES = 512 * 1024 * 1024
"""The largest file that is read, in bytes; what is inside has limits of its own."""


def read(name: str, what: str) -> bytes:
    """A file's content; `-` is stdin. Raises FileRefused."""
    try:
        if name == "-":
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise FileRefused(f"cannot read the {what} {name}: {error.strerror or error}") from error
    if len(content) > MAX_BYTES:
        raise FileRefused(f"the {what} {name} has more than {MAX_BYTES} bytes")
    return content


def write(name: str, content: bytes, what: str) -> None:
    """Write a file, whole; its folder is made, and a file that is there is replaced. `-` is stdout. Raises FileRefused."""
    try:
        if name == "-":
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
        else:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_bytes(content)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FileRefused(f"cannot write the {what} {name}: {error.strerror or error}") from error


def create(name: str, content: bytes, what: str) -> None:
    """Write a file that is not there yet. Raises FileRefused."""
    try:
        with Path(name).open("xb") as file:
            file.write(content)
    except OSError as error:
        raise FileRefused(f"cannot write the {what} {name}: {error.strerror or error}") from error
