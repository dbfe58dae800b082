"""Which answer belongs to which request, in both directions of one conversation."""

from collections import OrderedDict
from collections.abc import Sequence

from interlock.plane.jsonrpc import INVALID_REQUEST, OVERLOADED, RpcCancellation, RpcError, RpcId, RpcKind, RpcMessage


class Correlation:
    """Which requests are open in both directions, and so what belongs to what. Answers that belong to nothing are named,
    not raised: a peer may send what it likes."""

    def __init__(self, *, max_pending: int, cancellation: RpcCancellation = "none") -> None:
        """`max_pending` bounds the open requests of each direction, and what is remembered of settled ones."""
        self._max_pending = max_pending
        self._cancellation: RpcCancellation = cancellation
        self._open: OrderedDict[RpcId, float] = OrderedDict()
        """Ours, oldest first, with when they expire."""
        self._asked: set[RpcId] = set()
        """The peer's."""
        self._settled: OrderedDict[RpcId, str] = OrderedDict()
        """Ours that are over, with what a later answer to them is called."""
        self._last_id = 0

    @property
    def pending(self) -> int:
        """How many of our requests are open."""
        return len(self._open)

    def open_ids(self) -> list[RpcId]:
        """Our open requests, oldest first."""
        return [*self._open]

    @property
    def next_expiry(self) -> float | None:
        """When the first of our requests expires; None if none is open."""
        return next(iter(self._open.values()), None)

    def new_id(self) -> int:
        """An id that none of our requests has had: 1, 2, 3 and so on."""
        self._last_id += 1
        while self._last_id in self._open or self._last_id in self._settled:
            self._last_id += 1
        return self._last_id

    def send(self, messages: Sequence[RpcMessage], *, expires_at: float) -> str | None:
        """Note messages that go out together; their requests expire then, never before earlier ones. Returns why they must
        not go, and notes none: `invalid`, `duplicate_id`, `too_many_requests`, or `unknown_id` for an answer to what was
        not asked."""
        asking: set[RpcId] = set()
        answering: set[RpcId] = set()
        for message in messages:
            refusal = self._refusal(message, asking, answering)
            if refusal is not None:
                return refusal
        for request_id in asking:
            self._settled.pop(request_id, None)
            self._open[request_id] = expires_at
        self._asked -= answering
        for message in messages:
            if message.withdraws is not None and self._cancellation == "mcp" and message.withdraws in self._open:
                self._settle(message.withdraws, "withdrawn")
        return None

    def _refusal(self, message: RpcMessage, asking: set[RpcId], answering: set[RpcId]) -> str | None:
        request_id = message.request_id
        if message.kind is RpcKind.REQUEST and request_id is not None:
            if request_id in self._open or request_id in asking:
                return "duplicate_id"
            asking.add(request_id)
            return "too_many_requests" if len(self._open) + len(asking) > self._max_pending else None
        if message.kind is RpcKind.RESPONSE:
            if request_id is None or request_id not in self._asked or request_id in answering:
                return "unknown_id"
            answering.add(request_id)
        return "invalid" if message.kind is RpcKind.INVALID else None

    def settle(self, response: RpcMessage) -> str | None:
        """Note an answer. Returns None if it is the one to an open request, else what it is: `duplicate`, `withdrawn`,
        `expired`, `unknown`, or `without_id`."""
        request_id = response.request_id
        if request_id is None:
            return "without_id"
        if request_id in self._open:
            self._settle(request_id, "duplicate")
            return None
        return self._settled.get(request_id, "unknown")

    def asked(self, request: RpcMessage) -> RpcError | None:
        """Note a request of the peer's. Returns the error to answer it with at once, if it cannot be taken."""
        assert request.request_id is not None
        if request.request_id in self._asked:
            return RpcError(INVALID_REQUEST, "a request with this id is still open")
        if len(self._asked) >= self._max_pending:
            return RpcError(OVERLOADED, "too many requests are open")
        self._asked.add(request.request_id)
        return None

    def withdrawn(self, request_id: RpcId) -> None:
        """Note that the peer withdraws a request of its own, as its way of cancelling has it."""
        if self._cancellation == "mcp":
            self._asked.discard(request_id)

    def expire(self, now: float) -> list[RpcId]:
        """Give up the requests whose time is over, and name them."""
        over: list[RpcId] = []
        while (expires_at := self.next_expiry) is not None and expires_at <= now:
            over.append(next(iter(self._open)))
            self._settle(over[-1], "expired")
        return over

    def _settle(self, request_id: RpcId, later: str) -> None:
        del self._open[request_id]
        self._settled[request_id] = later
        if len(self._settled) > self._max_pending:
            self._settled.popitem(last=False)
