"""The invariants of a poll trigger: how often, what it asks, and how it knows what is new."""

from collections.abc import Iterator, Mapping, Sequence

from interlock.sdk import template
from interlock.sdk.check_schema import pointer_problems
from interlock.sdk.errors import Problem
from interlock.sdk.listing import Listing
from interlock.sdk.manifest import Effect, Operation, Trigger
from interlock.sdk.requests import properties


def polling_problems(path: str, trigger: Trigger, operations: Sequence[Operation]) -> Iterator[Problem]:
    """What contradicts itself."""
    polling = trigger.polling
    if polling is not None and polling.min_seconds > polling.default_seconds:
        yield Problem(path=f"{path}.polling", problem="min_seconds is larger than default_seconds")
    if (trigger.delivery == "poll") != (polling is not None):
        yield Problem(path=f"{path}.polling", problem="poll triggers have it, webhooks do not")
    if polling is None or polling.listing is None:
        return
    listing, place = polling.listing, f"{path}.polling.listing"
    operation = next((each for each in operations if each.operation_id == listing.operation), None)
    if operation is None or operation.effect is not Effect.READ:
        yield Problem(path=f"{place}.operation", problem=f"there is no read operation {listing.operation!r}")
        return
    yield from _way_problems(place, listing)
    yield from _field_problems(place, listing, properties(operation.input_schema), properties(trigger.config_schema))


def _way_problems(path: str, listing: Listing) -> Iterator[Problem]:
    """Whether there is exactly one way to know what is new."""
    if (listing.moment is None) == (listing.cursor is None):
        yield Problem(path=path, problem="what is new is told by `moment` or by `cursor`, one of them")
    if listing.moment is not None and listing.since_field is None and not listing.newest_first:
        yield Problem(path=path, problem="without `since_field` the list has to be `newest_first`")
    if listing.moment is None and (listing.since_field is not None or listing.newest_first):
        yield Problem(path=path, problem="`since_field` and `newest_first` go with `moment`")
    for one, other in (("cursor", "cursor_field"), ("following", "following_field")):
        if (getattr(listing, one) is None) != (getattr(listing, other) is None):
            yield Problem(path=path, problem=f"`{one}` and `{other}` go together")
    for way in ("items", "id", "moment", "cursor", "more", "following"):
        if (place := getattr(listing, way)) is not None:
            yield from pointer_problems(f"{path}.{way}", place)
    if listing.more is not None and listing.cursor is None:
        yield Problem(path=f"{path}.more", problem="it goes with `cursor`")


def _field_problems(
    path: str, listing: Listing, inputs: Mapping[str, object], config: Mapping[str, object]
) -> Iterator[Problem]:
    """Whether the fields are there that values go into and come from."""
    fields = {f"{path}.input.{name}": name for name in listing.input}
    for way in ("since_field", "cursor_field", "following_field"):
        if (name := getattr(listing, way)) is not None:
            fields[f"{path}.{way}"] = name
    for place, name in fields.items():
        if name not in inputs:
            yield Problem(path=place, problem=f"{listing.operation} has no input {name!r}")
    for name, value in listing.input.items():
        for hole in template.holes(value) if isinstance(value, str) else []:
            if hole.removeprefix("config.") not in config or value != f"{{{hole}}}" or not hole.startswith("config."):
                yield Problem(
                    path=f"{path}.input.{name}", problem=f"{value!r} is not {{config.FIELD}} of a field there is"
                )
