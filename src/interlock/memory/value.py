"""What every value of the contract shares: frozen, strict, closed, as JSON with the version of its schema."""

import math
import unicodedata
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Self, TypeAlias, cast

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    StringConstraints,
)
from pydantic import ValidationError as Flawed

from interlock.kernel import JSON, InvalidJson, JsonLimits, check_json, parse_json, to_micros, to_rfc3339
from interlock.memory.errors import InvalidInput

MAX_TEXT = 1_048_576
"""Bytes of UTF-8 that one text may have."""

MAX_NAMES: Final = 1_000
"""Names that one list is looked through for, equal ones included."""

MAX_JSON = JsonLimits(max_bytes=262_144, max_depth=32, max_nodes=10_000)
"""How much JSON a record may carry in its content, and once more in its metadata."""

_UNSEEN: Final = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})
_FILLERS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and signs that show nothing."""

Migration: TypeAlias = Callable[[dict[str, JSON]], dict[str, JSON]]
"""Makes a document of one version of a schema into one of the next."""


def _plain(text: str) -> str:
    """Text that every provider can keep and give back unchanged."""
    if len(text) <= MAX_TEXT and text.isascii() and text.isprintable():  # most are
        return text
    try:
        check_json(text, limits=JsonLimits(max_bytes=MAX_TEXT), what="text")
    except InvalidJson as error:
        raise ValueError(error.message.removeprefix("text $: ")) from None
    return text


def _kept(moment: datetime) -> datetime:
    try:
        to_micros(moment)
        to_rfc3339(moment)
    except OverflowError:
        raise ValueError("no moment between the years 1 and 9999, in UTC") from None
    return moment


def _json(value: JSON) -> JSON:
    try:
        check_json(value, limits=MAX_JSON, what="value")
    except InvalidJson as error:
        raise ValueError(error.message) from None
    return value


def _object(value: Mapping[str, JSON]) -> Mapping[str, JSON]:
    _json(cast("JSON", dict(value)))
    return value


def is_blank(text: str) -> bool:
    """Whether there is nothing in it to see: spaces, signs without a width, fillers."""
    return all(unicodedata.category(sign) in _UNSEEN or sign in _FILLERS for sign in text)


def _named(name: str) -> str:
    if is_blank(_plain(name)):
        raise ValueError("blank")
    return name


def _few(values: object) -> object:
    count = len(cast("list[object]", values)) if isinstance(values, list | tuple) else 0
    if count > MAX_NAMES:
        raise ValueError(f"there are {count}, and {MAX_NAMES} are the most that are looked at")
    return cast("object", values)


def unique(names: tuple[str, ...]) -> tuple[str, ...]:
    """Each name once, in the order in which they were given."""
    return tuple(dict.fromkeys(names))


Moment = Annotated[AwareDatetime, AfterValidator(_kept), PlainSerializer(to_rfc3339, return_type=str, when_used="json")]
"""An aware moment, written as RFC 3339 in UTC with microseconds."""

Text = Annotated[str, AfterValidator(_plain)]
"""Any text that can be kept: no control characters but tab and line ends, no half surrogates, at most MAX_TEXT bytes."""

Name = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$"), AfterValidator(_named)
]
"""A short printable name."""

Few = BeforeValidator(_few)
"""Of a list: at most MAX_NAMES, seen before any of them is, so that what is wrong with each is not told a million times."""

Json = Annotated[Any, AfterValidator(_json)]
"""Any JSON within MAX_JSON."""

Object = Annotated[Mapping[str, Any], AfterValidator(_object)]
"""A JSON object within MAX_JSON."""


class Value(BaseModel):
    """A value of the contract. Unknown fields and silent conversions are refused; what is wrong is all told at once."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    migrations: ClassVar[Mapping[str, Migration]] = {}
    """From an earlier `contract` to the next one."""

    def __init__(self, /, **fields: Any) -> None:
        """The value with these fields. Raises InvalidInput with all that is wrong."""
        try:
            super().__init__(**fields)
        except Flawed as error:
            raise refused(type(self).__name__, error) from None

    # As BaseModel's own: what is wrong with a value inside of another is told with all that is wrong with that.
    __init__.__pydantic_base_init__ = True  # pyright: ignore[reportFunctionMemberAccess]

    @classmethod
    def of(cls, **fields: Any) -> Self:
        """The same for fields that a type checker cannot look at. Raises InvalidInput with all that is wrong."""
        try:
            return cls.model_validate(fields)
        except Flawed as error:
            raise refused(cls.__name__, error) from None

    @classmethod
    def from_json(cls, told: Mapping[str, Any] | str | bytes) -> Self:
        """The value that a document tells, also one of an earlier version. Raises InvalidInput."""
        try:
            document = parse_json(told, limits=_WHOLE, what="document") if isinstance(told, str | bytes) else dict(told)
        except InvalidJson as error:
            raise InvalidInput(error.message, details={"problems": [error.message]}) from None
        if not isinstance(document, dict):
            raise InvalidInput("the document is no JSON object", details={"problems": ["no JSON object"]})
        while (migrate := cls.migrations.get(str(document.get("contract")))) is not None:
            document = migrate(document)
        try:
            return cls.model_validate_json(_dumps(document))
        except Flawed as error:
            raise refused(cls.__name__, error) from None

    @classmethod
    def read_back(cls, told: str | bytes) -> Self:
        """As `from_json`, in less time, for what `model_dump_json` wrote into a storage of ours."""
        try:
            return cls.model_validate_json(told)
        except Flawed:  # of an earlier version, or damaged
            return cls.from_json(told)

    def to_json(self) -> dict[str, JSON]:
        """The value as a JSON document."""
        return self.model_dump(mode="json")

    def changed(self, **fields: Any) -> Self:
        """A copy with other fields, validated like a new value. Raises InvalidInput."""
        return type(self).of(**{name: getattr(self, name) for name in type(self).model_fields} | fields)


_WHOLE = JsonLimits(max_bytes=16_777_216, max_depth=64, max_nodes=1_000_000)


def refused(what: str, error: Flawed) -> InvalidInput:
    """All that is wrong with a value, in words and without the value."""
    problems = [
        ": ".join(filter(None, [".".join(map(str, each["loc"])), each["msg"].removeprefix("Value error, ")]))
        for each in error.errors(include_url=False, include_input=False)
    ][:50]
    return InvalidInput(f"this is no {what}: {'; '.join(problems)}", details={"problems": list(problems)})


def finite(value: float) -> float:
    """A number that has an order. Raises ValueError."""
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


def _dumps(document: dict[str, JSON]) -> bytes:
    import orjson

    return orjson.dumps(document)
