"""The signing keys of subscriptions: made, sealed, opened. It waits, so it stands before a transaction and never inside one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import orjson

from interlock import connections
from interlock.kernel import Secret, canonical
from interlock.subscriptions import signing
from interlock.subscriptions.model import Scheme, Subscription, binding


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A new key, as it is stored and as receivers may see it."""

    key: Secret
    sealed: connections.Sealed
    public_keys: Sequence[str]


class Keys:
    """Makes keys, and gives back those that a subscription signs with."""

    def __init__(self, cipher: connections.Cipher, random_bytes: Callable[[int], bytes]) -> None:
        self._cipher = cipher
        self._random_bytes = random_bytes

    async def make(
        self, scheme: Scheme, *, subscription_id: str, tenant_id: str, before: Sequence[Secret] = ()
    ) -> Made:
        """A key for the subscription, sealed together with the one `before`."""
        keys = [signing.new_key(scheme, self._random_bytes), *before[:1]]
        plaintext = canonical([each.reveal() for each in keys])
        sealed = await self._cipher.seal(tenant_id, plaintext, aad=binding(subscription_id, tenant_id))
        public = [found for each in keys if (found := signing.public_key(each)) is not None]
        return Made(key=keys[0], sealed=sealed, public_keys=public)

    async def open(self, subscription: Subscription, *, at: datetime) -> Sequence[Secret]:
        """What it signs with at that moment, the newest first. Raises CredentialDamaged, StoreError."""
        aad = binding(subscription.subscription_id, subscription.tenant_id)
        plaintext = await self._cipher.open(subscription.tenant_id, subscription.sealed, aad=aad)
        keys = [Secret(each) for each in cast("list[str]", orjson.loads(plaintext))]
        both = subscription.overlap_until is not None and at < subscription.overlap_until
        return keys if both else keys[:1]
