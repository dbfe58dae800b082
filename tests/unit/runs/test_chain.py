from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fix_review
from interlock import runs
from interlock.kernel import canonical, digest_bytes
from interlock.runs import chain
from interlock.runs.entries import Entry
from interlock.runs.verdict import Problem
from interlock.testing import SequentialIds

ENTRIES = st.lists(
    st.tuples(
        st.from_regex(r"[a-z_]{1,9}(\.[a-z_]{1,9})?", fullmatch=True),
        st.dictionaries(st.text(), fix_review.JSON_VALUES, max_size=3),
    ),
    min_size=1,
    max_size=5,
)


def _check(run: runs.Run, events: Sequence[runs.Event], *, seq: int, head: str) -> list[Problem]:
    told = [orjson.loads(event.body) for event in events]
    bodies, hashes = [event.body.encode() for event in events], [event.hash for event in events]
    return chain.check(told, bodies, hashes, run_id=run.run_id, head_seq=seq, head_hash=head)


def _story() -> tuple[runs.Run, list[runs.Event]]:
    story = fix_review.completed()
    return story.run, story.events


def test_a_body_is_canonical_and_its_hash_covers_every_byte() -> None:
    _, events = _story()
    for event in events:
        assert event.body.encode() == canonical(orjson.loads(event.body))
        assert event.hash == digest_bytes(event.body.encode())


def test_the_first_event_hangs_on_the_run_and_each_later_one_on_its_predecessor() -> None:
    run, events = _story()
    previous = [chain.genesis(run.run_id), *(event.hash for event in events)]
    assert [orjson.loads(event.body)["prev"] for event in events] == previous[:-1]
    assert (run.head_seq, run.head_hash) == (len(events), previous[-1])
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


def test_runs_do_not_share_a_beginning() -> None:
    assert chain.genesis("run_a") != chain.genesis("run_b")


def test_nothing_appended_leaves_the_head_where_it_was() -> None:
    run, _ = _story()
    assert chain.append(run, [], ids=SequentialIds(), at=run.created_at) == ((), run.head_seq, run.head_hash)


def test_data_without_canonical_form_is_refused() -> None:
    run, _ = _story()
    with pytest.raises(ValueError, match="no canonical JSON"):
        chain.append(run, [("note", {"x": float("nan")})], ids=SequentialIds(), at=run.created_at)


@pytest.mark.parametrize("kind", ["", 'a","seq":9,"b":"', "a b", "é", "note\n"])
def test_a_type_that_is_no_dotted_name_is_refused(kind: str) -> None:
    run, _ = _story()
    with pytest.raises(ValueError, match=r"dotted name|ascii"):
        chain.append(run, [(kind, {})], ids=SequentialIds(), at=run.created_at)


@given(first=ENTRIES, second=ENTRIES)
def test_chains_of_any_data_check_out_however_they_were_committed(first: list[Entry], second: list[Entry]) -> None:
    run, ids = fix_review.Story().run, SequentialIds()
    one = chain.append(run, first, ids=ids, at=run.created_at)
    grown = replace(run, head_seq=one.head_seq, head_hash=one.head_hash)
    two = chain.append(grown, second, ids=ids, at=run.created_at + timedelta(seconds=1))
    assert all(event.body.encode() == canonical(orjson.loads(event.body)) for event in one.events + two.events)
    assert _check(run, one.events + two.events, seq=two.head_seq, head=two.head_hash) == []


@pytest.mark.parametrize("victim", range(8))
def test_a_changed_event_is_blamed_alone(victim: int) -> None:
    run, events = _story()
    changed = replace(events[victim], body=events[victim].body.replace('"seq":', '"extra":0,"seq":'))
    told = [*events[:victim], changed, *events[victim + 1 :]]
    (problem,) = _check(run, told, seq=run.head_seq, head=run.head_hash)
    assert problem.where == f"event {victim + 1} ({events[victim].type})"
    assert "content was changed" in problem.what


@pytest.mark.parametrize("victim", range(8))
def test_a_changed_hash_is_told_from_changed_content(victim: int) -> None:
    run, events = _story()
    changed = replace(events[victim], hash="sha256:" + "0" * 64)
    (problem,) = _check(run, [*events[:victim], changed, *events[victim + 1 :]], seq=run.head_seq, head=run.head_hash)
    assert problem == (f"event {victim + 1} ({events[victim].type})", "its recorded hash was changed")


@pytest.mark.parametrize("victim", range(7))
def test_a_missing_event_shows_at_the_one_that_followed(victim: int) -> None:
    run, events = _story()
    (problem,) = _check(run, events[:victim] + events[victim + 1 :], seq=run.head_seq, head=run.head_hash)
    assert problem.where == f"event {victim + 2} ({events[victim + 1].type})"
    assert "does not follow" in problem.what


def test_events_cut_off_at_the_end_show_by_the_head() -> None:
    run, events = _story()
    (problem,) = _check(run, events[:-2], seq=run.head_seq, head=run.head_hash)
    assert problem == ("events", "the chain ends at event 6; its head is event 8: the rest is missing")


def test_exchanged_events_show() -> None:
    run, events = _story()
    told = [*events[:3], events[4], events[3], *events[5:]]
    assert {problem.where.split(" (")[0] for problem in _check(run, told, seq=run.head_seq, head=run.head_hash)} >= {
        "event 5"
    }


def test_a_foreign_chain_shows_even_if_it_is_whole() -> None:
    story = fix_review.Story()
    story.run = replace(story.run, run_id="run_" + "f" * 32, head_hash=chain.genesis("run_" + "f" * 32))
    foreign = chain.append(story.run, [("note", {})], ids=SequentialIds(), at=fix_review.START)
    run, _ = _story()
    problems = _check(run, foreign.events, seq=1, head=foreign.head_hash)
    assert problems == [("event 1 (note)", "it belongs to another run")]


def test_a_head_that_is_not_the_chains_is_blamed_itself() -> None:
    run, events = _story()
    (problem,) = _check(run, events, seq=run.head_seq, head="sha256:" + "0" * 64)
    assert problem.where == "head"
