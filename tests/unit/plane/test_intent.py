"""Intents: strict, frozen, and recorded without body and secret."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fix_plane import Intents
from interlock import plane

SCHEMAS = Path(__file__).parents[3] / "schemas"


def test_record_has_no_body(intents: Intents):
    intent = intents.http(method="POST", body=b"attack at dawn")
    assert "attack" not in intent.canonical
    assert "attack" not in repr(intent)
    assert intent.record()["body_size"] == 14


def test_record_round_trips(intents: Intents):
    intent = intents.http(body=b"x", credentials=(plane.HeaderCredential(handle="l", name="X-Key", template="{key}"),))
    again = plane.HttpIntent.model_validate_json(intent.canonical)
    assert again.canonical == intent.canonical
    assert again.digest == intent.digest
    assert not again.has_body
    assert intent.has_body


def test_a_copy_is_validated_and_has_its_own_digest(intents: Intents):
    intent = intents.http()
    changed = intent.model_copy(update={"url": "https://api.acme.dev/other"})
    assert changed.digest != intent.digest
    assert changed.target.target == "/other"
    with pytest.raises(ValidationError):
        intent.model_copy(update={"url": "nonsense"})


@pytest.mark.parametrize(
    "change",
    [
        {"method": "TRACE"},
        {"url": "https://u@a.b/"},
        {"headers": (("Authorization", "x"),)},
        {"headers": (("hOsT", "x"),)},
        {"headers": (("Content-Length", "1"),)},
        {"headers": (("Cookie", "x"),)},
        {"headers": (("X", "a\r\nb"),)},
        {"headers": (("X", "ä"),)},
        {"headers": (("X", " padded"),)},
        {"headers": (("X Y", "x"),)},
        {"headers": (("X", "x" * 8193),)},
        {"headers": (("X", "x"),) * 65},
        {"allowed_hosts": ("api.acme.dev",)},
        {"max_response_bytes": -1},
        {"intent_id": ""},
        {"run_id": "a\nb"},
        {"deadline_at": "tomorrow"},
        {"body": "text"},
        {"surprise": 1},
    ],
)
def test_refuses(intents: Intents, change: dict[str, Any]):
    with pytest.raises(ValidationError):
        intents.http(**change)


def test_a_naive_deadline_is_refused(intents: Intents):
    with pytest.raises(ValidationError):
        intents.http(deadline_at=intents.clock.now().replace(tzinfo=None))


def test_the_credential_owns_its_header(intents: Intents):
    ref = plane.HeaderCredential(handle="l", name="X-Key", template="{key}")
    with pytest.raises(ValidationError):
        intents.http(headers=(("x-key", "mine"),), credentials=(ref,))


@pytest.mark.parametrize(
    ("header", "template"),
    [("Host", "{t}"), ("Cookie", "{t}"), ("A B", "{t}"), ("A", "no field"), ("A", "{a}{b}"), ("A", "{a}\n")],
)
def test_credential_refs_are_checked(header: str, template: str):
    with pytest.raises(ValidationError):
        plane.HeaderCredential(handle="l", name=header, template=template)


@given(st.text(max_size=30))
def test_a_rendered_credential_is_one_header_line(value: str):
    ref = plane.HeaderCredential(handle="l", name="Authorization", template="Bearer {token}")
    fits = value.rstrip(" \t") == value != "" and all(
        " " <= character <= "~" or character == "\t" for character in value
    )
    if fits:
        assert ref.render(value) == "Bearer " + value
    else:
        with pytest.raises(ValueError, match="does not fit into a header"):
            ref.render(value)


def test_a_refused_credential_is_not_quoted():
    ref = plane.HeaderCredential(handle="l", name="Authorization", template="Bearer {token}")
    with pytest.raises(ValueError, match="does not fit into a header") as caught:
        ref.render("the-secret\r\nHost: evil")
    assert "the-secret" not in str(caught.value)


def test_a_template_is_not_filled_twice():
    ref = plane.HeaderCredential(handle="l", name="Authorization", template="Bearer {token}")
    assert ref.ref == ("l", "token")
    assert ref.render(r"{token}\1") == r"Bearer {token}\1"


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a b"},
        {"name": "ü"},
        {"name": "x" * 101},
        {"template": "no field"},
        {"template": "{a}{b}"},
        {"template": "{a}\n"},
    ],
)
def test_query_credentials_are_checked(change: dict[str, str]):
    values = {"handle": "l", "name": "key", "template": "{key}", **change}
    with pytest.raises(ValidationError):
        plane.QueryCredential.model_validate(values)


@given(st.text(max_size=30), st.sampled_from(["key", "auth[key]", "a&b", "a=b"]))
def test_a_rendered_credential_is_one_parameter(value: str, name: str):
    text = plane.QueryCredential(handle="l", name=name, template="t {key}").render(value)
    assert parse_qsl(text, strict_parsing=True, separator="&") == [(name, f"t {value}")]
    assert plane.parse_url(f"https://api.acme.dev/?{text}").parameters == {name}


@pytest.mark.parametrize("value", ["the-secret" * 500, "the-secret\udc80"])
def test_what_does_not_fit_into_a_query_is_not_quoted(value: str):
    ref = plane.QueryCredential(handle="l", name="key", template="{key}")
    with pytest.raises(ValueError, match="'key' does not fit into a query") as caught:
        ref.render(value)
    assert "the-secret" not in str(caught.value)
    assert caught.value.__context__ is None


IN_QUERY = plane.QueryCredential(handle="l", name="key", template="{key}")
IN_HEADER = plane.HeaderCredential(handle="l", name="X-Key", template="{key}")
SHOWN = plane.ClientCertificate(handle="l")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"credentials": (IN_QUERY,), "url": "https://api.acme.dev/?a&key=mine"}, "the query parameter 'key'"),
        ({"credentials": (IN_QUERY,), "url": "https://api.acme.dev/?%6Bey"}, "the query parameter 'key'"),
        ({"credentials": (IN_QUERY, IN_QUERY)}, "the query parameter 'key'"),
        ({"credentials": (IN_HEADER, IN_HEADER.model_copy(update={"name": "x-key"}))}, "the header 'x-key'"),
        ({"credentials": (SHOWN, SHOWN)}, "2 client certificates"),
        ({"credentials": (SHOWN,), "url": "http://api.acme.dev/", "allowed_hosts": ()}, "under TLS"),
        ({"credentials": (IN_HEADER,) * 9}, "at most 8"),
    ],
)
def test_each_credential_has_a_place_of_its_own(intents: Intents, change: dict[str, Any], problem: str):
    with pytest.raises(ValidationError, match=problem):
        intents.http(**change)


def test_a_record_names_credentials_by_their_places(intents: Intents):
    intent = intents.http(credentials=(IN_HEADER, IN_QUERY, SHOWN))
    assert plane.HttpIntent.model_validate_json(intent.canonical) == intent
    assert [each.place for each in intent.credentials] == ["header", "query", "certificate"]
    assert intents.http(credentials=()).digest == intents.http().digest != intent.digest


def test_every_contract_exports_its_schema():
    schemas = plane.json_schemas()
    committed = {f"interlock.{path.parent.name}/{path.stem}" for path in SCHEMAS.glob("*/v*.json")}
    assert set(schemas) <= committed
    assert {"interlock.authority/v1", "interlock.http-intent/v1", "interlock.receipt/v1"} <= set(schemas)
    intent: Any = schemas["interlock.http-intent/v1"]
    assert "body" not in intent["properties"]
    assert intent["additionalProperties"] is False


@pytest.mark.parametrize(
    "change", [{"method": "GET"}, {"method": "DELETE"}, {"method": "POST", "body": b"x"}, {"method": "OPTIONS"}]
)
def test_a_streamed_request_that_cannot_be(intents: Intents, change: dict[str, Any]):
    with pytest.raises(ValidationError, match="streamed request"):
        intents.http(request_mode="stream", **change)
