"""Secrets in environment variables: `env:NAME`."""

import re
from collections.abc import Mapping
from typing import Final

from interlock import connections
from interlock.kernel import Secret

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


class Environment:
    """Reads variables of this process's environment."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    async def fetch(self, place: str, *, tenant_id: str) -> Secret:
        """As `connections.SecretSource`."""
        if not _NAME.fullmatch(place):
            raise connections.SecretUnavailable(
                "what follows `env:` is no name of a variable (it is not shown: it may be the secret)"
            )
        text = self._environ.get(place, "").strip()
        if not text:
            raise connections.SecretUnavailable(
                f"the environment variable {place} is empty or not set",
                next_step="Set it for every process of Interlock, or connect the service again with another source.",
            )
        return Secret(text)
