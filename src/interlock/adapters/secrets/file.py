"""Secrets in files: `file:/path`, which nobody else may read."""

import os
import stat
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from interlock import connections
from interlock.kernel import Secret

_MOST_BYTES: Final = 65_536
_SECONDS: Final = 10


class Files:
    """Reads files whole. They belong to whoever runs this, or to root, and have mode 0600 or less."""

    async def fetch(self, place: str, *, tenant_id: str) -> Secret:
        """As `connections.SecretSource`."""
        path = Path(place)
        if not path.is_absolute():
            raise connections.SecretUnavailable("what follows `file:` is no path from the root (it is not shown)")
        try:
            with anyio.fail_after(_SECONDS):  # a file system may be somewhere else, and gone
                return await anyio.to_thread.run_sync(_read, path, abandon_on_cancel=True)
        except TimeoutError as error:
            raise connections.SecretUnavailable(f"the file {path} could not be read within {_SECONDS} s") from error


def _read(path: Path) -> Secret:
    try:
        # Not blocking: a named pipe must not make us wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise connections.SecretUnavailable(f"the file {path} cannot be read: {error.strerror}") from error
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise connections.SecretUnavailable(f"{path} is not a regular file")
        if facts.st_uid not in {os.geteuid(), 0}:
            raise connections.SecretExposed(f"the file {path} belongs to another user")
        if facts.st_mode & 0o077:
            raise connections.SecretExposed(
                f"the file {path} has mode {stat.S_IMODE(facts.st_mode):04o}: others can get at it",
                next_step=f"`chmod 600 {path}`, and replace the secret if others may have read it.",
            )
        data = os.read(descriptor, _MOST_BYTES + 1)
    finally:
        os.close(descriptor)
    return secret_of(data, f"the file {path}", most=_MOST_BYTES)


def secret_of(data: bytes, where: str, *, most: int) -> Secret:
    """What was read, as a secret: without the line's end. Raises SecretUnavailable."""
    if len(data) > most:
        raise connections.SecretUnavailable(f"{where} holds more than {most} bytes")
    try:
        text = data.decode().strip()
    except UnicodeDecodeError:
        # From nothing: the cause would quote the secret.
        raise connections.SecretUnavailable(f"{where} holds no text") from None
    if not text:
        raise connections.SecretUnavailable(f"{where} is empty")
    return Secret(text)
