"""Descriptors by which a sandbox's program is told what to do, and tells what became of it."""

import contextlib
import os
from contextlib import ExitStack
from typing import Final

FIRST: Final = 64
"""The first number for a sandbox's own use; those below belong to commands."""

_MOST: Final = 65_536


def holding(stack: ExitStack, data: bytes) -> int:
    """A descriptor from which the data can be read. It is memory, not a file."""
    fd = os.memfd_create("interlock")
    stack.callback(os.close, fd)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def report(stack: ExitStack) -> tuple[int, int]:
    """A pipe: our end, which does not block, and theirs."""
    ours, theirs = os.pipe()
    stack.callback(os.close, ours)
    stack.callback(os.close, theirs)
    os.set_blocking(ours, False)
    return ours, theirs


def read_all(fd: int) -> bytes:
    """What is in the pipe, up to a bound."""
    said = b""
    with contextlib.suppress(BlockingIOError):
        while len(said) < _MOST and (more := os.read(fd, _MOST)):
            said += more
    return said
