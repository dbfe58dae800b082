import base64
import json
import re
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import fix_connector as fix
from interlock import sdk

TICKETS = "/repos/a/b/tickets"


def test_a_create_sends_one_request_and_projects_the_answer() -> None:
    given_input = {"repo": "a/b", "title": "Leak", "labels": ["bug"]}
    requests, output = fix.drive(
        sdk.program(fix.operation("ticket.create"), given_input, fix.FACTS), fix.answer(fix.TICKET, status=201)
    )
    assert requests == [
        sdk.HttpRequest(method="POST", path=TICKETS, json_body={"title": "Leak", "labels": ["bug"], "priority": 3})
    ]
    assert output.value == {
        "number": 7, "title": "Leak", "author": "octo", "labels": ["bug"], "closed_at": None, "repo": "a/b", "actor": "octo",
    }  # fmt: skip


def test_constants_make_the_body_of_a_patch() -> None:
    requests, _ = fix.drive(
        sdk.program(fix.operation("ticket.close"), {"repo": "a/b", "number": 7}, fix.FACTS), fix.answer(fix.TICKET)
    )
    assert (requests[0].method, requests[0].target, requests[0].content) == (
        "PATCH", "/repos/a/b/tickets/7", b'{"state":"closed"}',
    )  # fmt: skip


def test_content_is_encoded_and_a_path_with_slashes_is_escaped_by_segment() -> None:
    requests, _ = fix.drive(
        sdk.program(fix.operation("file.write"), {"repo": "a/b", "path": "dø cs/x?.md", "content": "hé"}, fix.FACTS),
        fix.answer({"content": {"sha": "1"}, "commit": {"sha": "2"}}),
    )
    assert requests[0].path == "/repos/a/b/contents/d%C3%B8%20cs/x%3F.md"
    assert requests[0].json_body == {"content": base64.b64encode("hé".encode()).decode()}


@pytest.mark.parametrize("path", ["", "..", "a/../b", "a//b", "/a", "a/", ".", "a\\..\\b", "..;a", "x" * 1001])
def test_a_value_cannot_climb_out_of_its_place(path: str) -> None:
    program = sdk.program(fix.operation("file.write"), {"repo": "a/b", "path": path, "content": ""}, fix.FACTS)
    with pytest.raises(sdk.InvalidPathValue, match="path"):
        next(program)


@given(st.text(min_size=1))
@example(".\\")
@example("../x")
@example("a/..")
@example("..;x")
def test_any_text_stays_one_segment(ref: str) -> None:
    schema = {
        "type": "object",
        "properties": {"x": {"type": "string"}},
        "required": ["x"],
        "additionalProperties": False,
    }
    operation = CACHE.setdefault("one", _single(schema))
    try:
        request = next(sdk.program(operation, {"x": ref}, fix.FACTS))
    except UnicodeEncodeError:
        assert any(0xD800 <= ord(c) <= 0xDFFF for c in ref)  # such texts are refused where input enters
        return
    except sdk.InvalidPathValue:  # or it would climb at servers that read an escaped separator as one
        assert {".", ".."} & set(re.split(r"[/\\;]", ref)) or len(ref) > 1000
        return
    assert not {".", ".."} & set(re.split(r"[/\\]", unquote(request.path)))
    assert request.path.count("/") == 2
    assert "?" not in request.target
    assert "#" not in request.target


CACHE: dict[str, sdk.Operation] = {}


def _single(schema: sdk.Schema) -> sdk.Operation:
    draft = sdk.get("one", "/things/{x}", input=schema, output={"type": "object", "properties": {"a": {}}})
    return fix.connector(operations=[draft]).manifest.operations[0]


def test_pages_are_followed_by_the_links_query_on_our_own_path_and_joined() -> None:
    link = '<https://evil.example/repositories/9/x?page=2&per_page=30>; rel="next", <https://api/?page=9>; rel="last"'
    last = '<https://api/?page=1>; rel="prev"'
    requests, output = fix.drive(
        sdk.program(fix.operation("ticket.list"), {"repo": "a/b", "max_pages": 5}, fix.FACTS),
        fix.answer([fix.TICKET], link=link),
        fix.answer([{**fix.TICKET, "number": 8}], link=last, etag='"e"'),
    )
    assert [(each.target, each.purpose) for each in requests] == [
        (f"{TICKETS}?per_page=30&page=1", sdk.Purpose.EFFECT),
        (f"{TICKETS}?page=2&per_page=30", sdk.Purpose.PAGE),
    ]
    assert [ticket["number"] for ticket in output.value["tickets"]] == [7, 8]
    assert (output.value["etag"], output.pages, output.next_page) == ('"e"', 2, {})
    assert "next_page" not in output.value


def test_one_page_is_the_default_and_names_the_next() -> None:
    _, output = fix.drive(
        sdk.program(fix.operation("ticket.list"), {"repo": "a/b"}, fix.FACTS),
        fix.answer([], link="<https://api/x?page=4>; rel=next"),
    )
    assert output.value == {"tickets": [], "next_page": 4}


def test_a_link_to_the_same_page_ends() -> None:
    _, output = fix.drive(
        sdk.program(fix.operation("ticket.list"), {"repo": "a/b", "max_pages": 9}, fix.FACTS),
        fix.answer([], link='<https://api/x?per_page=30&page=1>; rel="next"'),
    )
    assert output.pages == 1


def test_cursors_go_into_their_field() -> None:
    requests, output = fix.drive(
        sdk.program(fix.operation("search"), {"text": "x", "max_pages": 2}, fix.FACTS),
        fix.answer({"results": [{"title": "a"}], "next_cursor": "c1"}),
        fix.answer({"results": [{"title": "b"}], "next_cursor": "c2"}),
    )
    assert [each.json_body for each in requests] == [
        {"query": {"text": "x"}}, {"query": {"text": "x"}, "cursor": "c1"},
    ]  # fmt: skip
    assert output.value == {"titles": ["a", "b"], "next_cursor": "c2"}


def test_an_answer_without_body_is_made_of_the_input_and_constants() -> None:
    _, output = fix.drive(
        sdk.program(fix.operation("ref.delete"), {"repo": "a/b", "ref": "heads/x"}, fix.FACTS), fix.answer(status=204)
    )
    assert output.value == {"ref": "heads/x", "deleted": True}


def test_an_idempotency_key_is_sent_and_is_needed() -> None:
    operation = fix.operation("payment.create")
    facts = sdk.Facts(subject=None, started_at=fix.NOW, idempotency_key="k1")
    request = next(sdk.program(operation, {"cents": 1}, facts))
    assert request.headers == (("idempotency-key", "k1"),)
    with pytest.raises(ValueError, match="idempotency key"):
        next(sdk.program(operation, {"cents": 1}, fix.FACTS))


def test_control_characters_and_depth_in_answers() -> None:
    program = sdk.program(fix.operation("ticket.create"), {"repo": "a/b", "title": "T"}, fix.FACTS)
    _, output = fix.drive(program, fix.answer({**fix.TICKET, "title": "a\x1b[31m\tb\x9b"}, status=201))
    assert output.value["title"] == "a\ufffd[31m\tb\ufffd"
    deep: object = 1
    for _ in range(200):
        deep = [deep]
    draft = sdk.post("d", "/d", input=fix.Search, output={"type": "object", "properties": {"x": {}}})
    operation = fix.connector(operations=[draft]).manifest.operations[0]
    program = sdk.program(operation, {"text": "t"}, fix.FACTS)
    next(program)
    with pytest.raises(sdk.UnexpectedAnswer) as raised:
        program.send(fix.answer({"x": deep}))
    assert raised.value.effect == "happened"


def test_a_deep_answer_under_a_recursive_schema() -> None:
    tree: sdk.Schema = {"type": "object", "properties": {"child": {"$ref": "#/$defs/Tree"}}}
    shape: sdk.Schema = {"$defs": {"Tree": tree}, "type": "object", "properties": {"root": {"$ref": "#/$defs/Tree"}}}
    draft = sdk.get("tree", "/t", input=fix.Search, output=shape)
    operation = fix.connector(operations=[draft]).manifest.operations[0]
    shallow: Any = {"root": {"child": {"child": {}, "other": 1}}}
    _, output = fix.drive(sdk.program(operation, {"text": "t"}, fix.FACTS), fix.answer(shallow))
    assert output.value == {"root": {"child": {"child": {}}}}
    program = sdk.program(operation, {"text": "t"}, fix.FACTS)
    next(program)
    with pytest.raises(sdk.UnexpectedAnswer, match="cannot be kept"):
        program.send(sdk.HttpResponse(status=200, body=b'{"root":' + b'{"child":' * 900 + b"1" + b"}" * 901))


def test_pages_end_where_their_size_is_that_of_one_answer() -> None:
    big = [{**fix.TICKET, "body": "x" * 5_000_000}]
    _, output = fix.drive(
        sdk.program(fix.operation("ticket.list"), {"repo": "a/b", "max_pages": 9}, fix.FACTS),
        fix.answer(big, link='<https://api/?page=2>; rel="next"'),
        fix.answer(big, link='<https://api/?page=3>; rel="next"'),
    )
    assert (output.pages, output.value["next_page"]) == (2, 3)


def test_a_link_that_is_no_address_ends_the_pages() -> None:
    for link in ('<https://[bad>; rel="next"', '<https://api/>; rel="next"', "noise", '<a?b=c>; rel="prev"'):
        _, output = fix.drive(
            sdk.program(fix.operation("ticket.list"), {"repo": "a/b", "max_pages": 9}, fix.FACTS),
            fix.answer([], link=link),
        )
        assert output.pages == 1


def test_a_handler_is_no_program() -> None:
    with pytest.raises(ValueError, match="has a handler"):
        next(sdk.program(fix.operation("shout"), {"text": "t"}, fix.FACTS))


def test_a_body_that_is_not_json_is_an_effect_that_happened() -> None:
    program = sdk.program(fix.operation("ticket.create"), {"repo": "a/b", "title": "T"}, fix.FACTS)
    next(program)
    with pytest.raises(sdk.UnexpectedAnswer) as raised:
        program.send(sdk.HttpResponse(status=201, body=b"<html>"))
    assert (raised.value.effect, raised.value.status) == ("happened", 201)


def test_a_list_that_is_no_list() -> None:
    program = sdk.program(fix.operation("ticket.list"), {"repo": "a/b"}, fix.FACTS)
    next(program)
    with pytest.raises(sdk.UnexpectedAnswer, match="no list"):
        program.send(fix.answer({"a": 1}))


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_any_json_answer_gives_an_output_or_an_error_of_ours(body: object) -> None:
    operation = CACHE.setdefault("list", fix.operation("ticket.list"))
    program = sdk.program(operation, {"repo": "a/b"}, fix.FACTS)
    next(program)
    with pytest.raises((StopIteration, sdk.UnexpectedAnswer)) as raised:
        program.send(sdk.HttpResponse(status=200, body=json.dumps(body).encode()))
    ended = raised.value
    assert isinstance(ended, StopIteration) or ended.effect == "none"


@pytest.mark.parametrize("number", [2**53, 2**64, 10**22, -(10**30)])
def test_an_integer_in_an_answer_is_never_rounded(number: int) -> None:
    """One that is kept is refused if not every reader keeps it exact; one that is dropped does no harm."""

    def create(**changes: Any) -> sdk.Output:
        program = sdk.program(fix.operation("ticket.create"), {"repo": "a/b", "title": "Leak"}, fix.FACTS)
        return fix.drive(program, fix.answer({**fix.TICKET, **changes}, status=201))[1]

    with pytest.raises(sdk.UnexpectedAnswer, match="beyond ±") as raised:
        create(number=number)
    assert raised.value.effect == "happened"
    assert create(id=number).value == create().value
