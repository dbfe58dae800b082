"""From a proven delivery to signals: which triggers an event is for, and what their handlers are told. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from interlock import catalog, sdk
from interlock.kernel import JSON, InvalidJson
from interlock.triggers.webhooks.incoming import Incoming, Twice
from interlock.triggers.webhooks.model import Trigger

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Declared:
    """A trigger as its connector declares it, and what its signals are checked with."""

    trigger: sdk.Trigger
    validate: catalog.Validate
    is_projected: bool
    """Whether its data is picked out of the body."""

    @classmethod
    def of(cls, trigger: sdk.Trigger) -> "Declared":
        """The trigger, with its schema compiled."""
        parts = cast("Mapping[str, object]", trigger.signal_schema.get("properties", {})).values()
        named = [name for part in parts if isinstance(part, Mapping) for name in cast("Mapping[str, object]", part)]
        projected = any(name.startswith("x-") for name in named)
        return cls(trigger, catalog.compile_schema(trigger.signal_schema), projected)


class Unfit(Exception):
    """The event is not as the connector declares it. The message repeats nothing of it."""


def is_event(declared: sdk.Trigger, request: Incoming, value: JSON) -> bool:
    """Whether the event is the trigger's."""
    event = declared.event
    return event is None or _text(event, request, value) in event.values


def is_wanted(declared: sdk.Trigger, trigger: Trigger, value: JSON) -> bool:
    """Whether it is such as the trigger's config asks for."""
    for name, place in declared.filters.items():
        wanted = trigger.config.get(name)
        if wanted is None:
            continue
        found = sdk.read_pointer(value, place)
        allowed = wanted if isinstance(wanted, list) else [wanted]
        if isinstance(found, sdk.Missing) or not any(type(each) is type(found) and each == found for each in allowed):
            return False
    return True


def data_of(declared: Declared, request: Incoming, value: JSON) -> JSON:
    """The signal's data. Raises Unfit."""
    schema = declared.trigger.signal_schema
    try:
        is_whole = isinstance(value, Mapping) and not declared.is_projected
        data = value if is_whole else sdk.project_body(schema, value, headers=request.headers)
    except sdk.UnexpectedAnswer as error:
        raise Unfit(error.message) from error
    if mismatches := declared.validate(data):
        raise Unfit("; ".join(f"{each.path}: {each.expected} is expected" for each in mismatches[:_SHOWN]))
    return data


def _text(event: sdk.Event, request: Incoming, value: JSON) -> str | None:
    if event.header is not None:
        try:
            return request.header(event.header)
        except Twice:
            return None
    found = sdk.read_pointer(value, event.pointer or "")
    return found if isinstance(found, str) else None


def resolve(value: JSON, places: Sequence[str]) -> dict[str, str | None] | None:
    """The texts at these places of a body; None if one of them is missing, or no text and no whole number."""
    found: dict[str, str | None] = {}
    for place in places:
        held = None if isinstance(value, InvalidJson) else sdk.read_pointer(value, place)
        if isinstance(held, bool) or not isinstance(held, str | int) or not 0 < len(str(held)) <= 200:
            return None
        found[place] = str(held)
    return found
