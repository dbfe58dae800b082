import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

import fix_connector as fix
from interlock import sdk

CREATE = {"repo": "a/b", "title": "Leak", "labels": ["bug"]}


def settle(
    operation_id: str, given_input: dict[str, Any], *answers: sdk.HttpResponse, facts: sdk.Facts = fix.FACTS
) -> tuple[list[sdk.HttpRequest], sdk.Reconciled]:
    return fix.drive(sdk.reconciliation(fix.operation(operation_id), given_input, facts), *answers)


def test_the_created_record_is_found_among_many() -> None:
    records: list[dict[str, Any]] = [
        {**fix.TICKET, "title": "Other"},
        fix.TICKET,
        {**fix.TICKET, "user": {"login": "else"}},
        {**fix.TICKET, "labels": []},
        {**fix.TICKET, "body": "with text"},
        {**fix.TICKET, "created_at": "2026-03-01T11:00:00Z"},
    ]
    requests, found = settle("ticket.create", CREATE, fix.answer(records))
    assert requests[0].purpose is sdk.Purpose.RECONCILE
    assert requests[0].target == "/repos/a/b/tickets?creator=octo&since=2026-03-01T11%3A59%3A00Z&label=bug"
    assert (found.verdict, found.matches) == (sdk.Verdict.HAPPENED, 1)
    assert found.output == {
        "number": 7, "title": "Leak", "author": "octo", "labels": ["bug"], "closed_at": None, "repo": "a/b", "actor": "octo",
    }  # fmt: skip


def test_nothing_found_is_absent_and_two_are_unclear() -> None:
    assert settle("ticket.create", CREATE, fix.answer([]))[1].verdict is sdk.Verdict.ABSENT
    found = settle("ticket.create", CREATE, fix.answer([fix.TICKET, fix.TICKET]))[1]
    assert (found.verdict, found.matches, found.output) == (sdk.Verdict.UNCLEAR, 2, None)


def test_reading_goes_on_until_older_records_and_gives_up_after_the_limit() -> None:
    more = '<https://api/?page={}>; rel="next"'
    old = {**fix.TICKET, "created_at": "2026-03-01T09:00:00Z"}
    requests, found = settle(
        "ticket.create", CREATE, fix.answer([fix.TICKET], link=more.format(2)), fix.answer([old], link=more.format(3))
    )
    assert [each.query[-1] for each in requests][1] == ("page", "2")
    assert found.verdict is sdk.Verdict.HAPPENED
    pages = [fix.answer([{**fix.TICKET, "title": "x"}], link=more.format(page)) for page in (2, 3, 4)]
    assert settle("ticket.create", CREATE, *pages)[1].verdict is sdk.Verdict.UNCLEAR


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
def test_a_failing_read_is_unclear_and_says_why(status: int) -> None:
    found = settle("ticket.create", CREATE, fix.answer(status=status, retry_after="5"))[1]
    assert found.verdict is sdk.Verdict.UNCLEAR
    assert found.failure is not None
    assert (found.failure.status, found.failure.effect) == (status, "unknown")


def test_an_answer_that_is_no_list_or_no_json_is_unclear() -> None:
    assert settle("ticket.create", CREATE, fix.answer({}))[1].verdict is sdk.Verdict.UNCLEAR
    assert settle("ticket.create", CREATE, sdk.HttpResponse(status=200, body=b"{"))[1].verdict is sdk.Verdict.UNCLEAR


def test_an_unknown_account_is_unclear_without_a_request() -> None:
    facts = sdk.Facts(subject=None, started_at=fix.NOW)
    requests, found = settle("ticket.create", CREATE, facts=facts)
    assert (requests, found.verdict) == ([], sdk.Verdict.UNCLEAR)


def test_a_single_record_matches_or_not() -> None:
    value = {"repo": "a/b", "number": 7}
    assert (
        settle("ticket.close", value, fix.answer({**fix.TICKET, "state": "closed"}))[1].verdict is sdk.Verdict.HAPPENED
    )
    assert settle("ticket.close", value, fix.answer(fix.TICKET))[1].verdict is sdk.Verdict.ABSENT


def test_a_file_is_known_by_gits_name_for_its_content() -> None:
    sha = hashlib.sha1(b"blob 3\0h\xc3\xa9").hexdigest()
    value = {"repo": "a/b", "path": "x/y", "content": "hé", "branch": "main"}
    requests, found = settle("file.write", value, fix.answer({"sha": sha}))
    assert requests[0].target == "/repos/a/b/contents/x/y?ref=main"
    assert (found.verdict, found.output) == (sdk.Verdict.HAPPENED, {"sha": sha})
    assert settle("file.write", value, fix.answer({"sha": "0"}))[1].verdict is sdk.Verdict.ABSENT
    assert settle("file.write", value, fix.answer(status=404))[1].verdict is sdk.Verdict.ABSENT


def test_a_deletion_happened_when_the_thing_is_gone() -> None:
    value = {"repo": "a/b", "ref": "heads/x"}
    found = settle("ref.delete", value, fix.answer(status=404))[1]
    assert (found.verdict, found.output) == (sdk.Verdict.HAPPENED, {"ref": "heads/x", "deleted": True})
    assert settle("ref.delete", value, fix.answer({"ref": "refs/heads/x"}))[1].verdict is sdk.Verdict.ABSENT


def test_what_cannot_be_dated_counts_and_what_cannot_be_kept_still_proves() -> None:
    for moment in ("yesterday", None, 5):
        found = settle("ticket.create", CREATE, fix.answer([{**fix.TICKET, "created_at": moment}]))[1]
        assert found.verdict is sdk.Verdict.HAPPENED
    found = settle("ticket.create", CREATE, fix.answer([{**fix.TICKET, "number": 2**60}]))[1]
    assert (found.verdict, found.output) == (sdk.Verdict.HAPPENED, None)


def test_a_single_record_that_cannot_be_read_is_unclear() -> None:
    found = settle("ticket.close", {"repo": "a/b", "number": 7}, fix.answer(status=404))[1]
    assert (found.verdict, type(found.failure)) == (sdk.Verdict.UNCLEAR, sdk.ResourceNotFound)


def test_a_list_whose_absence_is_proof() -> None:
    way = sdk.find("/x", items="/all", match={"/title": "{input.title}"}, absent_status=[404])
    draft = sdk.post("x", "/x", input=fix.TicketCreate, output=fix.Deleted, reconcile=way)
    operation = fix.connector(operations=[draft]).manifest.operations[0]
    for answer in (fix.answer(status=404), fix.answer({"all": []})):
        program = sdk.reconciliation(operation, {"repo": "a/b", "title": "T"}, fix.FACTS)
        assert fix.drive(program, answer)[1].verdict is sdk.Verdict.ABSENT


@pytest.mark.parametrize(
    ("match", "labels", "body", "happened"),
    [
        (sdk.same("{input.labels}", op="set"), ["b", "a"], None, True),
        (sdk.same("{input.labels}", op="set"), ["a"], None, False),
        (sdk.same("{input.labels}", op="subset"), ["a"], None, True),
        (sdk.same("{input.labels}", op="subset"), ["c"], None, False),
        (sdk.same("{input.labels}", op="subset"), None, None, False),
        (sdk.same("{input.labels}", op="subset", optional=True), None, None, True),
        (sdk.same("a"), None, None, False),
        (sdk.same("{input.body}"), None, "x", False),
    ],
)
def test_comparisons_of_lists(match: sdk.Draft, labels: list[str] | None, body: str | None, happened: bool) -> None:
    draft = sdk.post(
        "x", "/x", input=fix.TicketCreate, output=fix.Deleted, reconcile=sdk.find("/x", match={"/labels/*/name": match})
    )
    operation = fix.connector(operations=[draft]).manifest.operations[0]
    value = {"repo": "a/b", "title": "T", "labels": labels, "body": body}
    given_input = {name: part for name, part in value.items() if part is not None}
    record = {"labels": [{"name": "a"}, {"name": "b"}]}
    _, found = fix.drive(sdk.reconciliation(operation, given_input, fix.FACTS), fix.answer(record))
    assert found.verdict is (sdk.Verdict.HAPPENED if happened else sdk.Verdict.ABSENT)


@pytest.mark.parametrize(
    ("template", "theirs", "happened"),
    [
        ("{input.title}", " Leak \r\n", True),
        ("{input.title}", 5, False),
        (sdk.same("{input.title}", op="contains"), "A Leak here", True),
        (sdk.same("{input.title}", op="contains"), ["Leak"], False),
        (sdk.same("{input.title}", op="subset"), "Leak", False),
        (sdk.same("{input.title}", op="subset"), ["Leak"], True),
        ("{input.title} by {subject}", "Leak by octo", True),
        ("{input.title} {input.body}", None, True),
        (None, "", True),
        (None, "x", False),
        (True, 1, False),
        (7, 7.0, True),
        ("x", 2**70, False),
    ],
)
def test_comparisons_of_values(template: Any, theirs: Any, happened: bool) -> None:
    draft = sdk.post(
        "x", "/x", input=fix.TicketCreate, output=fix.Deleted, reconcile=sdk.find("/x", match={"/t": template})
    )
    operation = fix.connector(operations=[draft]).manifest.operations[0]
    program = sdk.reconciliation(operation, {"repo": "a/b", "title": "Leak"}, fix.FACTS)
    _, found = fix.drive(program, fix.answer({"t": theirs}))
    assert found.verdict is (sdk.Verdict.HAPPENED if happened else sdk.Verdict.ABSENT)


def settle_by_hand(operation: sdk.Operation, input: Any, facts: sdk.Facts) -> sdk.Reconciliation:  # noqa: A002
    response = yield sdk.HttpRequest(method="GET", path="/one", purpose=sdk.Purpose.RECONCILE)
    verdict = sdk.Verdict.HAPPENED if response.status == 200 else sdk.Verdict.ABSENT
    return sdk.Reconciled(verdict=verdict, reason="looked")


def test_python_settles_what_data_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fix, "settle_by_hand", settle_by_hand, raising=False)
    draft = sdk.post(
        "x", "/x", input=fix.Search, output=fix.Found, reconcile=sdk.settle_by("fix_connector:settle_by_hand")
    )
    operation = fix.connector(operations=[draft]).manifest.operations[0]
    _, found = fix.drive(sdk.reconciliation(operation, {"text": "t"}, fix.FACTS), fix.answer(status=200))
    assert found.verdict is sdk.Verdict.HAPPENED


def test_an_operation_without_a_way_says_so() -> None:
    with pytest.raises(ValueError, match="no way"):
        next(sdk.reconciliation(fix.operation("payment.create"), {}, fix.FACTS))


@pytest.mark.parametrize(
    ("created", "verdict"),
    [
        ("2026-03-01T12:00:01Z", sdk.Verdict.HAPPENED),
        ("2026-03-01T11:59:58Z", sdk.Verdict.HAPPENED),
        ("2026-03-01T11:59:57Z", sdk.Verdict.UNCLEAR),
        ("2026-03-01T11:59:00Z", sdk.Verdict.ABSENT),
    ],
)
def test_an_equal_record_from_shortly_before_is_not_taken_for_ours(created: str, verdict: sdk.Verdict) -> None:
    # The service's Date and our own clock agree, so only its whole seconds leave room for doubt.
    answered = replace(
        fix.answer([{**fix.TICKET, "created_at": created}], date="Sun, 01 Mar 2026 12:00:05 GMT"),
        received_at=fix.FACTS.started_at + timedelta(seconds=5),
    )
    assert settle("ticket.create", CREATE, answered)[1].verdict is verdict


def test_a_clock_that_differs_from_the_services_moves_the_border() -> None:
    # Ours is twenty seconds fast: the service says 11:59:45 when we say 12:00:05.
    answered = replace(
        fix.answer([{**fix.TICKET, "created_at": "2026-03-01T11:59:40Z"}], date="Sun, 01 Mar 2026 11:59:45 GMT"),
        received_at=fix.FACTS.started_at + timedelta(seconds=5),
    )
    assert settle("ticket.create", CREATE, answered)[1].verdict is sdk.Verdict.HAPPENED


@pytest.mark.parametrize(
    ("created", "date"),
    [
        ("2026-03-01T12:00:01Z", "Mon, 01 Jan 0001 00:00:00 GMT"),
        ("2026-03-01T12:00:01Z", "Fri, 31 Dec 9999 23:59:59 GMT"),
        ("2026-03-01T12:00:01Z", "Sun, 01 Mar 99999999999999999999 12:00:00 GMT"),
        ("0001-01-01T00:00:00+23:59", "Sun, 01 Mar 2026 12:00:05 GMT"),
    ],
)
def test_dates_that_no_clock_shows_break_nothing(created: str, date: str) -> None:
    # Ours is behind the moment at which another machine began.
    answered = replace(
        fix.answer([{**fix.TICKET, "created_at": created}], date=date),
        received_at=fix.FACTS.started_at - timedelta(seconds=5),
    )
    assert settle("ticket.create", CREATE, answered)[1].verdict is sdk.Verdict.HAPPENED
