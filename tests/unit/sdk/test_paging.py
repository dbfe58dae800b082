"""How the lists of a service go on, by what its provider says."""

from typing import Any

import pytest

from interlock import sdk

LINK = '<https://evil.dev/other?page=2&tag=a&tag=b>; rel="next", <https://x.dev/?page=9>; rel="last"'


def following(paging: dict[str, Any], body: Any = None, params: dict[str, Any] | None = None, link: str = "") -> Any:
    output: dict[str, Any] = {"status": 200, "headers": {"link": link} if link else {}, "body": body}
    return sdk.next_params(sdk.Paging.model_validate(paging), params or {}, output)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"link": LINK}, {"page": "2", "tag": ["a", "b"]}),
        ({"link": '<https://x.dev/?page=9>; rel="last"'}, None),
        ({}, None),
        ({"link": LINK, "params": {"page": "2", "tag": ["a", "b"]}}, None),
        ({"paging": {"link": "/next"}, "body": {"next": "/v1/things?after=x%20y"}}, {"after": "x y"}),
        ({"paging": {"link": "/next"}, "body": {"next": None}}, None),
        ({"paging": {"link": "/next"}, "body": []}, None),
    ],
)
def test_by_a_link_only_the_query_goes_on(given: dict[str, Any], expected: Any):
    paging = {"style": "link", **given.pop("paging", {})}
    assert following(paging, **given) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"meta": {"next": "abc"}}, {"q": "1", "after": "abc"}),
        ({"meta": {"next": 7}}, {"q": "1", "after": 7}),
        ({"meta": {"next": ""}}, None),
        ({"meta": {"next": None}}, None),
        ({"meta": {"next": True}}, None),
        ({"meta": {"next": {"a": 1}}}, None),
        ("text", None),
    ],
)
def test_by_a_cursor(body: Any, expected: Any):
    paging = {"style": "cursor", "cursor": "/meta/next", "cursor_name": "after"}
    assert following(paging, body, {"q": "1"}) == expected
    if expected is not None:
        assert following(paging, body, expected) is None  # the same page again would never end


@pytest.mark.parametrize(
    ("more", "params", "items", "expected"),
    [
        ({}, {}, 3, {"at": 3}),
        ({}, {"at": "3"}, 3, {"at": 6}),
        ({}, {"at": "3"}, 0, None),
        ({"offset_start": 1, "offset_counts": "pages"}, {}, 3, {"at": 2}),
        ({"offset_counts": "pages"}, {"at": 4, "n": "3"}, 3, {"at": 5, "n": "3"}),
        ({"limit_name": "n"}, {"n": "3"}, 2, None),
        ({"limit_name": "n"}, {"n": 3}, 3, {"n": 3, "at": 3}),
        ({}, {"at": "x"}, 3, {"at": 3}),
    ],
)
def test_by_a_number(more: dict[str, Any], params: dict[str, Any], items: int, expected: Any):
    paging = {"style": "offset", "offset_name": "at", "items": "/items", **more}
    assert following(paging, {"items": [1] * items}, params) == expected
    assert following(paging, {"other": 1}, params) is None
