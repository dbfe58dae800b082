"""What becomes of a request that came to a route: proven, told from what is known, and admitted in one transaction.

Who is not proven learns nothing: an address that nobody has, one that is switched off and a signature that is wrong are answered
alike, and after the same time.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Final, NamedTuple, TypeVar

import anyio
import anyio.to_thread

from interlock import connections, sdk
from interlock.kernel import Clock, IdSource, InvalidJson, Secret, Store
from interlock.triggers.webhooks import evidence, handshakes, signals
from interlock.triggers.webhooks.admitting import Admitting, Moved, Works, read
from interlock.triggers.webhooks.errors import RouteChanged
from interlock.triggers.webhooks.handshakes import Answer
from interlock.triggers.webhooks.incoming import Incoming
from interlock.triggers.webhooks.known import Book, Known
from interlock.triggers.webhooks.model import Delivery, DeliveryState, RouteState
from interlock.triggers.webhooks.records import Records
from interlock.triggers.webhooks.routes import Manifests, Routes
from interlock.triggers.webhooks.verifying import Reason, Refused, Verified, Verifier

REFUSAL_SECONDS: Final = 0.25
"""After so long whoever is not proven is answered, whatever there was to do."""

_HANDOVER_OVERLAP: Final = timedelta(days=1)
_TRIES: Final = 4
_SMALL: Final = 262_144
_LARGE_AT_ONCE: Final = 2
_T = TypeVar("_T")
_STRANGER: Final = sdk.Verification(algorithm="hmac_sha256", header="x-signature")


class Came(StrEnum):
    """What a request turned out to be. `refused`: not proven; `unreadable`: proven, and no JSON; `too_large`: proven, and larger
    than the route takes; `unwanted`: proven, and for an install that an app does not have here; `answered`: the service asked
    whether somebody listens."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    ANSWERED = "answered"
    UNREADABLE = "unreadable"
    TOO_LARGE = "too_large"
    UNWANTED = "unwanted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a request turned out to be, and what there is to answer: after the commit, and with status `acknowledge` where there
    is nothing to say."""

    came: Came
    delivery_id: str | None = None
    answer: Answer | None = None
    acknowledge: int = 200


class _Verdict(NamedTuple):
    """An outcome, and what is kept of a delivery that was not accepted."""

    outcome: Outcome
    kept: Delivery | None = None


class Intake:
    """Takes what comes. Raises StoreError, and RouteChanged while others keep changing the route: the service tries again."""

    def __init__(
        self,
        store: Store,
        records: Records,
        routes: Routes,
        *,
        works: Works,
        manifests: Manifests,
        clock: Clock,
        ids: IdSource,
    ) -> None:
        self._store = store
        self._records = records
        self._routes = routes
        self._clock = clock
        self._ids = ids
        self._book = Book(store, records, routes, manifests, clock)
        self._admitting = Admitting(store, records, works)
        self._recording = evidence.Recording(store, records, clock)
        self._threads = anyio.CapacityLimiter(_LARGE_AT_ONCE)
        self._stranger = Verifier(_STRANGER, [Secret("nobody has this one")])

    async def expects(self, token: str) -> bool:
        """Whether a route takes deliveries at that address: of any other request, the body need not be kept. Raises
        StoreError."""
        known, _ = await self._book.find(connections.token_digest(Secret(token)))
        return known is not None and known.route.state is RouteState.ACTIVE

    def route_id(self, token: str) -> str | None:
        """Whose address that is, as far as it is remembered; for logs, which have no tokens."""
        known = self._book.remembered(connections.token_digest(Secret(token)))
        return None if known is None else known.route.route_id

    async def take(self, token: str, request: Incoming) -> Outcome:
        """What came of a request to the address with that token."""
        begun = self._clock.monotonic()
        outcome = await self._take(connections.token_digest(Secret(token)), request)
        if outcome.came is Came.REFUSED:
            await self._clock.sleep(max(0.0, begun + REFUSAL_SECONDS - self._clock.monotonic()))
        return outcome

    async def _take(self, token_digest: str, request: Incoming) -> Outcome:
        for _ in range(_TRIES):
            known, is_new = await self._book.find(token_digest)
            if known is None:
                self._stranger.verify(request, now=self._clock.now())
                return Outcome(came=Came.REFUSED)
            try:
                verdict = await self._judge(known, request)
            except Moved:
                self._book.forget(known)
                continue
            # What is known here may be older than the secret that it was signed with.
            if verdict.outcome.came is Came.REFUSED and not is_new and not await self._book.is_current(known):
                self._book.forget(known)
                continue
            unknown = verdict.kept is not None and verdict.kept.reason == Reason.UNKNOWN_KEY
            if unknown and await self._routes.secrets.renew_keys(known.route, known.secrets):
                self._book.forget(known)
                continue
            if verdict.kept is not None:
                await self._recording.keep(verdict.kept)
            return replace(verdict.outcome, acknowledge=known.route.verification.acknowledge)
        raise RouteChanged("others keep changing the route")

    async def _judge(self, known: Known, request: Incoming) -> _Verdict:
        """Raises Moved."""
        now, handshake = self._clock.now(), known.route.verification.handshake
        if known.route.state is not RouteState.ACTIVE:
            self._stranger.verify(request, now=now)
            return _Verdict(Outcome(came=Came.REFUSED))
        if handshake is not None and not handshake.signed:
            answered = handshakes.answer(handshake, request, present=None)
            if answered is not None:
                return await self._answer(known, request, answered)
        found = await self._apart(request, lambda: known.verifier.verify(request, now=now))
        if isinstance(found, Refused):
            kept = self._rejected(known, request, found.reason, external_id=found.delivery_id)
            return _Verdict(Outcome(came=Came.REFUSED), kept)
        if len(request.body) > known.route.verification.max_bytes:
            return self._left(known, request, Came.TOO_LARGE, found)
        if handshake is not None and handshake.signed:
            answered = handshakes.answer(handshake, request, present=next(iter(known.secrets), None))
            if answered is not None:
                return _Verdict(Outcome(came=Came.ANSWERED, answer=answered))
        return await self._proven(known, request, found)

    async def _proven(self, known: Known, request: Incoming, found: Verified) -> _Verdict:
        value, install = await self._apart(request, lambda: read(known, request)), known
        if isinstance(value, InvalidJson):
            return self._left(known, request, Came.UNREADABLE, found)
        if known.is_app:
            values = signals.resolve(value, list(known.route.resolution))
            held = None if values is None else await self._book.find_install(known, values)
            if held is None or held.route.state is not RouteState.ACTIVE:
                return self._left(known, request, Came.UNWANTED, found)
            install = held
        delivery_id, now = self._ids.new("dlv"), self._clock.now()
        way = [known] if install is known else [known, install]
        try:
            holder = await self._admitting.take(way, request, value, found, delivery_id=delivery_id, now=now)
        except Moved:
            self._book.forget(install)
            raise
        if holder is None:
            return _Verdict(Outcome(came=Came.ACCEPTED, delivery_id=delivery_id))
        again = evidence.drawn(
            install,
            request,
            delivery_id=delivery_id,
            at=now,
            state=DeliveryState.DUPLICATE,
            external_id=found.delivery_id,
            digest=found.digest,
            facts={"duplicate_of": holder},
        )
        return _Verdict(Outcome(came=Came.DUPLICATE, delivery_id=holder), again)

    async def _apart(self, request: Incoming, look: Callable[[], _T]) -> _T:
        """What there is to see in a request. What is large is looked at on a thread, a few at a time: neither do others wait for
        it, nor does memory fill with what was read."""
        if len(request.body) <= _SMALL:
            return look()
        return await anyio.to_thread.run_sync(look, limiter=self._threads)

    async def _answer(self, known: Known, request: Incoming, answered: Answer) -> _Verdict:
        """Answer whoever may be the service. A secret is taken over once, while the route waits for one. Raises Moved."""
        if answered.secret is not None:
            route, now = known.route, self._clock.now()
            if route.awaiting_until is None or route.awaiting_until <= now:
                return _Verdict(Outcome(came=Came.REFUSED), self._rejected(known, request, Came.REFUSED))
            changed = await self._routes.secrets.renewed(route, answered.secret, overlap=_HANDOVER_OVERLAP)
            if not await self._store.write(lambda tx: self._records.replace(tx, route, changed)):
                raise Moved
            self._book.forget(known)
        return _Verdict(Outcome(came=Came.ANSWERED, answer=answered))

    def _left(self, known: Known, request: Incoming, came: Came, found: Verified) -> _Verdict:
        kept = self._rejected(known, request, came, external_id=found.delivery_id, digest=found.digest)
        return _Verdict(Outcome(came=came), kept)

    def _rejected(
        self,
        known: Known,
        request: Incoming,
        reason: StrEnum,
        *,
        external_id: str | None = None,
        digest: str | None = None,
    ) -> Delivery:
        return evidence.drawn(
            known,
            request,
            delivery_id=self._ids.new("dlv"),
            at=self._clock.now(),
            state=DeliveryState.REJECTED,
            reason=reason,
            external_id=external_id,
            digest=digest,
        )
