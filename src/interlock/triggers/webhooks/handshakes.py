"""What a service is answered that makes sure that somebody listens."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from interlock import sdk
from interlock.kernel import JSON, MIN_SECRET_LENGTH, InvalidJson, Secret, canonical
from interlock.triggers.webhooks.incoming import Incoming, Twice

_ECHOED: Final = re.compile(r"[\x20-\x7e]{1,1000}")
"""What is repeated to whoever sent it. It goes out as text, which no browser takes for a page."""

_SECRET: Final = re.compile(rf"[\x21-\x7e]{{{MIN_SECRET_LENGTH},500}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The body and headers of the answer, and the secret that the service has handed over, if it has."""

    body: bytes = b""
    media_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    secret: Secret | None = None


def answer(handshake: sdk.Handshake, request: Incoming, *, present: Secret | None) -> Answer | None:
    """The answer, if the request is a handshake that can be answered; `present` is the route's present secret."""
    if handshake.parameter is not None:
        shown = request.parameter(handshake.parameter) or ""
        return Answer(body=shown.encode()) if _ECHOED.fullmatch(shown) else None
    if handshake.hands_over:
        return _handed_over(handshake, request)
    if isinstance(request.value, InvalidJson):
        return None
    for place, wanted in handshake.when.items():
        found = sdk.read_pointer(request.value, place)
        if type(found) is not type(wanted) or found != wanted:
            return None
    if not handshake.reply:
        return Answer()
    members: dict[str, JSON] = {}
    for name, reply in handshake.reply.items():
        value = _reply(reply, request.value, present)
        if isinstance(value, sdk.Missing):
            return None
        members[name] = value
    return Answer(body=canonical(members), media_type="application/json")


def _handed_over(handshake: sdk.Handshake, request: Incoming) -> Answer | None:
    header = handshake.secret_header
    if header is not None:
        try:
            shown: object = request.header(header)
        except Twice:
            return None
    else:
        value = request.value
        shown = None if isinstance(value, InvalidJson) else sdk.read_pointer(value, handshake.secret_pointer or "")
    if not isinstance(shown, str) or not _SECRET.fullmatch(shown):
        return None
    return Answer(headers={} if header is None else {header: shown}, secret=Secret(shown))


def _reply(reply: sdk.Reply, value: JSON, present: Secret | None) -> JSON | sdk.Missing:
    if reply.pointer is not None:
        found = sdk.read_pointer(value, reply.pointer)
        return found if isinstance(found, str) and _ECHOED.fullmatch(found) else sdk.Missing()
    if reply.hmac_of is None:
        return cast("JSON", reply.value)
    found = sdk.read_pointer(value, reply.hmac_of)
    if present is None or not isinstance(found, str) or not _ECHOED.fullmatch(found):
        return sdk.Missing()
    return hmac.new(present.reveal().encode(), found.encode(), hashlib.sha256).hexdigest()
