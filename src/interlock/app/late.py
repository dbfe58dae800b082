"""What is made when it is first needed: lanes, targets, a queue. Most programs need few of them, and making one takes time."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import anyio.to_thread

from interlock import plane
from interlock.kernel import Clock, Tx

if TYPE_CHECKING:
    from interlock import dispatch
    from interlock.adapters import targets

T = TypeVar("T")

COMMAND_CLASSES: Final = tuple(each for each in plane.CLASSES if each not in plane.PLACED)
"""The classes of targets for commands that a host may have."""


class LateLane:
    """A lane that is made for its first intent, in a thread: to load it takes longer than most commands."""

    def __init__(self, lane_id: str, carries: type[plane.Intent], make: Callable[[], plane.Lane]) -> None:
        self.lane_id = lane_id
        self.carries = carries
        self._make = make
        self._lane: plane.Lane | None = None
        self._making = anyio.Lock()
        self._closed = False

    async def execute(self, intent: Any, exchange: plane.Exchange) -> None:
        lane = self._lane or await self.load()
        await lane.execute(intent, exchange)

    async def aclose(self) -> None:
        self._closed = True
        if self._lane is not None:
            await self._lane.aclose()

    async def load(self) -> plane.Lane:
        """Make it, if it is not made. Raises what making it raises."""
        async with self._making:
            if self._lane is None:
                self._lane = await anyio.to_thread.run_sync(self._make)
                if self._closed:
                    await self._lane.aclose()
            return self._lane


class LateTarget:
    """A target for commands on this host, `plane.ProvableTarget`, and its lane: both are made for the first probe."""

    def __init__(
        self, target_class: str, *, credentials: plane.CredentialResolver, clock: Clock, egress_allow: Sequence[str]
    ) -> None:
        self.target_id = self.target_class = target_class
        self.lane = LateLane(target_class, plane.ProcessIntent, self._make)
        self._credentials = credentials
        self._clock = clock
        self._egress_allow = egress_allow
        self._sandbox: targets.LocalSandbox | None = None
        now = clock.now()
        self._descriptor = plane.TargetDescriptor(
            target_id=target_class,
            lane_id=target_class,
            attestation=plane.Attestation(
                target_class=plane.UNPROVEN,
                properties=(),
                attested_by=plane.SELF_ATTESTED,
                attested_at=now,
                expires_at=now,
            ),
            health=plane.Health.UNAVAILABLE,
            reason="it was not probed yet",
        )

    def describe(self) -> plane.TargetDescriptor:
        return self._descriptor if self._sandbox is None else self._sandbox.describe()

    async def attest(self, nonce: str | None = None) -> plane.Attestation | None:
        """As `plane.ProvableTarget`. Raises what making it raises."""
        await self.lane.load()
        assert self._sandbox is not None
        return await self._sandbox.attest(nonce)

    def _make(self) -> plane.Lane:
        from interlock.app.local_plane import local_sandboxes

        made = local_sandboxes(
            self._clock, [self.target_class], credentials=self._credentials, egress_allow=self._egress_allow
        )
        [(self._sandbox, lane)] = made.items()
        return lane


class LateQueue:
    """A `dispatch.Queue` that is made for its first job."""

    def __init__(self, make: Callable[[], "dispatch.Queue"]) -> None:
        self._make = make

    @cached_property
    def _queue(self) -> "dispatch.Queue":
        return self._make()

    def put(self, tx: Tx, jobs: "Sequence[dispatch.Job]") -> None:
        self._queue.put(tx, jobs)

    def withdraw(self, tx: Tx, work_ids: Sequence[str]) -> None:
        self._queue.withdraw(tx, work_ids)

    def find_missing(self, tx: Tx, jobs: "Sequence[dispatch.Job]") -> "Sequence[dispatch.Job]":
        return self._queue.find_missing(tx, jobs)

    def oldest(self, tx: Tx, now: datetime, *, lanes: Collection[str] | None = None) -> datetime | None:
        return self._queue.oldest(tx, now, lanes=lanes)

    async def serve(
        self,
        handle: "dispatch.Handle[T]",
        *,
        lanes: Collection[str],
        at_once: int,
        look: "dispatch.Look[T] | None" = None,
    ) -> None:
        await self._queue.serve(handle, lanes=lanes, at_once=at_once, look=look)
