"""What an entry says of requests: where to, which headers, how long to wait, how lists go on, and what proves a credential."""

import re
from dataclasses import dataclass, field
from typing import Any, Final, cast

from interlock import sdk
from interlock.catalog.importing.given import Given
from interlock.catalog.importing.report import Refused
from interlock.catalog.importing.said import Said, as_text

_OURS: Final = frozenset({"accept", "content-type", "user-agent"})
"""Headers that requests say themselves, or that stay the same."""
_PATH: Final = re.compile(r"/[A-Za-z0-9\-._~:/@!$&'()*+,;=%]*(\?[A-Za-z0-9\-._~:/?@!$&'()*+,;=%\[\]]+)?")
_DOTTED: Final = re.compile(r"[^./~]+(\.[^./~]+)*")
_STATUS: Final = re.compile(r"[1-5](\d\d|xx)")


@dataclass(slots=True)
class Facts:
    """How requests are shaped, as plain data."""

    apply: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    headers: dict[str, str] = field(default_factory=dict[str, str])
    errors: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    paging: dict[str, Any] | None = None


def base_url(proxy: Said, given: Given) -> str:
    """Where the service is. Raises Refused."""
    said = proxy.text("base_url")
    if not said:
        raise Refused("base_url: the entry does not say where the service is")
    return given.address(said, "base_url")


def facts(proxy: Said, given: Given, *, default: str | None) -> Facts:
    """`default` is the header Authorization of the entry's mode, if requests say no other. Raises Refused."""
    found = Facts()
    if proxy.has("body"):
        raise Refused("body: requests are to hold the credential in their bodies")
    said = {name.lower(): text for name, text in proxy.texts("headers").items()}
    if (
        default is not None
        and "authorization" not in said
        and not any("${accessToken}" in each for each in said.values())
    ):
        said["authorization"] = default
    for name, text in said.items():
        _header(name, text, given, found)
    for name, text in proxy.texts("query").items():
        if given.constant(text) is not None:
            given.lack(f"query: the fixed parameter {name}")
        else:
            found.apply.append({"place": "query", "name": name, "template": given.shown(text, name)})
    _retry(Said(proxy.any("retry") or {}, "proxy.retry"), given, found)
    found.paging = _paging(Said(proxy.any("paginate") or {}, "proxy.paginate"), given)
    proxy.drop("decompress", "connection_config", "forward_headers_on_redirect")
    return found


def _header(name: str, text: str, given: Given, found: Facts) -> None:
    fixed = given.constant(text)
    if fixed is None and name in _OURS:
        given.lack(f"headers: {name} is what all requests say")
        return
    if fixed is None:
        found.apply.append({"place": "header", "name": _written(name), "template": given.shown(text, name)})
    elif name in sdk.FORBIDDEN_HEADERS:
        given.lack(f"headers: {name} is not ours to say")
    elif fixed and (name, fixed) != ("content-type", "application/json"):
        found.headers[name] = fixed


def _written(name: str) -> str:
    return "Authorization" if name == "authorization" else name


def _retry(said: Said, given: Given, found: Facts) -> None:
    """How long to wait: `after` are headers with seconds or a date, `at` such with a moment."""
    after, at = (_first(said, name, given) for name in ("after", "at"))
    wait = {name: value for name, value in (("header", after), ("reset_header", at)) if value is not None}
    remaining, codes = (
        said.text("remaining"),
        [as_text(each, "proxy.retry.error_code") for each in said.items("error_code")],
    )
    for key in said.left:
        given.lack(f"retry: {key} is not taken over")
    if not wait:
        return
    found.errors.append({"status": "429", "code": "rate_limited", "retry_after": wait})
    for code in codes:
        if code == "429" or code.startswith("5"):
            continue
        if remaining and _STATUS.fullmatch(code):
            rule = {
                "status": code,
                "when": {"header": remaining, "equals": "0"},
                "code": "rate_limited",
                "retry_after": wait,
            }
            found.errors.append(rule)
        else:
            given.lack(f"retry: what {code} means")


def _first(said: Said, name: str, given: Given) -> str | None:
    value = said.any(name)
    listed = cast("list[Any]", value) if isinstance(value, list) else [] if value is None else [value]
    if len(listed) > 1:
        given.lack(f"retry: only the first header of `{name}`")
    return as_text(listed[0], f"proxy.retry.{name}") if listed else None


def _paging(said: Said, given: Given) -> dict[str, Any] | None:
    style = said.text("type")
    if not style:
        return None
    made: dict[str, Any] = {"style": style}
    for theirs, ours in (
        ("response_path", "items"),
        ("link_path_in_response_body", "link"),
        ("cursor_path_in_response", "cursor"),
    ):
        if path := said.text(theirs):
            made[ours] = pointer(path)
    for theirs, ours in (
        ("cursor_name_in_request", "cursor_name"),
        ("offset_name_in_request", "offset_name"),
        ("limit_name_in_request", "limit_name"),
    ):
        if name := said.text(theirs):
            made[ours] = name
    if style == "offset":
        made |= _counted(said, given)
    if said.text("link_rel_in_response_header", "next") != "next":
        given.lack("paginate: another relation than the next")
    for key in said.left:
        given.lack(f"paginate: {key} is not taken over")
    return made


def _counted(said: Said, given: Given) -> dict[str, Any]:
    """Where an offset begins, and what it counts."""
    made: dict[str, Any] = {}
    start, counts = said.text("offset_start_value", "0"), said.text("offset_calculation_method", "by-response-size")
    if start.isdecimal() and len(start) < 7:
        made["offset_start"] = int(start)
    else:
        given.lack("paginate: the offset begins with no number")
    if counts == "per-page":
        made["offset_counts"] = "pages"
    elif counts != "by-response-size":
        given.lack("paginate: what an offset counts is not known")
    return {name: value for name, value in made.items() if value}


def pointer(path: str) -> str:
    """`a.b` as a pointer. Raises Refused for what is no such path."""
    if not _DOTTED.fullmatch(path):
        raise Refused(f"path: {path[:60]!r} is no plain path")
    return "/" + path.replace(".", "/")


def probe(proxy: Said, given: Given) -> dict[str, str] | None:
    """What is asked to prove a credential: the first address that is plainly read."""
    said = Said(proxy.any("verification") or {}, "proxy.verification")
    method, paths = said.text("method", "GET"), said.items("endpoints")
    headers = said.texts("headers")
    if not paths:
        if method != "GET" or said.left:
            given.lack("verification: it asks for more than a read")
        return None
    path = as_text(paths[0], "proxy.verification.endpoints")
    path = path if path.startswith("/") else f"/{path}"
    plain = method == "GET" and not said.left and set(headers) <= {"content-type", "accept"} and _PATH.fullmatch(path)
    if not plain:
        given.lack("verification: it asks for more than a plain read")
        return None
    return {"path": path if "?" in path else path.rstrip("/") or "/"}
