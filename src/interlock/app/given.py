"""Secrets that whoever opens the plane by itself hands over, for commands of their own."""

from collections.abc import Mapping
from typing import Final

from interlock import plane
from interlock.kernel import NotFoundError, Secret

AUDIENCE: Final = "caller.invalid:1"
"""For no service: what the command does with them is the caller's to know."""


class NoCredentials(NotFoundError):
    """The plane by itself keeps no credentials."""

    code = "no_credentials"
    next_step = "Invoke a capability over a connection instead: `interlock invoke`."


class Given:
    """A `plane.CredentialResolver` of these, by the variables that they become; of nothing, if there are none."""

    def __init__(self, values: Mapping[str, Secret]) -> None:
        self._values = dict(values)

    @property
    def variables(self) -> tuple[plane.ProcessSecret, ...]:
        """All of them, as an intent lists them."""
        return tuple(plane.ProcessSecret(handle=name, field="value", host=AUDIENCE, env=name) for name in self._values)

    async def redeem(self, ref: plane.CredentialRef, *, host: str, tenant_id: str, run_id: str) -> Secret:
        """As the port says. Raises NoCredentials."""
        del tenant_id, run_id
        if ref.handle not in self._values or host != AUDIENCE:
            raise NoCredentials(f"there is nobody to redeem {ref.handle}")
        return self._values[ref.handle]
