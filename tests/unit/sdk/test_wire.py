from typing import Any

import pytest

from interlock import sdk


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "CONNECT"},
        {"method": "get"},
        {"path": ""},
        {"path": "x"},
        {"path": "//evil.example"},
        {"path": "https://evil.example"},
        {"path": "/a/../b"},
        {"path": "/a b"},
        {"path": "/a?b"},
        {"path": "/a#b"},
        {"path": "/a\\b"},
        {"path": "/é"},
        {"path": "/a\r\nx"},
        {"headers": (("authorization", "x"),)},
        {"headers": (("Host", "x"),)},
        {"headers": (("COOKIE", "x"),)},
        {"headers": (("content-length", "1"),)},
        {"headers": (("a b", "x"),)},
        {"headers": (("", "x"),)},
        {"headers": (("x", "a\nb"),)},
        {"headers": (("x", "é"),)},
        {"headers": (("x", " a"),)},
        {"headers": (("x", "a" * 8193),)},
        {"headers": (("Keep-Alive", "x"),)},
        {"path": "/a|b"},
        {"path": "/a%zz"},
        {"path": "/a/%2E./b"},
    ],
)
def test_a_request_cannot_leave_its_service_or_forge_a_message(wrong: dict[str, Any]) -> None:
    plain: dict[str, Any] = {"method": "GET", "path": "/x"}
    with pytest.raises(ValueError):
        sdk.HttpRequest(**{**plain, **wrong})


def test_what_is_sent() -> None:
    request = sdk.HttpRequest(method="POST", path="/x", query=(("a b", "é&"),), json_body={"a": None})
    assert (request.target, request.content) == ("/x?a%20b=%C3%A9%26", b'{"a":null}')
    assert sdk.HttpRequest(method="GET", path="/x").content is None
    assert request.with_header("if-none-match", '"e"').headers == (("if-none-match", '"e"'),)


def test_the_first_header_counts() -> None:
    response = sdk.HttpResponse(status=200, headers=(("a", "1"), ("a", "2")))
    assert (response.header("a"), response.header("b")) == ("1", None)
