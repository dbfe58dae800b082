"""How one poll goes through a service's list: what to ask, what is new in the answer, and where it goes on. Pure.

A list that is in the order of its moments is not leafed through by pages where it can be helped: an item that changes
meanwhile moves to the end, and all behind it by one, past the page that is being asked for. It is asked again since the last
moment that was read instead, and what is known is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import cast

from interlock import sdk
from interlock.kernel import JSON, digest, from_rfc3339
from interlock.triggers.polling.errors import PollFailed

MOST_PAGES = 200
"""Pages of one poll. The rest is asked for by the next one, if the list's order lets it go on."""

_LONGEST_KEY = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """What a service listed. Of two with one key the second is not new. One with a `problem` is not what was asked for."""

    key: str
    at: datetime | None
    value: JSON
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a poll that `began` then stands: since when or from which cursor it reads, on which page, and the last moment that
    it met."""

    began: datetime
    since: datetime | None = None
    cursor: JSON = None
    page: JSON = None
    high: datetime | None = None
    pages: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One answer: its items, the oldest first; the mark that a poll may begin with once they are kept; where this one goes on,
    None at the end; and before which moment items are not met again."""

    items: tuple[Item, ...]
    mark: JSON
    following: Place | None
    forget_before: datetime | None


def begin(listing: sdk.Listing, mark: JSON, now: datetime) -> Place:
    """Where a poll begins, by the mark that the last one left (None: at the beginning of all there is)."""
    if listing.moment is None:
        return Place(began=now, cursor=mark)
    return Place(began=now, since=_again_from(listing, mark))


def mark_at(moment: datetime) -> JSON:
    """The mark for all that is newer than that moment."""
    return _text(moment)


def question(listing: sdk.Listing, config: Mapping[str, JSON], place: Place) -> dict[str, JSON]:
    """The operation's input."""
    asked: dict[str, JSON] = {}
    for name, value in listing.input.items():
        field = value[len("{config.") : -1] if isinstance(value, str) and value.startswith("{config.") else None
        if field is None:
            asked[name] = value
        elif field in config:
            asked[name] = config[field]
    if listing.since_field is not None and place.since is not None:
        asked[listing.since_field] = _text(place.since)
    if listing.cursor_field is not None and place.cursor is not None:
        asked[listing.cursor_field] = place.cursor
    if listing.following_field is not None and place.page is not None:
        asked[listing.following_field] = place.page
    return asked


def listed(listing: sdk.Listing, output: JSON) -> Sequence[JSON]:
    """The list in the answer. Raises PollFailed."""
    found = sdk.read_pointer(output, listing.items)
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise PollFailed(f"{listing.operation}: there is no list at {listing.items!r} of its output")
    return cast("Sequence[JSON]", found)


def relisted(listing: sdk.Listing, output: JSON, items: Sequence[JSON]) -> JSON:
    """The answer with another list."""
    if not listing.items or not isinstance(output, Mapping):
        return [*items]
    changed = {**output}
    sdk.put_pointer(changed, listing.items, [*items])
    return changed


def read(
    listing: sdk.Listing, place: Place, mark: JSON, output: JSON, *, problems: Mapping[int, str] | None = None
) -> Read:
    """What the answer says. `mark` is the one that stands; `problems` are of items, by their places in the list. Raises
    PollFailed for an answer that is no such list."""
    known = problems or {}
    items = [_item(listing, each, known.get(number)) for number, each in enumerate(listed(listing, output))]
    return (
        _by_cursor(listing, place, mark, output, items)
        if listing.moment is None
        else _by_moment(listing, place, mark, output, items)
    )


def _by_cursor(listing: sdk.Listing, place: Place, mark: JSON, output: JSON, items: Sequence[Item]) -> Read:
    cursor = sdk.read_pointer(output, listing.cursor or "")
    new = isinstance(cursor, str | int) and cursor not in ("", place.cursor)
    goes_on = new and bool(items) and (listing.more is None or sdk.read_pointer(output, listing.more) is True)
    following = replace(place, cursor=cast("JSON", cursor), pages=place.pages + 1) if goes_on else None
    ended = following is None or following.pages >= MOST_PAGES
    return Read(
        items=tuple(items),
        mark=cast("JSON", cursor) if new else mark,
        following=None if ended else following,
        forget_before=None,
    )


def _by_moment(listing: sdk.Listing, place: Place, mark: JSON, output: JSON, items: Sequence[Item]) -> Read:
    moments = [each.at for each in items if each.at is not None]
    high: datetime | None = max([*moments, *([] if place.high is None else [place.high])], default=None)
    wanted = tuple(each for each in items if place.since is None or each.at is None or each.at >= place.since)
    reached = len(wanted) < len(items)
    page = sdk.read_pointer(output, listing.following) if listing.following is not None else None
    page = None if isinstance(page, sdk.Missing) or page in ("", place.page) else page
    following = None if page is None else _following(listing, place, high, page, reached=reached)
    if following is not None and following.pages >= MOST_PAGES:
        if listing.newest_first:  # what is older would be left behind for ever
            raise PollFailed(f"{listing.operation}: more than {MOST_PAGES} pages are new, the newest of them first")
        following = None
    if high is not None and (following is None or not listing.newest_first):
        # What changed since the poll began may have come into the list behind the place that was read.
        reached_to = min(high, place.began)
        mark = _text(reached_to if mark is None else max(reached_to, _moment(mark)))
    return Read(
        items=tuple(reversed(wanted)) if listing.newest_first else wanted,
        mark=mark,
        following=following,
        forget_before=_again_from(listing, mark),
    )


def _following(listing: sdk.Listing, place: Place, high: datetime | None, page: JSON, *, reached: bool) -> Place | None:
    pages = place.pages + 1
    if listing.newest_first:
        return None if reached else replace(place, page=page, high=high, pages=pages)
    onward = (
        high is not None
        and listing.since_field is not None
        and (place.since is None or _whole(high) > _whole(place.since))
    )
    if onward:
        return replace(place, since=high, page=None, high=high, pages=pages)
    return replace(place, page=page, high=high, pages=pages)  # a whole page of one second


def _item(listing: sdk.Listing, value: JSON, problem: str | None) -> Item:
    """An item that lacks what tells it from others is told by all that it is."""
    name = sdk.read_pointer(value, listing.id)
    if not isinstance(value, Mapping) or isinstance(name, bool) or not isinstance(name, str | int) or name == "":
        return Item(key=digest(value), at=None, value=value, problem=f"no text or number at {listing.id!r}")
    key, at = str(name), None
    if listing.moment is not None:
        try:
            at = from_rfc3339(str(sdk.read_pointer(value, listing.moment)))
            key = f"{key}@{_text(at)}"
        except ValueError:
            key, problem = digest(value), f"no moment at {listing.moment!r}"
    return Item(key=key if len(key) <= _LONGEST_KEY else digest(key), at=at, value=value, problem=problem)


def _moment(mark: object) -> datetime:
    try:
        return from_rfc3339(str(mark))
    except ValueError as error:
        raise PollFailed(f"the mark has no moment: {str(mark)[:60]!r} is none") from error


def _again_from(listing: sdk.Listing, mark: JSON) -> datetime | None:
    """From when on is read again."""
    if mark is None:
        return None
    try:
        return _moment(mark) - timedelta(seconds=listing.overlap_seconds)
    except OverflowError:  # the calendar's beginning
        return _moment(mark)


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def _text(moment: datetime) -> str:
    """In whole seconds where it is one: not every service takes fractions."""
    text = moment.isoformat(timespec="microseconds" if moment.microsecond else "seconds")
    return text.removesuffix("+00:00") + "Z"
