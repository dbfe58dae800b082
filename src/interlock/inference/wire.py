"""The wire of one attempt: a model's requests as sends of its run."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, cast

from pydantic import ValidationError

from interlock import connections, plane, runs
from interlock.inference import records
from interlock.inference.endpoints import Endpoint
from interlock.inference.errors import ModelRefused
from interlock.inference.port import Received, Sending
from interlock.kernel import Redactor, Secret

CHECKPOINT_S: Final = 2.0
"""Seconds of a stream between two notes of how far it has come."""

MAX_BYTES: Final = 33_554_432
"""The largest answer."""

_BUSY: Final = (503, 529)
_MAX_MS: Final = 3_600_000
_OURS: Final = plane.RESERVED_HEADERS | {"accept-encoding", "authorization", "x-api-key", "x-goog-api-key", "api-key"}
"""Headers that the lane sets, and those in which a library shows a key that it thinks it has."""


class RunWire:
    """A `Wire` whose requests are sends of a run's attempt. `notes` go on record with its next change."""

    def __init__(
        self,
        wiring: runs.Wiring,
        working: runs.Working,
        outlet: runs.Outlet,
        endpoint: Endpoint,
        handle: str,
        *,
        deadline_at: datetime,
        redactor: Redactor,
        notes: list[runs.Entry],
    ) -> None:
        self._wiring = wiring
        self._working = working
        self._outlet = outlet
        self._endpoint = endpoint
        self._handle = handle
        self._deadline_at = deadline_at
        self._redactor = redactor
        self._notes = notes
        self._status: int | None = None

    @property
    def was_refused(self) -> bool:
        """Whether the provider answered the last request with a status that says that it did nothing."""
        return self._status is not None and (400 <= self._status < 500 or self._status in _BUSY)

    @asynccontextmanager
    async def send(self, sending: Sending) -> AsyncGenerator[Received]:
        """As the port says."""
        self._status = None
        told, self._notes[:] = list(self._notes), []
        flow = await self._outlet.send(lambda identity: self._intent(sending, identity), told=told)
        tally = records.Tally()
        self._status = flow.status
        self._notes.append(records.opened(flow.status))
        headers = tuple((name, self._redactor.text(value)) for name, value in flow.headers)
        try:
            yield Received(status=flow.status, headers=headers, pieces=self._pieces(flow, tally))
        finally:
            flow.close()
            self._notes.append(tally.closed())

    def _intent(self, sending: Sending, identity: Mapping[str, Any]) -> plane.HttpIntent:
        endpoint, remaining = self._endpoint, self._deadline_at - self._wiring.clock.now()
        assert endpoint.host is not None
        patience = max(1, min(_MAX_MS, int(remaining.total_seconds() * 1000)))
        shown = {name for name, _ in endpoint.show}
        headers = tuple(each for each in sending.headers if each[0].lower() not in _OURS | shown)
        try:
            return plane.HttpIntent(
                **identity,
                method=cast("Any", sending.method),
                url=sending.url,
                headers=headers,
                body=sending.body,
                credentials=endpoint.credentials(self._handle),
                allowed_hosts=(endpoint.host,),
                timeouts=plane.Timeouts(read_ms=patience, total_ms=patience),
                max_response_bytes=MAX_BYTES,
                response_mode="stream",
            )
        except ValidationError as error:
            raise ModelRefused(f"the request to {endpoint.ref} cannot be sent: {plane.flaws(error)}") from error

    async def _pieces(self, flow: runs.Flow, tally: records.Tally) -> AsyncIterator[bytes]:
        clock, journal = self._wiring.clock, self._working.journal
        noted = clock.monotonic()
        async for piece in flow:
            tally.pieces += 1
            tally.bytes += len(piece)
            yield piece
            if clock.monotonic() - noted >= CHECKPOINT_S:
                noted = clock.monotonic()
                told, self._notes[:] = [*self._notes, tally.checkpoint()], []
                await journal.write(told, at=clock.now())


class NoWire:
    """The wire of a model that needs none."""

    @asynccontextmanager
    async def send(self, sending: Sending) -> AsyncGenerator[Received]:
        """Raises ModelRefused."""
        raise ModelRefused(f"a model without an address wants to send to {sending.url[:200]}")
        yield


@asynccontextmanager
async def held(
    pending: connections.Pending, endpoint: Endpoint, secrets: Mapping[str, Secret], run: runs.Run, handle: str
) -> AsyncGenerator[None]:
    """The lane may redeem these secrets, for this run and at the endpoint's host, until the block ends."""
    assert endpoint.host is not None
    pending.hold(handle, secrets, host=endpoint.host, tenant_id=run.tenant_id, run_id=run.run_id)
    try:
        yield
    finally:
        pending.forget(handle)
