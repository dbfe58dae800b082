"""Requests that callers make up: what they may say, what is sent, and what comes back."""

from typing import Any

import pytest

from interlock import catalog, sdk
from interlock.kernel import SystemClock

FACTS = sdk.Facts(subject=None, started_at=SystemClock().now())
MANIFEST = sdk.provider_manifest(
    sdk.read_provider(
        {
            "contract": sdk.PROVIDER_CONTRACT,
            "provider_id": "acme",
            "display_name": "Acme",
            "auth": [sdk.api_key(base_url="https://api.acme.dev")],
            "headers": {"x-version": "1", "content-type": "application/vnd.acme+json"},
            "errors": [
                {
                    "status": "403",
                    "when": {"header": "x-left", "equals": "0"},
                    "code": "rate_limited",
                    "retry_after": {"header": "x-wait"},
                }
            ],
        },
        source="test",
    )
)


def operation(method: str) -> sdk.Operation:
    return next(each for each in MANIFEST.operations if each.operation_id == f"proxy.{method.lower()}")


def sent(method: str, **given: Any) -> sdk.HttpRequest:
    catalog.Capability(MANIFEST, operation(method)).validate_input(given)
    return next(sdk.program(operation(method), given, FACTS))


def answered(method: str, response: sdk.HttpResponse) -> Any:
    program = sdk.program(operation(method), {"path": "/"}, FACTS)
    next(program)
    with pytest.raises(StopIteration) as ended:
        program.send(response)
    return ended.value.value.value


def test_a_provider_has_a_proxy_for_each_method():
    assert {each.operation_id: each.effect.value for each in MANIFEST.operations} == {
        "proxy.delete": "delete",
        "proxy.get": "read",
        "proxy.head": "read",
        "proxy.patch": "update",
        "proxy.post": "execute",
        "proxy.put": "update",
    }
    assert MANIFEST.names_code is False


def test_what_is_sent():
    read = sent("GET", path="/v1/things", query={"tag": ["a", "b c"], "page": 2, "all": True})
    assert read.target == "/v1/things?tag=a&tag=b%20c&page=2&all=true"
    assert (read.headers, read.content) == ((("x-version", "1"),), None)
    json = sent("POST", path="/", headers={"x-version": "2"}, body={"a": 1})
    assert json.headers == (("content-type", "application/vnd.acme+json"), ("x-version", "2"))
    assert json.content == b'{"a":1}'
    form = sent("PUT", path="/", headers={"content-type": "application/x-www-form-urlencoded"}, text="a=1")
    assert form.content == b"a=1"
    image = sent("PUT", path="/", headers={"content-type": "image/png"}, base64="iVBORw==")
    assert (dict(image.headers)["content-type"], image.content) == ("image/png", b"\x89PNG")
    assert sent("GET", path="/", headers={"X-Version": "2"}).headers == (("x-version", "2"),)
    assert (sent("HEAD", path="/").method, sent("HEAD", path="/").content) == ("HEAD", None)


@pytest.mark.parametrize(
    "given", [{"body": {}, "text": ""}, {"text": "", "base64": ""}, {"base64": "a"}, {"base64": "é"}]
)
def test_a_body_is_one_and_readable(given: dict[str, Any]):
    with pytest.raises(sdk.InvalidArgument):
        sent("POST", path="/", **given)


@pytest.mark.parametrize("given", [{}, {"path": "/", "query": {"a": {"b": 1}}}, {"path": "/", "body": {}}])
def test_what_may_not_be_said(given: dict[str, Any]):
    with pytest.raises(catalog.InvalidInput):
        sent("GET", **given)


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"Authorization": "x"}, "belongs to the credential"),
        ({"host": "evil.dev"}, "belongs to the credential"),
        ({"transfer-encoding": "chunked"}, "belongs to the credential"),
        ({"x-a": "b\r\nx-c: d"}, "characters"),
        ({"x a": "b"}, "no header name"),
        ({"X-HTTP-Method-Override": "DELETE"}, "something else"),
        ({"x-original-url": "/admin"}, "something else"),
    ],
)
def test_headers_that_are_not_the_callers(headers: dict[str, str], why: str):
    with pytest.raises(sdk.InvalidArgument, match=why):
        sent("GET", path="/", headers=headers)


@pytest.mark.parametrize(
    "path",
    [
        "/a/../b", "/%2e%2e/b", "/a/.%2E", "/a/..%2fb", "/a%2F..%2fb", "/a%5c..%5Cb", "/a/..;/b", "/a/..;x=1/b", "/a/..%3Bx/b",
        "/a?b", "/a#b", "/a b", "/\\evil.dev", "/\n", "/a\r\nx: y", "/%zz", "@evil.dev/", "/é",
        "v1", "//evil.dev", "https://evil.dev", "",
    ],
)  # fmt: skip
def test_a_path_stays_below_the_service(path: str):
    with pytest.raises(sdk.InvalidPathValue):
        sent("GET", path=path)


@pytest.mark.parametrize(
    "path", ["/a%2Fb", "/a/...", "/.well-known/x", "/a%2f.hidden", "/@me", "/a;v=1/b", "/user@evil.dev"]
)
def test_what_only_looks_like_climbing_is_sent(path: str):
    assert sent("GET", path=path).target == path


def test_what_comes_back():
    headers = (("content-type", "text/plain"), ("set-cookie", "session=secret"), ("x-ratelimit-left", "7"))
    kept = {"content-type": "text/plain", "x-ratelimit-left": "7"}
    told = answered("GET", sdk.HttpResponse(status=200, headers=headers, body=b'{"a": [1]}'))
    assert told == {"status": 200, "headers": kept, "body": {"a": [1]}}
    assert answered("GET", sdk.HttpResponse(status=206, body=b"not\x07 \xff")) == {
        "status": 206,
        "headers": {},
        "base64": "bm90ByD/",
    }
    assert answered("HEAD", sdk.HttpResponse(status=200))["body"] is None
    assert answered("DELETE", sdk.HttpResponse(status=204)) == {"status": 204, "headers": {}, "body": None}


def test_refusals_mean_what_the_provider_says():
    program = sdk.program(operation("GET"), {"path": "/"}, FACTS)
    next(program)
    with pytest.raises(sdk.RateLimited) as caught:
        program.send(sdk.HttpResponse(status=403, headers=(("x-left", "0"), ("x-wait", "9"))))
    assert caught.value.retry_after == 9


def test_no_manifest_declares_a_proxy():
    drafted = MANIFEST.to_json()
    with pytest.raises(sdk.InvalidManifest, match="every connector has its proxies by itself"):
        sdk.load_manifest(sdk.Manifest.model_validate(MANIFEST).model_dump_json(), source="a file")
    assert drafted["connector_id"] == "provider_acme"
