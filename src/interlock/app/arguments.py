"""What a program hands to the facade: of the right kind, or refused before anything else looks at it."""

import inspect
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from enum import StrEnum
from functools import wraps
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec, TypeVar, cast, get_args

from pydantic import BaseModel

from interlock import policy, sdk
from interlock.app.settings import Settings, SettingsFile
from interlock.kernel import RequestError, Secret

MAX_REMARK: Final = 2000
"""Characters that a reason or a note may have: it goes on record as it is."""

P = ParamSpec("P")
F = TypeVar("F")
T = TypeVar("T")


class _Kind(NamedTuple):
    words: str
    fits: Callable[[object], bool]


def _of(kind: type | tuple[type, ...], words: str) -> _Kind:
    def fits(value: object) -> bool:
        return isinstance(value, kind) and not isinstance(value, bool)

    return _Kind(words, fits)


def _list_of(kind: type, words: str) -> _Kind:
    def fits(value: object) -> bool:
        listed = isinstance(value, list | tuple | AbstractSet)
        return listed and all(isinstance(each, kind) for each in cast("Collection[object]", value))

    return _Kind(words, fits)


def _remark(value: object) -> bool:
    if not isinstance(value, str) or len(value) > MAX_REMARK:
        return False
    return value.isprintable() or all(each.isprintable() or each in "\n\t" for each in value)


def _printable(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _text_or_texts(value: object) -> bool:
    return _TEXT.fits(value) or _TEXTS.fits(value)


def _aware(value: object) -> bool:
    return isinstance(value, datetime) and value.tzinfo is not None


def _flag(value: object) -> bool:
    return isinstance(value, bool)


def _above_zero(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


_TEXT: Final = _of(str, "a text")
_NAME: Final = _Kind("a text of printable characters", _printable)
_TEXTS: Final = _list_of(str, "a list of texts")
_TABLE: Final = _of(Mapping, "a mapping from texts to values")
_LIMIT: Final = _Kind("a whole number above 0", _above_zero)
_COUNT: Final = _of(int, "a whole number")

KINDS: Final[Mapping[str, _Kind]] = {
    **dict.fromkeys(
        ("connection", "idempotency_key", "environment", "sandbox", "run_id", "artifact_id", "approval_id", "cursor", "name",
         "ref", "base_url"),
        _TEXT,
    ),
    **dict.fromkeys(("capability", "handler", "connection_id", "actor", "connector", "trace_id", "parent_run_id"), _NAME),
    **dict.fromkeys(("input", "edited_input", "payload", "cost", "extensions", "params", "config"), _TABLE),
    **dict.fromkeys(("allowed_operations", "scopes"), _TEXTS),
    **dict.fromkeys(("max_attempts", "after_seq"), _COUNT),
    "source": _of((str, Mapping), "a text or a mapping of texts"),
    "target": _Kind("a text or a list of texts", _text_or_texts),
    **dict.fromkeys(("timeout", "seconds", "overlap"), _of((int, float), "a number of seconds")),
    **dict.fromkeys(("reason", "note"), _Kind(f"a text of at most {MAX_REMARK} characters, none of them a control", _remark)),
    **dict.fromkeys(("since", "until", "expires_at", "due_at", "deadline_at"), _Kind("a datetime with a time zone", _aware)),
    **dict.fromkeys(("limit", "pages"), _LIMIT),
    "states": _list_of(StrEnum, "a list of states, such as [State.HELD]"),
    "given": _of(Mapping, "a mapping from fields to values"),
    **dict.fromkeys(("install_id", "redirect_uri", "query", "profile", "lease_id", "field", "host"), _TEXT),
    "browser": _of(Secret, "a Secret"),
    **dict.fromkeys(("provider", "schedule", "cron", "zone", "poll", "trigger"), _NAME),
    "every": _of((int, float), "a number of seconds"),
    **dict.fromkeys(("start", "at"), _Kind("a datetime with a time zone", _aware)),
    "cap": _LIMIT,
    "content": _of(bytes, "bytes"),
    **dict.fromkeys(("method", "path", "text"), _TEXT),
    "headers": _TABLE,
    **dict.fromkeys(("called", "form"), _TEXT),
    **dict.fromkeys(("only", "replace"), _TEXTS),
    "at_provider": _Kind("True or False", _flag),
    "seen": _of(StrEnum, "a member of Seen"),
    "token_id": _TEXT,
    **dict.fromkeys(("session", "call_id", "agent_id"), _TEXT),
    "context": _of((Mapping, BaseModel), "a mapping from texts to values, or a pydantic model"),
    **dict.fromkeys(("accept", "happened"), _Kind("True or False", _flag)),
    "shown": _of(Secret, "a Secret"),
    **dict.fromkeys(("url", "signature", "subscription_id", "message_id"), _TEXT),
    **dict.fromkeys(("types", "roles", "capabilities", "connections"), _TEXTS),
    "state": _of(StrEnum, "a member of MessageState"),
    **dict.fromkeys(("route_id", "trigger_id", "delivery_id", "app_route", "tenant"), _TEXT),
    **dict.fromkeys(("verification", "resolution"), _TABLE),
    **dict.fromkeys(("on", "resolve"), _of((list, tuple), "a list")),
    "secret": _of(Secret, "a Secret"),
    "unsigned": _Kind("True or False", _flag),
    "dedupe_seconds": _COUNT,
    "token": _of((str, Secret, Mapping), "a text, a Secret or a mapping of Secrets"),
}  # fmt: skip
"""What the facade's parameters are, by their name: one name means one thing everywhere."""


_OPENING: Final[Mapping[str, _Kind]] = {
    "url": _TEXT,
    "settings": _of(Settings, "Settings, such as those of `load`"),
    "file": _of(SettingsFile, "a SettingsFile, such as that of `read_file`"),
    "policy": _of(policy.Policy, "a Policy"),
    "connectors": _list_of(sdk.Manifest, "a list of Manifests: a connector's `manifest`"),
}


def check_opening(**given: object) -> None:
    """Raises RequestError for an argument of `Interlock.open` that is of the wrong kind."""
    for name, value in given.items():
        kind = _OPENING[name]
        if value is not None and not kind.fits(value):
            raise RequestError(f"{name} must be {kind.words}, not {type(value).__name__}")


def checked(
    method: Callable[Concatenate[F, P], Awaitable[T]],
) -> Callable[Concatenate[F, P], Coroutine[Any, Any, T]]:
    """The method, which then raises RequestError for an argument of the wrong kind; None is for whoever has it as its
    default."""
    parameters = inspect.signature(method).parameters
    names = tuple(parameters)[1:]
    may_lack = {name for name, each in parameters.items() if each.default is None}
    for each in parameters.values():
        if each.kind is each.VAR_KEYWORD:
            [options] = get_args(each.annotation)  # Unpack[...]
            may_lack |= {name for name, kind in options.__annotations__.items() if type(None) in get_args(kind)}

    @wraps(method)
    async def call(self: F, /, *args: P.args, **kwargs: P.kwargs) -> T:
        for name, value in (*zip(names, args, strict=False), *kwargs.items()):
            if (kind := KINDS.get(name)) and not kind.fits(value) and not (value is None and name in may_lack):
                # Of the right kind, and wrong all the same: then it is its value that tells why.
                told = (kind is _NAME and isinstance(value, str)) or (kind is _LIMIT and type(value) is int)
                raise RequestError(
                    f"{name} must be {kind.words}, not {repr(value)[:60] if told else type(value).__name__}"
                )
        return await method(self, *args, **kwargs)

    return call
