"""Secrets that a program prints: `command:PROGRAM ARGUMENT …`. Its words are arguments, and nothing is read by a shell."""

import shlex
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from interlock import connections
from interlock.adapters.secrets.file import secret_of
from interlock.kernel import Secret

_MOST_BYTES: Final = 65_536

Run: TypeAlias = Callable[[Sequence[str], str], Awaitable[bytes]]
"""Runs a program for a tenant and returns what it printed. Raises ErrandFailed."""


class Commands:
    """Asks programs, such as those of password managers."""

    def __init__(self, run: Run) -> None:
        self._run = run

    async def fetch(self, place: str, *, tenant_id: str) -> Secret:
        """As `connections.SecretSource`."""
        try:
            argv = shlex.split(place)
        except ValueError as error:
            raise connections.SecretUnavailable(
                f"what follows `command:` cannot be split into words: {error}"
            ) from error
        if not argv:
            raise connections.SecretUnavailable("nothing follows `command:`")
        try:
            printed = await self._run(argv, tenant_id)
        except connections.ErrandFailed as error:
            raise connections.SecretUnavailable(
                f"the program {argv[0]!r} gave no secret: {error.message}",
                next_step="Run it yourself: it prints the secret, and nothing else, on its standard output.",
            ) from error
        return secret_of(printed, f"what {argv[0]!r} printed", most=_MOST_BYTES)
