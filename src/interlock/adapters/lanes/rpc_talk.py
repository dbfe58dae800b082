"""One JSON-RPC conversation as it goes: who asked what, what is still open, and when it is over."""

from typing import Final

import anyio

from interlock import plane
from interlock.adapters.lanes.rpc_links import Link

_FAREWELL: Final = 1.0
"""Seconds that a caller who leaves waits for the word to the peer that nobody waits any more."""

_TOLD: Final = 200
"""Characters of a peer's error that are told beside it."""


class Talk:
    """Ends when a call is answered, when the input of a session has ended and all is answered, or when the peer ends."""

    def __init__(self, intent: plane.JsonRpcIntent, exchange: plane.Exchange, link: Link) -> None:
        self._intent = intent
        self._exchange = exchange
        self._channel = exchange.channel
        self._link = link
        self._is_call = intent.mode == "call"
        self._request_seconds = intent.timeouts.request_ms / 1000
        self._correlation = plane.Correlation(max_pending=intent.limits.max_pending, cancellation=intent.cancellation)
        self._call_id: plane.RpcId | None = None
        self._answered = False
        self._input_ended = self._is_call
        self._listening = anyio.CancelScope()
        self._changed = anyio.Event()
        self._heard_at = anyio.current_time()
        self._close_at: float | None = None
        self._counts = {"rpc_in": 0, "rpc_out": 0, "rpc_stray": 0, "rpc_invalid": 0, "rpc_refused": 0, "rpc_expired": 0}

    async def hold(self) -> None:
        """Talk to the end. Raises LaneFailure, perhaps in a group."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch)
                if self._is_call:
                    await self._ask()
                else:
                    tasks.start_soon(self._take_input)
                await self._listen()
                tasks.cancel_scope.cancel()
        except anyio.get_cancelled_exc_class():
            await self._withdraw()
            raise
        finally:
            self._exchange.facts.update(self._counts)
        self._conclude()

    def _conclude(self) -> None:
        if self._answered:
            return  # how the peer of a call leaves is its own affair
        open_requests = self._correlation.open_ids()
        if open_requests:
            message = f"the peer ended with {len(open_requests)} requests open"
            raise plane.LaneFailure(plane.FailureClass.PEER_LOST, message)
        self._exchange.answered = not self._link.broken
        if self._link.bad_end is not None:
            raise self._link.bad_end
        if self._link.broken:
            message = "the peer ended before it took all that was sent"
            raise plane.LaneFailure(plane.FailureClass.PEER_LOST, message, code="message_not_taken")

    # -- to the peer

    async def _ask(self) -> None:
        """The one request of a call."""
        method = self._intent.method
        assert method is not None
        self._call_id = self._correlation.new_id()
        text = plane.rpc_request(self._call_id, method, self._intent.params)
        refusal = self._register(self._read(text))
        assert refusal is None
        await self._say(text, asks=True)

    async def _take_input(self) -> None:
        """Send what is sent in, to its end."""
        inbox = None if self._channel is None else self._channel.inbox
        while inbox is not None and (piece := await inbox.receive()) is not None:
            if piece.kind in {plane.InputKind.DATA, plane.InputKind.TEXT}:
                await self._pass_on(piece.data)
        self._input_ended = True
        await self._end_if_over()

    async def _pass_on(self, text: bytes) -> None:
        messages: list[plane.RpcMessage] = []
        if len(text) > self._intent.limits.max_message_bytes:
            refusal = "message_too_large"
        else:
            try:
                messages = self._read(text)
                refusal = self._register(messages)
            except plane.FramingError as error:
                refusal = error.code
        if refusal is None:
            await self._say(text, asks=any(message.kind is plane.RpcKind.REQUEST for message in messages))
            return
        self._counts["rpc_refused"] += 1
        request_id = next((message.request_id for message in messages if message.request_id is not None), None)
        await self._output("refused", b"", {"id": request_id, "reason": refusal})

    def _register(self, messages: list[plane.RpcMessage]) -> str | None:
        refusal = self._correlation.send(messages, expires_at=anyio.current_time() + self._request_seconds)
        self._changed.set()
        return refusal

    async def _say(self, text: bytes, *, asks: bool = False) -> None:
        self._heard_at = anyio.current_time()
        self._counts["rpc_out"] += 1
        await self._link.send(text, asks=asks)

    # -- from the peer

    async def _listen(self) -> None:
        """Take what comes, until the peer ends or all is said."""
        try:
            with self._listening:
                while (text := await self._link.receive()) is not None:
                    self._heard_at = anyio.current_time()
                    await self._take(text)
                    await self._end_if_over()
        except plane.LaneFailure:
            if not self._answered:  # else how the peer leaves is its own affair
                raise
        except plane.FramingError as error:
            if self._answered:
                return
            if error.code == "message_cut_off":
                message = "the peer ended within a message"
                raise plane.LaneFailure(plane.FailureClass.PEER_LOST, message, code=error.code) from error
            raise plane.LaneFailure(plane.FailureClass.FRAMING_FAILED, str(error), code=error.code) from error

    async def _take(self, text: bytes) -> None:
        replies: list[bytes] = []
        for message in self._read(text):
            self._counts["rpc_in"] += 1
            match message.kind:
                case plane.RpcKind.RESPONSE:
                    await self._take_answer(message)
                case plane.RpcKind.NOTIFICATION:
                    if message.withdraws is not None:
                        self._correlation.withdrawn(message.withdraws)
                    await self._output("message", message.content, _facts(message))
                case plane.RpcKind.REQUEST:
                    replies += await self._take_request(message)
                case plane.RpcKind.INVALID:
                    replies += await self._take_invalid(message)
        if replies:
            is_batch = text.lstrip().startswith(b"[")
            await self._say(plane.rpc_batch(replies) if is_batch else replies[0])

    async def _take_answer(self, message: plane.RpcMessage) -> None:
        stray = self._correlation.settle(message)
        if self._is_call and not self._answered and (stray is None or stray == "without_id"):
            self._answer(message)  # without an id it speaks of the one request there is
        elif stray is None:
            await self._output("message", message.content, _facts(message))
        else:
            self._counts["rpc_stray"] += 1
            await self._output("stray", message.content, {**_facts(message), "reason": stray})

    def _answer(self, message: plane.RpcMessage) -> None:
        """The answer to a call."""
        exchange = self._exchange
        exchange.body = message.part()
        exchange.facts["rpc_code"] = None if message.error is None else message.error.code
        # A peer may say back what it was told; where that was a secret, its words are only in the body.
        if message.error is not None and not self._knows_a_secret():
            exchange.facts["rpc_message"] = "".join(filter(str.isprintable, message.error.message))[:_TOLD]
        self._answered = exchange.answered = True

    def _knows_a_secret(self) -> bool:
        match self._intent.transport:
            case plane.TcpTransport():
                return False
            case plane.ProcessTransport(secrets=secrets):
                return bool(secrets)
            case plane.HttpTransport(credentials=credentials) | plane.WebSocketTransport(credentials=credentials):
                return bool(credentials)

    async def _take_request(self, message: plane.RpcMessage) -> list[bytes]:
        """Pass a request of the peer's on, or answer it at once."""
        refused: plane.RpcError | None = plane.RpcError(plane.METHOD_NOT_FOUND, "method not found")
        if self._intent.serves_peer:
            refused = self._correlation.asked(message)
        if refused is None:
            await self._output("message", message.content, _facts(message))
            return []
        await self._output("unserved", message.content, {**_facts(message), "code": refused.code})
        return [plane.rpc_error(message.request_id, refused)]

    async def _take_invalid(self, message: plane.RpcMessage) -> list[bytes]:
        self._counts["rpc_invalid"] += 1
        if self._is_call and message.method is None and message.request_id == self._call_id and not self._answered:
            text = f"the answer is no JSON-RPC 2.0: {message.fault}"
            raise plane.LaneFailure(plane.FailureClass.PROTOCOL_ERROR, text, code="invalid_answer")
        await self._output("invalid", message.content, {"id": message.request_id, "reason": message.fault})
        if message.method is None:
            return []
        return [plane.rpc_error(message.request_id, plane.RpcError(plane.INVALID_REQUEST, "invalid request"))]

    def _read(self, text: bytes) -> list[plane.RpcMessage]:
        return plane.read_rpc(text, bounds=self._intent.limits.bounds, cancellation=self._intent.cancellation)

    async def _output(self, stream: str, data: bytes, facts: dict[str, plane.Fact]) -> None:
        if self._channel is not None:
            await self._channel.output(stream, data, facts)

    # -- time, and the end

    async def _watch(self) -> None:
        """Look at the clock whenever something is due."""
        idle_ms = self._intent.timeouts.idle_ms
        while True:
            with anyio.move_on_at(self._next_moment()):
                await self._changed.wait()
            self._changed = anyio.Event()
            now = anyio.current_time()
            if self._close_at is not None and now >= self._close_at:
                self._listening.cancel()
                return
            if idle_ms is not None and now >= self._heard_at + idle_ms / 1000:
                message = f"nothing was said for {idle_ms / 1000:g} seconds"
                raise plane.LaneFailure(plane.FailureClass.IDLE_TIMEOUT, message)
            for request_id in self._correlation.expire(now):
                await self._expire(request_id)
            await self._end_if_over()

    def _next_moment(self) -> float:
        idle_ms = self._intent.timeouts.idle_ms
        idle_at = None if idle_ms is None else self._heard_at + idle_ms / 1000
        moments = (self._close_at, idle_at, self._correlation.next_expiry)
        return min((moment for moment in moments if moment is not None), default=float("inf"))

    async def _expire(self, request_id: plane.RpcId) -> None:
        self._counts["rpc_expired"] += 1
        await self._cancel(request_id)
        if self._is_call:
            message = f"no answer within {self._request_seconds:g} seconds"
            raise plane.LaneFailure(plane.FailureClass.READ_TIMEOUT, message, code="request_timeout")
        await self._output("expired", b"", {"id": request_id})

    async def _cancel(self, request_id: plane.RpcId) -> None:
        """Tell the peer that nobody waits for that any more, if there is a way to say so."""
        text = plane.rpc_cancellation(self._intent.cancellation, request_id)
        if text is not None:
            await self._say(text)

    async def _withdraw(self) -> None:
        """The caller of a call leaves."""
        if self._is_call and not self._answered:
            with anyio.move_on_after(_FAREWELL, shield=True):
                for request_id in self._correlation.open_ids():
                    await self._cancel(request_id)

    async def _end_if_over(self) -> None:
        over = self._answered or (self._input_ended and not self._is_call and not self._correlation.pending)
        if not over or self._close_at is not None:
            return
        self._close_at = anyio.current_time() + self._intent.timeouts.close_ms / 1000
        await self._link.end()
        if self._link.lingers:
            self._changed.set()
        else:
            self._listening.cancel()


def _facts(message: plane.RpcMessage) -> dict[str, plane.Fact]:
    facts: dict[str, plane.Fact] = {"kind": message.kind.value, "id": message.request_id}
    if message.method is not None:
        facts["method"] = message.method
    if message.error is not None:
        facts["code"] = message.error.code
    return facts
