"""Tokens that are asked for in steps: a request with what was given, and perhaps further ones with what it answered."""

import re
from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import parse_qsl

from interlock.catalog.importing import texts
from interlock.catalog.importing.given import Given
from interlock.catalog.importing.report import Refused
from interlock.catalog.importing.said import Said, as_text, our_name

_STEP: Final = re.compile(r"step([1-5])\.(.+)")
_CONTENT: Final = {"form": "application/x-www-form-urlencoded", "json": "application/json"}
_MOST_NESTED: Final = 5


def two_step(said: Said, given: Given) -> dict[str, Any]:
    """The steps as an exchange. Raises Refused."""
    for key in ("signature", "token", "assertion", "assertion_option", "token_response_headers", "integration_config"):
        if said.has(key):
            raise Refused(f"{key}: assertions and values of the integration's own are not made")
    body = said.text("body_format", "json")
    if body not in ("form", "json", "query"):
        raise Refused(f"body_format: {body[:20]} is not spoken")
    extra: dict[str, str] = {}
    step = _step(said, given, body)
    steps = [
        step,
        *(_further(each, number, given, extra, body) for number, each in enumerate(said.items("additional_steps"), 2)),
    ]
    if extra and len(steps) > 1:
        step["answer"] = {**step.get("answer", {}), "extra": dict(extra)}
    said_answer = said.any("token_response")
    steps[-1]["answer"] = {**steps[-1].get("answer", {}), **_answer(Said(said_answer or {}, "token_response"), given)}
    if (lifetime := said.text("token_expires_in_ms", "0")) not in ("", "0"):
        steps[-1]["answer"]["lifetime_seconds"] = seconds(lifetime)
    for key in ("refresh_token_params", "refresh_token_headers", "refresh_url", "refresh_token_response_metadata"):
        if said.any(key) is not None:
            given.lack(f"{key}: tokens are asked for anew instead")
    for each in said.items("token_response_metadata"):
        given.lack(f"token_response_metadata: {as_text(each, 'token_response_metadata')[:60]} is not kept")
    said.drop("token_expiration_buffer", "refresh_params", "token_params")
    return {"type": "exchange", "steps": steps}


def _step(said: Said, given: Given, body: str) -> dict[str, Any]:
    url, _, query = said.text("token_url").partition("?")
    params = flat(said.mapping("token_params"), "token_params", pointers=body == "json")
    method = said.text("token_request_method", "POST").upper()
    if query:
        if (params and method != "GET") or "||" in query:
            raise Refused("token_url: an address for tokens with a query, beside other parameters")
        params, body = {**dict(parse_qsl(query, keep_blank_values=True)), **params}, "query"
    made: dict[str, Any] = {
        "url": given.address(url, "token_url"),
        "method": method,
        "body_format": body,
        "client_auth": "none",
        "params": {name: given.template(text, name.rpartition("/")[2]) for name, text in params.items() if text},
    }
    made["params"].setdefault("client_id", None)
    for name in [name for name, text in params.items() if not text]:
        given.lack(f"token_params: {name} is empty, and left out")
    if made["method"] == "GET":
        made["body_format"] = "query" if params else "none"
    made["headers"] = _headers(said, given, body)
    return made


def _headers(said: Said, given: Given, body: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, text in said.texts("token_headers").items():
        if name.lower() == "content-type":
            if text.partition(";")[0].strip() != _CONTENT.get(body, text):
                given.lack("token_headers: a content type that is not that of the body")
        elif name.lower() != "accept" or text != "application/json":
            found["Authorization" if name.lower() == "authorization" else name] = given.template(text, name)
    return found


def _further(raw: object, number: int, given: Given, extra: dict[str, str], body: str) -> dict[str, Any]:
    """A later step, which knows what the first one answered."""
    said = Said(raw, f"additional_steps[{number - 2}]")
    wanted = {name for text in _all_texts(raw) for name in texts.names(texts.parse(text))}
    for reference in sorted(wanted):
        if (match := _STEP.fullmatch(reference)) is None:
            continue
        if match[1] != "1":
            raise Refused("additional_steps: what later steps answered")
        name = our_name(match[2])
        if name != "access_token":
            name = f"step_{name}"[:40]
            extra[name] = "/" + match[2].replace(".", "/")
        given.grant(reference, f"step1.{name}")
    step = _step(said, given, said.text("body_format", body))
    for key in said.left:
        given.lack(f"additional_steps: {key} is not taken over")
    return step


def _all_texts(value: object, depth: int = 0) -> list[str]:
    if depth > _MOST_NESTED:
        raise Refused("additional_steps: it is nested too deep")
    if isinstance(value, dict):
        return [text for each in cast("dict[str, object]", value).values() for text in _all_texts(each, depth + 1)]
    if isinstance(value, list):
        return [text for each in cast("list[object]", value) for text in _all_texts(each, depth + 1)]
    return [value] if isinstance(value, str) else []


def _answer(said: Said, given: Given) -> dict[str, Any]:
    """Where the tokens are."""
    token = said.text("token")
    if not token:
        raise Refused("token_response: the answer itself is the token")
    answer: dict[str, Any] = {"access_token": _pointer(token)}
    if said.text("refresh_token"):
        given.lack("token_response: tokens are asked for anew, not refreshed")
    expires, strategy = said.text("token_expiration"), said.text("token_expiration_strategy", "expireAt")
    if expires and strategy == "expireIn":
        answer["expires_in"] = _pointer(expires)
    elif expires:
        answer |= {"expires_in": None, "expires_at": _pointer(expires)}
    for key in said.left:
        given.lack(f"token_response: {key} is not taken over")
    return answer


def _pointer(path: str) -> str:
    if not re.fullmatch(r"[^./~]+(\.[^./~]+)*", path):
        raise Refused(f"token_response: {path[:60]!r} is no plain path")
    return "/" + path.replace(".", "/")


def flat(params: Mapping[str, Any], what: str, *, pointers: bool = False, depth: int = 0) -> dict[str, str]:
    """Parameters as texts; those within others by pointers, where the body can hold them. Raises Refused."""
    found: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, dict):
            if not pointers or depth >= _MOST_NESTED:
                raise Refused(f"{what}: {name[:40]} holds others")
            inner = flat(cast("dict[str, Any]", value), what, pointers=True, depth=depth + 1)
            found |= {f"/{name}{key if key.startswith('/') else f'/{key}'}": text for key, text in inner.items()}
        else:
            found[name] = as_text(value, f"{what}.{name}")
    return found


def seconds(milliseconds: str) -> int:
    """A lifetime. Raises Refused for what is no number of them."""
    if not re.fullmatch(r"[0-9]{1,13}", milliseconds):
        raise Refused("token_expires_in_ms: a number is expected")
    return min(max(1, int(milliseconds) // 1000), 31_622_400)
