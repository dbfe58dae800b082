"""Conditional reads: a service that says "not modified" (304, RFC 9110 §15.4.5) is answered from what it said before.

It costs the service nothing and counts against no rate limit. What is kept belongs to one connection, because what a
service shows depends on who asks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from interlock import sdk
from interlock.kernel import Clock, Store, Tx, digest

MAX_BODY = 262_144
"""Larger answers, in bytes, are not kept."""

LIFE = timedelta(days=7)
"""What has not been confirmed for that long is dropped."""

NOT_MODIFIED = 304
_OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Validator:
    """An answer with its entity tag, for one request over one connection."""

    tenant_id: str
    connection_id: str
    request_digest: str
    etag: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    updated_at: datetime


class Validators(Protocol):
    """Where validators are kept."""

    def find(self, tx: Tx, tenant_id: str, connection_id: str, request_digest: str) -> Validator | None:
        """What is kept for that request."""
        ...

    def save(self, tx: Tx, validator: Validator) -> None:
        """Keep it, instead of what was kept before."""
        ...

    def prune(self, tx: Tx, tenant_id: str, connection_id: str, before: datetime) -> None:
        """Drop what is older, and all but the newest few hundred."""
        ...


class Revalidation:
    """The conditional reads of one connection."""

    def __init__(
        self, validators: Validators, store: Store, clock: Clock, *, tenant_id: str, connection_id: str
    ) -> None:
        self._validators = validators
        self._store = store
        self._clock = clock
        self._tenant_id = tenant_id
        self._connection_id = connection_id
        self._known: dict[str, Validator] = {}
        self._fresh: dict[str, Validator] = {}

    async def condition(self, request: sdk.HttpRequest) -> sdk.HttpRequest:
        """The request, made conditional if an earlier answer is kept."""
        key = _key(request)
        known = await self._store.read(lambda tx: self._validators.find(tx, self._tenant_id, self._connection_id, key))
        if known is None:
            return request
        self._known[key] = known
        return request.with_header("if-none-match", known.etag)

    def answer(self, request: sdk.HttpRequest, response: sdk.HttpResponse) -> sdk.HttpResponse:
        """The answer to a request, from what is kept if the service says that nothing has changed."""
        key = _key(request)
        known = self._known.get(key)
        if response.status == NOT_MODIFIED and known is not None:
            # The new headers (rate limits, date) with the old answer's content.
            names = {name for name, _ in response.headers}
            kept = tuple(pair for pair in known.headers if pair[0] not in names)
            return sdk.HttpResponse(status=_OK, headers=(*response.headers, *kept), body=known.body)
        etag = response.header("etag")
        # A tag that no header may hold could not be sent back.
        sendable = etag is not None and etag.isascii() and etag.isprintable() and etag == etag.strip()
        if response.status == _OK and etag is not None and sendable and len(response.body) <= MAX_BODY:
            self._fresh[key] = Validator(
                tenant_id=self._tenant_id,
                connection_id=self._connection_id,
                request_digest=key,
                etag=etag,
                headers=[pair for pair in response.headers if pair[0] in ("link", "content-type")],
                body=response.body,
                updated_at=self._clock.now(),
            )
        return response

    async def keep(self) -> None:
        """Store the answers that were new. Raises StoreError."""
        fresh = list(self._fresh.values())
        if not fresh:
            return
        self._fresh.clear()

        def save(tx: Tx) -> None:
            for validator in fresh:
                self._validators.save(tx, validator)
            self._validators.prune(tx, self._tenant_id, self._connection_id, fresh[0].updated_at - LIFE)

        await self._store.write(save)


def _key(request: sdk.HttpRequest) -> str:
    headers = [list(pair) for pair in request.headers if pair[0] != "if-none-match"]
    return digest({"method": request.method, "target": request.target, "headers": headers})
