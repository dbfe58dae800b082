"""The chain of what happened to a connection."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_connections import CONNECTION, NOW
from interlock import testing
from interlock.connections import Connection, history
from interlock.connections.history import ConnectionEvent, Happening, Told
from interlock.kernel import digest_bytes

TOLD = st.builds(
    Told,
    kind=st.sampled_from(Happening),
    actor=st.text(max_size=5),
    reason=st.none() | st.text(max_size=5),
    data=st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=2),
)


@given(st.lists(st.lists(TOLD, max_size=3), max_size=4))
def test_a_chain_that_was_appended_to_is_whole(batches: list[list[Told]]):
    connection, events, ids = CONNECTION, list[ConnectionEvent](), testing.SequentialIds()
    for batch in batches:
        connection, more = history.append(connection, batch, ids=ids, at=NOW)
        events += more
    assert history.check(connection, events) is None
    assert [event.seq for event in events] == list(range(1, connection.head_seq + 1))
    told = [each for batch in batches for each in batch]
    assert [(event.record()["reason"], event.record()["data"]) for event in events] == [
        (each.reason, each.data) for each in told
    ]


def chain() -> tuple[Connection, list[ConnectionEvent]]:
    told = [Told(kind=kind, actor="ann") for kind in (Happening.CONNECTED, Happening.REVOKED, Happening.CONNECTED)]
    connection, events = history.append(CONNECTION, told, ids=testing.SequentialIds(), at=NOW)
    return connection, list(events)


def _swap(events: list[ConnectionEvent]) -> list[ConnectionEvent]:
    return [events[0], events[2], events[1]]


def _renumber(events: list[ConnectionEvent]) -> list[ConnectionEvent]:
    return [events[0], replace(events[2], seq=2)]


def _forge(events: list[ConnectionEvent]) -> list[ConnectionEvent]:
    body = events[1].body.replace("revoked", "checked")
    return [events[0], replace(events[1], body=body, type=Happening.CHECKED), events[2]]


def _rehash(events: list[ConnectionEvent]) -> list[ConnectionEvent]:
    forged = _forge(events)
    return [forged[0], replace(forged[1], hash=digest_bytes(forged[1].body.encode())), forged[2]]


def _retype(events: list[ConnectionEvent]) -> list[ConnectionEvent]:
    return [events[0], replace(events[1], type=Happening.CHECKED), events[2]]


CHANGES: list[Callable[[list[ConnectionEvent]], list[ConnectionEvent]]] = [
    lambda events: events[:-1],
    lambda events: events[1:],
    lambda events: [*events, events[-1]],
    lambda events: [],
    _swap,
    _renumber,
    _forge,
    _rehash,
    _retype,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_shows(change: Callable[[list[ConnectionEvent]], list[ConnectionEvent]]):
    connection, events = chain()
    assert history.check(connection, events) is None
    assert history.check(connection, change(events)) is not None


def test_a_chain_belongs_to_its_connection():
    connection, events = chain()
    assert history.check(replace(connection, connection_id="con_2"), events) is not None
