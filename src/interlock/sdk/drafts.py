"""The parts of a declaration, as plain data: how to connect, what errors mean, how lists go on, how a write is settled."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from interlock.kernel import JSON

Draft: TypeAlias = dict[str, Any]
"""A part of a manifest as plain data."""


def probe(
    path: str, *, subject: str | None = None, scopes_header: str | None = None, expires_header: str | None = None
) -> Draft:
    """How to ask who a credential is: a GET, the pointer to the account's name, the headers with the granted scopes and with
    the credential's end."""
    return given(path=path, subject=subject, scopes_header=scopes_header, expires_header=expires_header)


def confined(**confinement: Any) -> Draft:
    """What a command may touch (`Confinement` tells what the keywords mean)."""
    return confinement


def secret(field: str, *, env: str | None = None, fd: int | None = None) -> Draft:
    """How a command is handed the connection's secret."""
    return given(field=field, env=env, fd=fd)


def common(normalized_id: str, action_name: str) -> Draft:
    """The surface of an operation that other connectors have alike."""
    return {"mode": "common", "normalized_id": normalized_id, "action_name": action_name}


def local(reason: str) -> Draft:
    """The surface of an operation that only this connector has, and why."""
    return {"mode": "local", "reason": reason}


def error(
    status: int | str,
    code: str,
    *,
    when: Draft | None = None,
    retry: str | None = None,
    retry_after: Draft | None = None,
    effect: Literal["none", "unknown"] | None = None,
) -> Draft:
    """What an answer with this status (`404`, `"5xx"`) means; `code` is the code of one of the SDK's failures."""
    return given(status=str(status), code=code, when=when, retry=retry, retry_after=retry_after, effect=effect)


def when(
    *, header: str | None = None, equals: str | None = None, pointer: str | None = None, contains: str | None = None
) -> Draft:
    """What else must hold for an error rule: a header is there (or equals), a place or the whole body contains."""
    return given(header=header, equals=equals, pointer=pointer, contains=contains)


def polling(
    *, default_seconds: float, min_seconds: float, jitter: float | None = None, listing: Draft | None = None
) -> Draft:
    """How often a poll trigger asks, and what (`Polling` and `Listing` tell what the keywords mean)."""
    return given(default_seconds=default_seconds, min_seconds=min_seconds, jitter=jitter, listing=listing)


def wait(*, header: str | None = None, reset_header: str | None = None, seconds: float | None = None) -> Draft:
    """Where the service says how long to wait: seconds in a header, a moment (since 1970) in a header, a constant."""
    return given(header=header, reset_header=reset_header, seconds=seconds)


def link_pages(*, items: str = "", pages_field: str | None = None) -> Draft:
    """Pages by the Link header; `items` points at the list in the answer ("" = the answer is the list)."""
    return given(style="link", items=items, pages_field=pages_field)


def cursor_pages(*, items: str, cursor: str, cursor_field: str, pages_field: str | None = None) -> Draft:
    """Pages by a cursor: a pointer into the answer, and the input field that it goes into."""
    return given(style="cursor", items=items, cursor=cursor, cursor_field=cursor_field, pages_field=pages_field)


def find(path: str, **reconcile: Any) -> Draft:
    """How an unknown write is settled by reading (`Reconcile` tells what the keywords mean)."""
    return {"path": path, **reconcile}


def same(value: JSON, *, op: Literal["eq", "set", "subset", "contains"] = "eq", optional: bool = False) -> Draft:
    """One comparison within `find(match={...})` that is more than equality."""
    return {"value": value, "op": op, "optional": optional}


def settle_by(function: Callable[..., object] | str) -> Draft:
    """Settle an unknown write by a Python generator, `def settle(operation, input, facts)`."""
    return {"function": reference(function)}


def given(**members: object) -> Draft:
    """The members that were said."""
    return {name: value for name, value in members.items() if value is not None}


def reference(function: Callable[..., object] | str) -> str:
    """How a manifest names a function: `module:name`."""
    return function if isinstance(function, str) else f"{function.__module__}:{function.__qualname__}"
