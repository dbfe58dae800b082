"""How a poll goes through a list: against services whose lists change while they are read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import sdk
from interlock.kernel import JSON, to_rfc3339
from interlock.triggers import polling

START = datetime(2026, 3, 1, tzinfo=UTC)
PER_PAGE = 3

ASCENDING = sdk.Listing(
    operation="thing.list",
    input={"of": "{config.of}", "kind": "all", "left_out": "{config.nothing}"},
    items="/things",
    moment="/changed",
    since_field="since",
    overlap_seconds=30,
    following="/next",
    following_field="page",
)
NEWEST_FIRST = ASCENDING.model_copy(update={"newest_first": True, "since_field": None})
BY_CURSOR = sdk.Listing(
    operation="thing.list", items="/things", cursor="/cursor", cursor_field="cursor", more="/more", overlap_seconds=0
)


@dataclass
class Service:
    """Things, the moments at which they changed, and from when on its list shows that: until then it shows what was before."""

    now: datetime = START
    changes: list[tuple[int, datetime, datetime]] = field(default_factory=list[tuple[int, datetime, datetime]])

    def change(self, thing: int, *, lag: int = 0) -> None:
        self.changes.append((thing, self.now, self.now + timedelta(seconds=lag)))

    @property
    def things(self) -> dict[int, datetime]:
        """As the list shows them."""
        return {thing: changed for thing, changed, shown_from in self.changes if shown_from <= self.now}

    def answer(self, asked: Mapping[str, JSON], *, newest_first: bool) -> JSON:
        since = datetime.fromisoformat(str(asked.get("since", "2000-01-01T00:00:00Z")))
        found = [(changed, thing) for thing, changed in self.things.items() if changed >= since]
        found.sort(reverse=newest_first)
        page = int(str(asked.get("page", 1)))
        shown = found[(page - 1) * PER_PAGE : page * PER_PAGE]
        things: list[JSON] = [{"id": thing, "changed": to_rfc3339(changed)} for changed, thing in shown]
        return {"things": things, "next": page + 1 if len(found) > page * PER_PAGE else None}


class Poll:
    """What a poller keeps: the mark, and the keys that it met."""

    def __init__(self, listing: sdk.Listing) -> None:
        self.listing = listing
        self.mark: JSON = polling.mark_at(START)
        self.known: dict[str, datetime] = {}
        self.met: list[str] = []

    def take(self, read: polling.Read) -> None:
        for item in read.items:
            if item.key not in self.known:
                self.met.append(item.key)
                assert item.at is not None
                self.known[item.key] = item.at
        self.mark = read.mark
        if read.forget_before is not None:
            self.known = {key: at for key, at in self.known.items() if at >= read.forget_before}


CHANGES = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 25)), max_size=4)


@pytest.mark.parametrize("listing", [ASCENDING, NEWEST_FIRST], ids=["ascending", "newest_first"])
@given(data=st.data(), polls=st.lists(st.lists(CHANGES, max_size=5), min_size=1, max_size=4))
def test_whatever_changes_meanwhile_all_is_met_and_nothing_twice(
    listing: sdk.Listing, data: st.DataObject, polls: list[list[list[tuple[int, int]]]]
):
    service, poll = Service(), Poll(listing)
    for changes in [*polls, [], []]:
        place: polling.Place | None = polling.begin(listing, poll.mark, service.now)
        pages = iter(changes)
        while place is not None:
            asked = polling.question(listing, {"of": "x"}, place)
            read = polling.read(listing, place, poll.mark, service.answer(asked, newest_first=listing.newest_first))
            poll.take(read)
            place = read.following
            nothing: list[tuple[int, int]] = []
            for thing, lag in next(pages, nothing):
                service.now += timedelta(seconds=data.draw(st.sampled_from([0, 0, 1, 40, 100])))
                service.change(thing, lag=lag)
            if changes and data.draw(st.booleans()) and data.draw(st.booleans()):
                break  # the process is killed, and another one begins with the mark
        service.now += timedelta(seconds=26)  # everything shows by now
    assert len(poll.met) == len(set(poll.met))
    last = {f"{thing}@{_text(changed)}" for thing, changed in service.things.items()}
    assert last <= set(poll.met)


def _text(moment: datetime) -> str:
    return to_rfc3339(moment).replace(".000000Z", "Z")


def test_the_question_is_made_of_the_config_and_the_place():
    place = polling.begin(ASCENDING, polling.mark_at(START), START)
    assert polling.question(ASCENDING, {"of": ["x"]}, place) == {
        "of": ["x"],
        "kind": "all",
        "since": "2026-02-28T23:59:30Z",
    }


def met(service: Service, listing: sdk.Listing, *between: Callable[[], None]) -> list[str]:
    """What two polls meet, while things happen between the first one's pages."""
    poll, happens = Poll(listing), iter(between)
    for _ in range(2):
        place: polling.Place | None = polling.begin(listing, poll.mark, service.now)
        while place is not None:
            asked = polling.question(listing, {}, place)
            read = polling.read(listing, place, poll.mark, service.answer(asked, newest_first=listing.newest_first))
            poll.take(read)
            place = read.following
            next(happens, lambda: None)()
        service.now += timedelta(hours=1)
    return poll.met


def test_what_moves_to_the_end_moves_nothing_out_of_sight():
    service = Service()
    for thing in range(6):
        service.change(thing)
        service.now += timedelta(minutes=1)
    found = met(service, ASCENDING, lambda: service.change(0))
    assert sorted({each.partition("@")[0] for each in found}) == ["0", "1", "2", "3", "4", "5"]


def test_what_comes_late_into_a_list_that_is_being_read_is_met_by_the_next_poll():
    service = Service()
    service.change(7, lag=20)
    for thing in range(4):
        service.now += timedelta(seconds=1)
        service.change(thing)

    def meanwhile() -> None:
        service.now += timedelta(minutes=5)
        service.change(8)

    assert f"7@{_text(START)}" in met(service, ASCENDING, meanwhile)


def test_a_second_that_fills_pages_is_leafed_through():
    service, poll = Service(), Poll(ASCENDING)
    for thing in range(8):
        service.change(thing)
    place: polling.Place | None = polling.begin(ASCENDING, poll.mark, service.now)
    pages: list[object] = []
    while place is not None:
        asked = polling.question(ASCENDING, {}, place)
        pages.append((asked.get("since"), asked.get("page")))
        read = polling.read(ASCENDING, place, poll.mark, service.answer(asked, newest_first=False))
        poll.take(read)
        place = read.following
    assert len(poll.met) == 8
    at = "2026-03-01T00:00:00Z"
    assert pages == [("2026-02-28T23:59:30Z", None), (at, None), (at, 2), (at, 3)]


def test_a_cursor_is_followed_while_there_is_more():
    first = polling.begin(BY_CURSOR, None, START)
    assert polling.question(BY_CURSOR, {}, first) == {}
    one = polling.read(BY_CURSOR, first, None, {"things": [{"id": "a"}], "cursor": "c1", "more": True})
    assert (one.mark, [each.key for each in one.items]) == ("c1", ["a"])
    assert one.following is not None
    assert polling.question(BY_CURSOR, {}, one.following) == {"cursor": "c1"}
    two = polling.read(BY_CURSOR, one.following, one.mark, {"things": [{"id": "b"}], "cursor": "c2", "more": False})
    assert (two.mark, two.following) == ("c2", None)
    none = polling.read(BY_CURSOR, polling.begin(BY_CURSOR, "c2", START), "c2", {"things": [], "cursor": None})
    assert (none.mark, none.following, none.items) == ("c2", None, ())


def test_what_has_no_end_is_no_poll_for_ever():
    def leaf(place: polling.Place, page: int) -> polling.Place | None:
        things: list[JSON] = [{"id": page, "changed": to_rfc3339(START - timedelta(seconds=page))}]
        return polling.read(NEWEST_FIRST, place, None, {"things": things, "next": page}).following

    place = polling.begin(NEWEST_FIRST, None, START)
    for page in range(1, 200):
        following = leaf(place, page)
        assert following is not None
        place = following
    with pytest.raises(polling.PollFailed, match="200 pages"):
        leaf(place, 200)


def test_a_moment_at_the_beginning_of_the_calendar_is_one():
    output: JSON = {"things": [{"id": 7, "changed": "0001-01-01T00:00:00Z"}]}
    read = polling.read(ASCENDING, polling.begin(ASCENDING, None, START), None, output)
    assert polling.begin(ASCENDING, read.mark, START).since == datetime(1, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("output", "match"),
    [
        ({}, "there is no list"),
        ({"things": "abc"}, "there is no list"),
        ([], "there is no list"),
    ],
)
def test_an_answer_that_is_no_list_is_a_failure(output: Any, match: str):
    with pytest.raises(polling.PollFailed, match=match):
        polling.read(ASCENDING, polling.begin(ASCENDING, None, START), None, output)


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        (3, "no text or number at '/id'"),
        (None, "no text or number at '/id'"),
        ({"id": True}, "no text or number at '/id'"),
        ({"id": "", "changed": "2026-03-01T00:00:00Z"}, "no text or number at '/id'"),
        ({"id": 7}, "no moment at '/changed'"),
        ({"id": 7, "changed": "yesterday"}, "no moment at '/changed'"),
        ({"id": 7, "changed": "2026-03-01T00:00:00"}, "no moment at '/changed'"),
    ],
)
def test_an_item_that_is_none_keeps_no_other_from_being_read(item: JSON, problem: str):
    good: JSON = {"id": 8, "changed": "2026-03-01T00:00:10Z"}
    place = polling.begin(ASCENDING, "2026-03-01T00:00:00Z", START)
    read = polling.read(ASCENDING, place, None, {"things": [item, good, item]})
    bad, fit, again = read.items
    assert (bad.problem, bad.at, bad.value) == (problem, None, item)
    assert (fit.key, fit.problem) == ("8@2026-03-01T00:00:10Z", None)
    assert bad.key == again.key != polling.read(ASCENDING, place, None, {"things": [[item]]}).items[0].key
