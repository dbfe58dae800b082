"""Executions on a node elsewhere: the port `plane.Client` over HTTP and WebSocket, through links that break."""

import os
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Literal, Self, cast
from urllib.parse import quote

import anyio
from websockets.exceptions import ConnectionClosed

from interlock import plane
from interlock.adapters.nodes.link import Answer, Link, Lost
from interlock.kernel import Backoff, Clock, VerificationError

WAIT: Final = 20
"""Seconds for which one request waits for the end of an execution."""

GRACE: Final = 30.0
"""Seconds after the time of an execution is up for which a node that is not reached is still asked for its receipt."""

_TAKEN: Final = 204
_DONE: Final = 1000

_ACKNOWLEDGED: Final = 131_072
"""Bytes of events after which the node is told that they have arrived."""


class UnprovenReceipt(VerificationError):
    """A receipt from a node is not what the pinned keys of that node have signed."""

    code = "unproven_receipt"
    next_step = (
        "Find out whose key signs that node's receipts, before you put it into `receipts.pem`; do not rely on this one."
    )


class RemoteClient:
    """A `plane.Client` on a node elsewhere. It connects when it is first used, asks again while the link is lost, goes on
    with events where they broke off, and begins nothing twice. Open it with `async with`; closing it ends no execution.

    A link that stays lost is an EffectFailed of the class `peer_lost`, and never a receipt.
    """

    def __init__(
        self,
        url: plane.Url,
        *,
        node_id: str,
        ssl_context: ssl.SSLContext,
        addresses: plane.AddressPolicy,
        clock: Clock,
        tokens: plane.SignedAuthorizer | None = None,
        receipt_keys: Mapping[str, str] | None = None,
        delay: Callable[[int], float] = Backoff(cap=5.0).delay,
        patience: float = 30.0,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """`ssl_context` trusts the node, and holds the client's own certificate unless `tokens` signs its requests.
        `delay`: how long to wait after so many failures, in seconds. `patience`: for how many seconds a node that cannot be
        reached is asked again; what was started here is waited for until its time is up. A receipt that bears no signature
        of the `receipt_keys` (as in `plane.verify_receipt`; None pins none) is an UnprovenReceipt. ValueError if the URL is not
        https, or the context verifies nothing."""
        if url.scheme != "https":
            raise ValueError("a node is reached by https only")
        if not (ssl_context.check_hostname and ssl_context.verify_mode is ssl.CERT_REQUIRED):
            raise ValueError("the TLS context must verify certificates and host names")
        self._link = Link(
            url,
            node_id=node_id,
            ssl_context=ssl_context,
            addresses=addresses,
            clock=clock,
            tokens=tokens,
            delay=delay,
            patience=patience,
        )
        self._clock = clock
        self._receipt_keys = receipt_keys
        self._random_bytes = random_bytes
        self._sender = random_bytes(16).hex()
        self._ends: dict[str, datetime] = {}
        self._sending: dict[str, _Sending] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._link.aclose()

    @property
    def trouble(self) -> str | None:
        """Why the node was not reached when it was last asked; None if it was."""
        return self._link.trouble

    @property
    def unanswered(self) -> bool:
        """Whether a request that may have arrived, and have an effect, has no answer yet."""
        return self._link.unanswered

    async def describe(self) -> plane.NodeDescriptor:
        """What the node says of itself."""
        answer = await self._link.ask("GET", "/v1/node")
        return plane.unpack(plane.NodeDescriptor, answer.body)[0]

    async def start(
        self, intent: plane.Intent, *, authority: plane.AuthorityDecision | None, target_class: str
    ) -> plane.ExecutionRef:
        plane.check_request(intent, target_class)
        request = plane.ExecutionRequest(intent=cast("Any", intent), authority=authority, target_class=target_class)
        answer = await self._link.ask("POST", "/v1/executions", plane.pack_request(request))
        decision, _ = plane.unpack(plane.AdmissionDecision, answer.body)
        if decision.rejection is not None:
            raise plane.ExecutionRejected(self._proven(decision.rejection))
        assert decision.execution is not None
        self._ends[decision.execution.execution_id] = intent.deadline_at
        return decision.execution

    async def subscribe(self, ref: plane.ExecutionRef, *, after: int = 0) -> AsyncGenerator[plane.ExecutionEvent]:
        path = self._path(ref, "/events")
        reader = self._random_bytes(16).hex()
        tries = self._link.tries(self._patience(ref))
        while True:
            try:
                async with self._link.listen(f"{path}?after={after}&reader={reader}") as socket:
                    unacknowledged = 0
                    async for message in socket:
                        event = plane.unpack_event(message if isinstance(message, bytes) else message.encode())
                        tries.begin()
                        if event.seq <= after:
                            continue
                        if event.receipt is not None:
                            self._proven(event.receipt)
                        yield event
                        after = event.seq
                        if event.receipt is not None:
                            return
                        unacknowledged += event.size + 256
                        if unacknowledged > _ACKNOWLEDGED:
                            await socket.send(str(after))
                            unacknowledged = 0
                    if socket.close_code == _DONE:
                        break
                lost = Lost(plane.FailureClass.PEER_LOST, "the node closed the connection", left=True)
            except ConnectionClosed as error:
                lost = Lost(plane.FailureClass.PEER_LOST, str(error), left=True)
            except Lost as error:
                lost = error
            await tries.after(lost)
        # There is nothing after that number. A node that was begun again has numbered anew, and tells the receipt only.
        status = await self.status(ref)
        if status.receipt is not None and status.last_seq < after:
            yield plane.ExecutionEvent(
                execution_id=ref.execution_id,
                seq=after + 1,
                type=plane.EventType.RECEIPT,
                at=status.receipt.finished_at,
                receipt=status.receipt,
            )

    async def send_input(self, ref: plane.ExecutionRef, piece: plane.Input) -> None:
        await self._send(ref, piece.kind, dict(piece.facts), piece.data)

    async def end_input(self, ref: plane.ExecutionRef) -> None:
        await self._send(ref, "end", {}, b"")

    async def attach(self, ref: plane.ExecutionRef) -> plane.ExecutionRef:
        answer = await self._link.ask("POST", self._path(ref, "/attach"), plane.pack(ref))
        return plane.unpack(plane.ExecutionRef, answer.body)[0]

    async def status(self, ref: plane.ExecutionRef) -> plane.ExecutionStatus:
        return self._status(await self._link.ask("GET", self._path(ref)))

    async def cancel(self, ref: plane.ExecutionRef) -> plane.ExecutionStatus:
        while True:
            answer = await self._link.ask("POST", self._path(ref, "/cancel"), plane.pack(ref))
            status = self._status(answer)
            if status.receipt is not None:
                return status

    async def wait(self, ref: plane.ExecutionRef) -> plane.Receipt:
        while True:
            target = f"{self._path(ref)}?wait={WAIT}"
            answer = await self._link.ask("GET", target, patience=self._patience(ref))
            status = self._status(answer)
            if status.receipt is not None:
                self._forget(ref)
                return status.receipt

    # -- the parts

    def _status(self, answer: Answer) -> plane.ExecutionStatus:
        status = plane.unpack_status(answer.body)
        if status.receipt is not None:
            self._proven(status.receipt)
        return status

    def _proven(self, receipt: plane.Receipt) -> plane.Receipt:
        """The receipt, which is whole and, where keys are pinned, signed by the node."""
        verdict = plane.verify_receipt(receipt, self._receipt_keys)
        if not (verdict.ok or (self._receipt_keys is None and verdict.link is None)):
            raise UnprovenReceipt(f"node {self._link.node_id} gave a receipt that is {verdict.status}")
        return receipt

    async def _send(
        self, ref: plane.ExecutionRef, kind: plane.InputKind | Literal["end"], facts: dict[str, plane.Fact], data: bytes
    ) -> None:
        """Send a piece until the node has taken it. Who stops waiting does not know whether it was."""
        sending = self._sending.setdefault(ref.execution_id, _Sending())
        async with sending.one_at_a_time:
            sending.number += 1
            piece = plane.InputPiece(
                fence=ref.fence, sender=self._sender, number=sending.number, kind=kind, facts=facts
            )
            packet, path = plane.pack(piece, data), self._path(ref, "/input")
            while (await self._link.ask("POST", path, packet)).status != _TAKEN:
                pass  # the lane had no room for it so far

    def _path(self, ref: plane.ExecutionRef, what: str = "") -> str:
        """Raises ExecutionNotFound for what another node has started."""
        if ref.node_id != self._link.node_id:
            raise plane.ExecutionNotFound(f"node {self._link.node_id} has no execution {ref.execution_id[:60]}")
        return f"/v1/executions/{quote(ref.execution_id, safe='')}{what}"

    def _patience(self, ref: plane.ExecutionRef) -> float:
        ends = self._ends.get(ref.execution_id)
        return 0.0 if ends is None else (ends - self._clock.now()).total_seconds() + GRACE

    def _forget(self, ref: plane.ExecutionRef) -> None:
        self._ends.pop(ref.execution_id, None)
        self._sending.pop(ref.execution_id, None)


@dataclass(slots=True)
class _Sending:
    """The input of one execution."""

    number: int = 0
    one_at_a_time: anyio.Lock = field(default_factory=anyio.Lock)
