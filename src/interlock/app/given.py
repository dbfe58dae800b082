"""Secrets that whoever opens the plane by itself hands over, for commands of their own, or has redeemed."""

from collections import deque
from collections.abc import Mapping
from typing import Final

from interlock import plane
from interlock.kernel import NotFoundError, Redactor, Secret

MOST_REMEMBERED: Final = 1000
"""Of the secrets that were redeemed, the latest so many are looked for in evidence."""

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
    def secrets(self) -> tuple[Secret, ...]:
        """All of them."""
        return tuple(self._values.values())

    @property
    def variables(self) -> tuple[plane.ProcessSecret, ...]:
        """All of them, as an intent lists them."""
        return tuple(plane.ProcessSecret(handle=name, field="value", host=AUDIENCE, env=name) for name in self._values)

    async def redeem(self, ref: plane.SecretRef, *, host: str, tenant_id: str, run_id: str) -> Secret:
        """As the port says. Raises NoCredentials."""
        del tenant_id, run_id
        if ref.handle not in self._values or host != AUDIENCE:
            raise NoCredentials(f"there is nobody to redeem {ref.handle}")
        return self._values[ref.handle]


class Remembering:
    """A `plane.CredentialResolver` that hands on what another redeems, and knows it again in evidence."""

    def __init__(self, resolver: plane.CredentialResolver, *, also: tuple[Secret, ...]) -> None:
        """`also`: what is known from the beginning."""
        self._resolver = resolver
        self._also = also
        self._redeemed = deque[Secret](maxlen=MOST_REMEMBERED)
        self._redactor = Redactor(also)

    def redactor(self) -> Redactor:
        """Of all that is known by now."""
        return self._redactor

    async def redeem(self, ref: plane.SecretRef, *, host: str, tenant_id: str, run_id: str) -> Secret:
        """As the port says."""
        secret = await self._resolver.redeem(ref, host=host, tenant_id=tenant_id, run_id=run_id)
        if secret not in self._redeemed:
            self._redeemed.append(secret)
            self._redactor = Redactor((*self._also, *self._redeemed))
        return secret
