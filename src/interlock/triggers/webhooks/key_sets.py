"""The keys of those who issue JWTs, fetched from where a verification says (`claims.keys_url`), and kept for a while: in the
process, and in the store for the next one."""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Protocol, TypeAlias

import anyio

from interlock import plane, sdk
from interlock.kernel import Clock, InterlockError, ProviderError, Secret, Store, StoreError, Tx
from interlock.triggers.webhooks import keys
from interlock.triggers.webhooks.model import Route

FRESH: Final = timedelta(hours=1)
"""After so long a set is fetched again."""

LASTS: Final = timedelta(hours=24)
"""So long a set serves that cannot be fetched again."""

PAUSE: Final = timedelta(minutes=1)
"""Between two requests for one set."""

APART: Final = timedelta(minutes=1)
"""So far apart clocks may be. A set from further ahead was dated by a wrong one, and nobody knows how old it is."""

MOST_HELD: Final = 200
MOST_BYTES: Final = 65_536

Fetch: TypeAlias = Callable[[str, str], Awaitable[bytes]]
"""Asks for what is at an address, for a tenant. Raises InterlockError."""

_log = logging.getLogger(__name__)


class IssuerKeysUnavailable(ProviderError):
    """The keys that prove a service's webhooks cannot be fetched, and those that were are too old. The service sends again."""

    code = "issuer_keys_unavailable"
    next_step = "See whether `claims.keys_url` of the route's verification answers, and stands in `webhooks.keys_from`."


class KeptSet(NamedTuple):
    """A set as it was fetched."""

    text: str
    fetched_at: datetime


class KeySetRecords(Protocol):
    """Where the last set of each address is kept, for each tenant."""

    def find(self, tx: Tx, tenant_id: str, url: str) -> KeptSet | None:
        """The set that was fetched from there last."""
        ...

    def save(self, tx: Tx, tenant_id: str, url: str, kept: KeptSet, *, latest: datetime) -> None:
        """Keep it, instead of an older one, or of one that was fetched after `latest`."""
        ...


@dataclass(slots=True)
class _Held:
    """What is at an address, and who may ask for it: one at a time."""

    asking: anyio.Lock = field(default_factory=anyio.Lock)
    text: str | None = None
    fetched: float = 0.0
    asked: float | None = None


class KeySets:
    """Fetches sets from these hosts (`host:port`), for each tenant each at most once a minute."""

    def __init__(
        self, fetch: Fetch, store: Store, records: KeySetRecords, *, hosts: frozenset[str], clock: Clock
    ) -> None:
        self._fetch = fetch
        self._store = store
        self._records = records
        self._hosts = hosts
        self._clock = clock
        self._held = OrderedDict[tuple[str, str], _Held]()

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
        """The set, as it was fetched last. Raises IssuerKeysUnavailable, StoreError."""
        held = self._of(route, url)
        if held.text is None:
            await self._recall(route, url, held)
        if held.text is None or self._age(held) >= FRESH:
            await self._ask(route, url, held)
        if held.text is None or self._age(held) >= LASTS:
            raise IssuerKeysUnavailable(f"the keys of {url[:200]} cannot be fetched, and none are at hand that count")
        return Secret(held.text)

    async def renew(self, route: Route, url: str, used: Sequence[Secret]) -> bool:
        """Fetch the set anew, if that was not done just now; whether it is another one than was `used`: another route may have
        had it fetched."""
        held = self._of(route, url)
        await self._ask(route, url, held)
        return held.text is not None and [held.text] != [each.reveal() for each in used]

    def _of(self, route: Route, url: str) -> _Held:
        place = (route.tenant_id, url)
        held = self._held.setdefault(place, _Held())
        self._held.move_to_end(place)
        if len(self._held) > MOST_HELD:
            self._held.popitem(last=False)
        return held

    def _age(self, held: _Held) -> timedelta:
        return timedelta(seconds=self._clock.monotonic() - held.fetched)

    async def _recall(self, route: Route, url: str, held: _Held) -> None:
        """Take over what another process fetched, with its age, if it is newer."""
        kept = await self._store.read(lambda tx: self._records.find(tx, route.tenant_id, url))
        if kept is None or (age := self._clock.now() - kept.fetched_at) < -APART:
            return
        fetched = self._clock.monotonic() - max(0.0, age.total_seconds())
        if held.text is None or fetched > held.fetched:
            held.text, held.fetched = kept.text, fetched

    async def _ask(self, route: Route, url: str, held: _Held) -> None:
        async with held.asking:
            begun = self._clock.monotonic()
            if held.asked is not None and begun - held.asked < PAUSE.total_seconds():
                return
            try:
                if (problem := self.problem(url)) is not None:
                    raise IssuerKeysUnavailable(problem)
                content = await self._fetch(route.tenant_id, url)
                held.text = _checked(route.verification, content)
                held.fetched = self._clock.monotonic()
            except InterlockError as error:
                held.asked = begun
                _log.warning("the keys of %s could not be fetched: %s", url[:200], error)
                with suppress(StoreError):  # then those at hand have to do
                    await self._recall(route, url, held)
                return
            held.asked = begun
            await self._keep(route, url, KeptSet(held.text, self._clock.now()))

    async def _keep(self, route: Route, url: str, kept: KeptSet) -> None:
        try:
            await self._store.write(
                lambda tx: self._records.save(tx, route.tenant_id, url, kept, latest=self._clock.now() + APART)
            )
        except StoreError as error:
            _log.warning("the keys of %s are not kept for another process: %s", url[:200], error)


def _checked(proof: sdk.Verification, content: bytes) -> str:
    """Raises IssuerKeysUnavailable, UnreadableKey."""
    if len(content) <= MOST_BYTES:
        with suppress(UnicodeDecodeError):
            text = content.decode()
            keys.check(proof, Secret(text))
            return text
    raise IssuerKeysUnavailable(f"what is there is no JWK set of at most {MOST_BYTES} bytes")
