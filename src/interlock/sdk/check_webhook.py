"""What must hold for a trigger that is reported by a webhook."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from interlock.sdk.auth import AuthProfile
from interlock.sdk.check_schema import pointer_problems
from interlock.sdk.errors import Problem
from interlock.sdk.manifest import Trigger
from interlock.sdk.verification import HOLES, Handshake, Verification

_KEYS: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(
        ("hmac_sha1", "hmac_sha256", "hmac_sha512", "sha256"), frozenset({"text", "base64", "hex", "whsec"})
    ),
    "ed25519": frozenset({"hex", "base64", "whpk"}),
    "ecdsa_p256": frozenset({"spki"}),
    "jwt": frozenset({"jwks"}),
    **dict.fromkeys(("token", "basic"), frozenset({"text"})),
}
"""How the secret of each algorithm may be written."""


_LOCAL: Final = ("localhost", "127.0.0.1", "::1")


def webhook_problems(path: str, trigger: Trigger, auth: Sequence[AuthProfile]) -> Iterator[Problem]:
    """What contradicts itself in how a trigger's deliveries are told, and proven."""
    verification, event = trigger.verification, trigger.event
    if trigger.retry is not None and trigger.retry.base_seconds > trigger.retry.cap_seconds:
        yield Problem(path=f"{path}.retry", problem="base_seconds is larger than cap_seconds")
    if (trigger.delivery == "webhook") != (verification is not None):
        yield Problem(path=f"{path}.verification", problem="webhooks have it, poll triggers do not")
    if event is not None:
        yield from _one_of(f"{path}.event", header=event.header, pointer=event.pointer)
        if trigger.delivery != "webhook":
            yield Problem(path=f"{path}.event", problem="only webhooks have it")
        if not event.values:
            yield Problem(path=f"{path}.event.values", problem="at least one value is needed")
    for name, place in trigger.filters.items():
        yield from pointer_problems(f"{path}.filters.{name}", place)
        if name not in trigger.config_schema.get("properties", {}):
            yield Problem(path=f"{path}.filters.{name}", problem="the config has no such field")
    if verification is None:
        return
    yield from verification_problems(f"{path}.verification", verification)
    field = verification.secret_field
    if field is not None and all(field not in profile.secret_fields for profile in auth):
        yield Problem(path=f"{path}.verification.secret_field", problem="no auth profile has this secret field")


def verification_problems(path: str, verification: Verification) -> Iterator[Problem]:
    """What contradicts itself in a verification."""
    algorithm = verification.algorithm
    if algorithm == "unsigned":
        if verification.justification is None:
            yield Problem(path=path, problem="an unsigned webhook needs a justification")
    else:
        if algorithm == "token":
            yield from _one_of(path, header=verification.header, pointer=verification.pointer)
        elif verification.header is None or verification.pointer is not None:
            yield Problem(path=path, problem="a signed webhook needs a header, and no pointer")
        if verification.key not in _KEYS[algorithm]:
            forms = ", ".join(sorted(_KEYS[algorithm]))
            yield Problem(path=f"{path}.key", problem=f"the key of {algorithm} is one of {forms}")
    if (algorithm == "jwt") != (verification.claims is not None):
        yield Problem(path=f"{path}.claims", problem="a jwt has them, and nothing else")
    if verification.claims is not None and verification.claims.keys_url is not None:
        yield from _address_problems(f"{path}.claims.keys_url", verification.claims.keys_url)
    if verification.shape == "list" and not verification.prefix:
        yield Problem(path=f"{path}.prefix", problem="a list needs it, to tell which of its entries count")
    yield from _content_problems(path, verification)
    if (delivery_id := verification.delivery_id) is not None:
        yield from _one_of(f"{path}.delivery_id", header=delivery_id.header, pointer=delivery_id.pointer)
    if verification.handshake is not None:
        yield from _handshake_problems(f"{path}.handshake", verification.handshake)


def _address_problems(path: str, url: str) -> Iterator[Problem]:
    try:
        split = urlsplit(url)
        host, _ = split.hostname, split.port
    except ValueError:
        host = None
    if not host:
        yield Problem(path=path, problem=f"it is no address: {url[:200]}")
    elif not url.startswith("https://") and host not in _LOCAL:
        yield Problem(path=path, problem="it is an address with https")


def _content_problems(path: str, verification: Verification) -> Iterator[Problem]:
    holes, timestamp, place = verification.holes, verification.timestamp, f"{path}.content"
    for hole in sorted(holes - HOLES):
        if not hole.startswith("header:") or len(hole) == len("header:"):
            known = ", ".join(sorted(HOLES))
            yield Problem(path=place, problem=f"{{{hole}}} is not known", suggestion=f"there are {known}, header:NAME")
    if not holes & {"body", "form"}:
        yield Problem(path=place, problem="what does not hold {body} or {form} proves nothing of the body")
    if verification.digest_parameter is not None and not {"url", "form"} <= holes:
        yield Problem(path=f"{path}.digest_parameter", problem="the content does not hold {url} and {form}")
    if "id" in holes and (verification.delivery_id is None or verification.delivery_id.header is None):
        yield Problem(path=place, problem="{id} needs a delivery_id in a header")
    if timestamp is None:
        if "timestamp" in holes:
            yield Problem(path=place, problem="{timestamp} needs a timestamp")
        return
    yield from _one_of(f"{path}.timestamp", header=timestamp.header, pair=timestamp.pair, pointer=timestamp.pointer)
    if timestamp.pair is not None and verification.shape != "pairs":
        yield Problem(path=f"{path}.timestamp.pair", problem="only a header of pairs has it")
    signed = holes & {"body"} if timestamp.pointer is not None else holes & {"timestamp"}
    if verification.is_signed and not signed:
        yield Problem(path=f"{path}.timestamp", problem="the content does not hold it, so that anybody could change it")


def _handshake_problems(path: str, handshake: Handshake) -> Iterator[Problem]:
    yield from _one_of(
        path,
        parameter=handshake.parameter,
        when=handshake.when or None,
        secret_header=handshake.secret_header,
        secret_pointer=handshake.secret_pointer,
    )
    if handshake.reply and not handshake.when:
        yield Problem(path=path, problem="what is told by `when` is answered by `reply`, and nothing else")
    if handshake.hands_over and handshake.signed:
        yield Problem(
            path=f"{path}.signed", problem="nothing is signed before there is a secret", suggestion="signed: false"
        )
    pointers = {*handshake.when, handshake.secret_pointer}
    for name, reply in handshake.reply.items():
        pointers |= {reply.pointer, reply.hmac_of}
        if sum(each is not None for each in (reply.value, reply.pointer, reply.hmac_of)) != 1:
            yield Problem(path=f"{path}.reply.{name}", problem="it is one of value, pointer and hmac_of")
    for text in sorted(each for each in pointers if each is not None):
        yield from pointer_problems(path, text)


def _one_of(path: str, **given: object) -> Iterator[Problem]:
    if sum(each is not None for each in given.values()) != 1:
        yield Problem(path=path, problem=f"it needs one of {', '.join(given)}")
    if isinstance(text := given.get("pointer"), str):
        yield from pointer_problems(f"{path}.pointer", text)
