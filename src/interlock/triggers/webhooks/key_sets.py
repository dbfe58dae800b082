"""The keys of those who issue JWTs, fetched from where a verification says (`claims.keys_url`), and kept for a while."""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, TypeAlias

import anyio

from interlock import plane, sdk
from interlock.kernel import Clock, InterlockError, ProviderError, Secret
from interlock.triggers.webhooks import keys
from interlock.triggers.webhooks.model import Route

FRESH: Final = timedelta(hours=1)
"""After so long a set is fetched again."""

LASTS: Final = timedelta(hours=24)
"""So long a set serves that cannot be fetched again."""

PAUSE: Final = timedelta(minutes=1)
"""Between two requests for one set."""

MOST_HELD: Final = 200
MOST_BYTES: Final = 65_536

Fetch: TypeAlias = Callable[[str, str], Awaitable[bytes]]
"""Asks for what is at an address, for a tenant. Raises InterlockError."""

_log = logging.getLogger(__name__)


class IssuerKeysUnavailable(ProviderError):
    """The keys that prove a service's webhooks cannot be fetched, and those that were are too old. The service sends again."""

    code = "issuer_keys_unavailable"
    next_step = "See whether `claims.keys_url` of the route's verification answers, and stands in `webhooks.keys_from`."


@dataclass(slots=True)
class _Held:
    """What is at an address, and who may ask for it: one at a time."""

    asking: anyio.Lock = field(default_factory=anyio.Lock)
    text: str | None = None
    fetched: float = 0.0
    asked: float | None = None


class KeySets:
    """Fetches sets from these hosts (`host:port`), each at most once a minute."""

    def __init__(self, fetch: Fetch, *, hosts: frozenset[str], clock: Clock) -> None:
        self._fetch = fetch
        self._hosts = hosts
        self._clock = clock
        self._held = OrderedDict[str, _Held]()

    def problem(self, url: str) -> str | None:
        """Why nothing is fetched from there."""
        try:
            host = plane.parse_url(url).host_port
        except ValueError as error:
            return f"claims.keys_url is no address: {error}"
        if host not in self._hosts:
            return f"its issuer's keys are fetched from {host}: name that in webhooks.keys_from, or give them as the secret"
        return None

    async def read(self, route: Route, url: str) -> Secret:
        """The set, as it was fetched last. Raises IssuerKeysUnavailable."""
        held = self._of(url)
        if held.text is None or self._age(held) >= FRESH:
            await self._ask(route, url, held)
        if held.text is None or self._age(held) >= LASTS:
            raise IssuerKeysUnavailable(f"the keys of {url[:200]} cannot be fetched, and none are at hand that count")
        return Secret(held.text)

    async def renew(self, route: Route, url: str, used: Sequence[Secret]) -> bool:
        """Fetch the set anew, if that was not done just now; whether it is another one than was `used`: another route may have
        had it fetched."""
        held = self._of(url)
        await self._ask(route, url, held)
        return held.text is not None and [held.text] != [each.reveal() for each in used]

    def _of(self, url: str) -> _Held:
        held = self._held.setdefault(url, _Held())
        self._held.move_to_end(url)
        if len(self._held) > MOST_HELD:
            self._held.popitem(last=False)
        return held

    def _age(self, held: _Held) -> timedelta:
        return timedelta(seconds=self._clock.monotonic() - held.fetched)

    async def _ask(self, route: Route, url: str, held: _Held) -> None:
        async with held.asking:
            now = self._clock.monotonic()
            if held.asked is not None and now - held.asked < PAUSE.total_seconds():
                return
            held.asked = now
            try:
                if (problem := self.problem(url)) is not None:
                    raise IssuerKeysUnavailable(problem)
                content = await self._fetch(route.tenant_id, url)
                held.text = _checked(route.verification, content)
                held.fetched = self._clock.monotonic()
            except InterlockError as error:
                _log.warning("the keys of %s could not be fetched: %s", url[:200], error)


def _checked(proof: sdk.Verification, content: bytes) -> str:
    """Raises IssuerKeysUnavailable, UnreadableKey."""
    if len(content) <= MOST_BYTES:
        with suppress(UnicodeDecodeError):
            text = content.decode()
            keys.check(proof, Secret(text))
            return text
    raise IssuerKeysUnavailable(f"what is there is no JWK set of at most {MOST_BYTES} bytes")
