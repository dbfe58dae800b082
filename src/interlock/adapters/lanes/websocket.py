"""The WebSocket lane: messages in both directions over one connection, to the end of the closing handshake."""

from http import HTTPStatus
from typing import Final

import h11
from websockets.utils import accept_key, generate_key

from interlock import plane
from interlock.adapters.lanes import request
from interlock.adapters.lanes.conversation import Conversation
from interlock.adapters.lanes.credentials import Shown, show
from interlock.adapters.lanes.egress import Egress
from interlock.adapters.lanes.line import SWITCHED, Line
from interlock.adapters.lanes.pool import HttpLine, Pool
from interlock.adapters.lanes.refusal import read_refusal
from interlock.kernel import Redactor

_DEFAULTS: Final = (request.USER_AGENT,)


class WebSocketLane:
    """Carries `plane.WebSocketIntent`. Each message from the peer is an output of the stream `message`, of the kind that an
    input of the same sort has. No extensions: what a peer compresses could unfold without limit."""

    def __init__(self, *, credentials: plane.CredentialResolver, egress: Egress) -> None:
        self._credentials = credentials
        self._pool = Pool(egress)

    @property
    def lane_id(self) -> str:
        return "websocket"

    @property
    def carries(self) -> type[plane.WebSocketIntent]:
        return plane.WebSocketIntent

    async def execute(self, intent: plane.WebSocketIntent, exchange: plane.Exchange) -> None:
        request.check_host(intent)
        shown = await show(self._credentials, intent)
        async with self._pool.lend(intent.target, intent.timeouts, shown.tls) as line:
            await _shake_hands(line, intent, shown, exchange)
            assert isinstance(line, Line)  # which alone can switch
            wire, begun = line.release()
            await Conversation(wire, intent, exchange, Redactor(shown.secrets)).hold(begun)

    async def aclose(self) -> None:
        await self._pool.aclose()


async def _shake_hands(line: HttpLine, intent: plane.WebSocketIntent, shown: Shown, exchange: plane.Exchange) -> None:
    """The opening handshake (RFC 6455 §4.1). Raises LaneFailure."""
    key = generate_key()
    own = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", key),
        ("Sec-WebSocket-Version", "13"),
    ]
    if intent.subprotocols:
        own.append(("Sec-WebSocket-Protocol", ", ".join(intent.subprotocols)))
    headers = request.header_lines(intent, shown, defaults=_DEFAULTS, own=own)
    timeouts = intent.timeouts
    await line.send(exchange, "GET", shown.target(intent.target), headers, b"", limit=timeouts.write_ms / 1000)
    answer = await line.receive(limit=timeouts.read_ms / 1000)
    assert isinstance(answer, h11.Response | h11.InformationalResponse)
    exchange.status = answer.status_code
    exchange.headers = shown.told(request.received_headers(answer.headers))
    if exchange.status != SWITCHED:
        await read_refusal(line, exchange, limit=timeouts.read_ms / 1000)
        message = f"the answer has the status {exchange.status}, not {HTTPStatus.SWITCHING_PROTOCOLS.value}"
        raise plane.LaneFailure(plane.FailureClass.STATUS_REFUSED, message, code=f"status_{exchange.status}")
    _check_upgrade(answer, key)
    _check_subprotocol(intent, exchange)


def _check_upgrade(answer: h11.Response | h11.InformationalResponse, key: str) -> None:
    values = {name: [v.decode("latin-1").strip() for n, v in answer.headers if n == name] for name, _ in answer.headers}
    connection = {token.strip().lower() for value in values.get(b"connection", []) for token in value.split(",")}
    reason = None
    if [value.lower() for value in values.get(b"upgrade", [])] != ["websocket"] or "upgrade" not in connection:
        reason = "switches to something else than a WebSocket"
    elif values.get(b"sec-websocket-accept") != [accept_key(key)]:
        reason = "does not prove that it has read the request: its Sec-WebSocket-Accept is wrong"
    elif b"sec-websocket-extensions" in values:
        reason = "turns on extensions, which were not asked for"
    if reason is not None:
        raise plane.LaneFailure(plane.FailureClass.PROTOCOL_ERROR, f"the answer {reason}", code="handshake_failed")


def _check_subprotocol(intent: plane.WebSocketIntent, exchange: plane.Exchange) -> None:
    chosen = [value for name, value in exchange.headers if name == "sec-websocket-protocol"]
    if chosen != [name for name in intent.subprotocols if [name] == chosen]:
        reason = "chose a subprotocol that was not offered"
    elif intent.subprotocols and not chosen:
        reason = "chose none of the subprotocols that were offered"
    else:
        exchange.facts["subprotocol"] = chosen[0] if chosen else None
        return
    exchange.answered = True
    raise plane.LaneFailure(plane.FailureClass.SUBPROTOCOL_REFUSED, f"the peer {reason}")
