"""A route's secrets: made, sealed, replaced and read; keys that are fetched count as one."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from interlock import connections, sdk
from interlock.kernel import Clock, Secret
from interlock.triggers.webhooks import sealing, wanting
from interlock.triggers.webhooks.key_sets import KeySets
from interlock.triggers.webhooks.model import Route, RouteState

AWAITING: Final = timedelta(hours=1)
"""How long a service that says itself what the secret is may take."""


class RouteSecrets:
    """Of all routes. Everything raises StoreError besides what it names."""

    def __init__(
        self,
        cipher: connections.Cipher,
        *,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
        key_sets: KeySets | None = None,
    ) -> None:
        self._cipher = cipher
        self._clock = clock
        self._random_bytes = random_bytes
        self._key_sets = key_sets

    async def renewed(self, route: Route, secret: Secret | None, *, overlap: timedelta) -> Route:
        """The route with that secret, and with the present one beside it, if it has one of its own; without one it waits for the
        service's."""
        now = self._clock.now()
        if secret is None:
            return replace(route, awaiting_until=now + AWAITING, revision=route.revision + 1, updated_at=now)
        present = (await self.read(route))[:1] if overlap and route.sealed is not None else []
        changed = replace(
            route,
            secret_version=route.secret_version + 1,
            former_until=now + overlap if present else None,
            awaiting_until=None,
            revision=route.revision + 1,
            updated_at=now,
        )
        return await self.seal(changed, [secret, *present])

    async def read(self, route: Route) -> list[Secret]:
        """The secrets that count now, the present one first; keys that are fetched count as one, and are for no route that takes
        nothing. Raises CredentialDamaged, IssuerKeysUnavailable."""
        if route.sealed is None:
            url = _keys_url(route.verification)
            if url is None or self._key_sets is None or route.state is not RouteState.ACTIVE:
                return []
            return [await self._key_sets.read(route, url)]
        plaintext = await self._cipher.open(route.tenant_id, route.sealed, aad=sealing.binding(route))
        held = sealing.unpack(plaintext)
        return held if route.former_until is not None and route.former_until > self._clock.now() else held[:1]

    async def renew_keys(self, route: Route, used: Sequence[Secret]) -> bool:
        """Fetch its issuer's keys anew, at most once a minute; whether they are others than were `used`."""
        url = _keys_url(route.verification)
        if url is None or route.sealed is not None or self._key_sets is None:
            return False
        return await self._key_sets.renew(route, url, used)

    async def seal(self, route: Route, secrets: Sequence[Secret]) -> Route:
        """The route with these, sealed; without any it waits for the service's, if that hands one over."""
        if not secrets:
            handshake = route.verification.handshake
            waits = handshake is not None and handshake.hands_over and route.has_address
            return replace(route, awaiting_until=route.created_at + AWAITING if waits else None)
        plaintext = sealing.pack(secrets)
        return replace(route, sealed=await self._cipher.seal(route.tenant_id, plaintext, aad=sealing.binding(route)))

    def problems(self, proof: sdk.Verification, secret: Secret | None) -> list[str]:
        """What is wrong with that secret, or with there being none. Raises UnreadableKey."""
        url = _keys_url(proof)
        if secret is not None or url is None or self._key_sets is None:
            return wanting.secret_problems(proof, secret)
        problem = self._key_sets.problem(url)
        return [] if problem is None else [problem]

    def make(self, proof: sdk.Verification) -> Secret | None:
        """A secret for both sides, where it is ours to choose."""
        if proof.algorithm in ("unsigned", "jwt") or (proof.handshake is not None and proof.handshake.hands_over):
            return None
        raw = self._random_bytes(32)
        coded = base64.b64encode(raw).decode()
        texts = {"text": raw.hex(), "hex": raw.hex(), "base64": coded, "whsec": f"whsec_{coded}"}
        return Secret(texts[proof.key])


def _keys_url(proof: sdk.Verification) -> str | None:
    return None if proof.claims is None else proof.claims.keys_url
