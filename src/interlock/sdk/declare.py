"""How authors write a connector in Python. Every function returns the plain data that a manifest file would hold, so
that there is one way to a manifest, and every problem of a connector is reported at once when it is made."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, TypedDict, Unpack

from pydantic import BaseModel

from interlock.kernel import JSON
from interlock.sdk.assemble import assemble
from interlock.sdk.manifest import CONTRACT, Effect, Idempotency, Manifest, RuntimeClass, Schema
from interlock.sdk.schemas import schema_of

Draft: TypeAlias = dict[str, Any]
"""A part of a manifest as plain data."""


class Connector:
    """A connector, declared. `manifest` is what counts; this is what an entry point names.

    Raises InvalidManifest, listing all problems.
    """

    def __init__(
        self,
        connector_id: str,
        *,
        version: str,
        description: str,
        base_url: str,
        auth: Sequence[Draft],
        operations: Sequence[Draft] = (),
        triggers: Sequence[Draft] = (),
        errors: Sequence[Draft] = (),
        display_name: str | None = None,
        **catalogue: JSON,
    ) -> None:
        """`errors` count for every operation, after its own. `catalogue`: category, tags, docs_url, maturity, publication."""
        raw: Draft = {
            "contract": CONTRACT,
            "connector_id": connector_id,
            "version": version,
            "display_name": display_name or _words(connector_id),
            "description": description,
            "auth": [{"base_url": base_url, **profile} for profile in auth],
            "operations": list(operations),
            "triggers": list(triggers),
            "errors": list(errors),
            **catalogue,
        }
        self.manifest: Manifest = assemble(raw, source=f"the Python declaration of {connector_id!r}")

    def __repr__(self) -> str:
        return f"Connector({self.manifest.connector_id!r}, {self.manifest.version!r})"


def token_profile(
    profile_id: str = "token",
    *,
    header: str = "Authorization",
    template: str = "Bearer {token}",
    secret_fields: Sequence[str] = ("token",),
    scopes: Sequence[str] = (),
    probe: Draft | None = None,
    base_url: str | None = None,
) -> Draft:
    """Connecting by a secret that a person enters. `scopes` are those it may be granted."""
    return _given(
        profile_id=profile_id,
        type="token",
        base_url=base_url,
        secret_fields=list(secret_fields),
        header=header,
        template=template,
        scopes_offered=list(scopes),
        probe=probe,
    )


def no_auth(profile_id: str = "none") -> Draft:
    """A service that asks for no credential."""
    return {"profile_id": profile_id, "type": "none"}


def probe(path: str, *, subject: str, scopes_header: str | None = None) -> Draft:
    """How to ask who a credential is: a GET, the pointer to the account's name, the header with granted scopes."""
    return _given(path=path, subject=subject, scopes_header=scopes_header)


class Keywords(TypedDict, total=False):
    """What every operation may say (`manifest.Operation` tells what it means). `about` is the description; without it the
    input class's docstring is."""

    about: str
    display_name: str
    effect: Effect | str
    runtime_class: RuntimeClass | str
    scopes: Sequence[str]
    surface: Draft
    schemas: Draft
    idempotency: Idempotency | str
    idempotency_header: str
    reconcile: Draft
    errors: Sequence[Draft]
    pagination: Draft
    sandbox: Literal["none", "standard", "strict"]
    settle_seconds: float
    timeout_seconds: float
    max_response_bytes: int


Shape: TypeAlias = type[BaseModel] | Schema
"""A schema as a Python class, or as it is."""

_USUAL: Final[Mapping[str, Draft]] = {
    "GET": {"effect": Effect.READ},
    "POST": {"effect": Effect.CREATE},
    "PUT": {"effect": Effect.UPDATE, "idempotency": Idempotency.NATURAL},
    "PATCH": {"effect": Effect.UPDATE, "idempotency": Idempotency.NATURAL},
    "DELETE": {"effect": Effect.DELETE, "idempotency": Idempotency.NATURAL},
}


def request(
    operation_id: str,
    path: str,
    *,
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"],
    input: Shape,  # noqa: A002
    output: Shape,
    query: Mapping[str, str] | None = None,
    body: Mapping[str, str] | None = None,
    constants: Mapping[str, JSON] | None = None,
    encode: Mapping[str, str] | None = None,
    local: Sequence[str] | None = None,
    headers: Mapping[str, str] | None = None,
    success: Sequence[int] | None = None,
    conditional: bool | None = None,
    safe: bool | None = None,
    **operation: Unpack[Keywords],
) -> Draft:
    """An operation that is one HTTP request (`manifest.HttpOperation` tells what the keywords mean).

    What the method usually means is taken for granted: GET reads, POST creates (again when repeated), PUT and PATCH
    update and DELETE deletes (repeating changes nothing more). Say otherwise by `effect` and `idempotency`, and of a POST
    that only reads, such as a search, by `effect="read"` and `safe=True`.
    """
    http = _given(
        method=method,
        path=path,
        query=query,
        body=body,
        constants=constants,
        encode=encode,
        local=local,
        headers=headers,
        success=success,
        conditional=conditional,
        safe=safe,
    )
    return _operation(operation_id, input, output, {**_USUAL[method], "http": http, **operation})


get = functools.partial(request, method="GET")
post = functools.partial(request, method="POST")
put = functools.partial(request, method="PUT")
patch = functools.partial(request, method="PATCH")
delete = functools.partial(request, method="DELETE")


def handler(
    operation_id: str,
    function: Callable[..., object] | str,
    *,
    input: Shape,  # noqa: A002
    output: Shape,
    **operation: Unpack[Keywords],
) -> Draft:
    """An operation that Python carries out, for what data cannot say: `async def fetch(input, http) -> JSON`, at the top
    of a module, so that it can be named and run elsewhere."""
    return _operation(operation_id, input, output, {"handler": _reference(function), **operation})


def command(
    operation_id: str,
    argv: Sequence[str],
    *,
    input: Shape,  # noqa: A002
    output: Shape,
    env: Mapping[str, str] | None = None,
    secrets: Sequence[Draft] | None = None,
    stdin: str | None = None,
    cwd: str | None = None,
    stdout: Literal["text", "json"] | None = None,
    refusals: Mapping[int, str] | None = None,
    targets: Sequence[str] | None = None,
    confinement: Draft | None = None,
    **operation: Unpack[Keywords],
) -> Draft:
    """An operation that is a command (`manifest.CommandOperation` tells what the keywords mean; `stdout` is its `output`).
    Unless `effect` says otherwise it executes, and happens again when repeated."""
    spoken = _given(
        argv=list(argv),
        env=env,
        secrets=secrets,
        stdin=stdin,
        cwd=cwd,
        output=stdout,
        refusals=None if refusals is None else {str(code): meaning for code, meaning in refusals.items()},
        targets=targets,
        confinement=confinement,
    )
    return _operation(operation_id, input, output, {"effect": Effect.EXECUTE, "command": spoken, **operation})


def confined(**confinement: Any) -> Draft:
    """What a command may touch (`manifest.Confinement` tells what the keywords mean)."""
    return confinement


def secret(field: str, *, env: str | None = None, fd: int | None = None) -> Draft:
    """How a command is handed the connection's secret."""
    return _given(field=field, env=env, fd=fd)


def script(
    operation_id: str,
    source: str,
    *,
    input: Shape,  # noqa: A002
    output: Shape,
    actions: Mapping[str, str] | None = None,
    run_ms: int | None = None,
    memory_bytes: int | None = None,
    output_bytes: int | None = None,
    max_actions: int | None = None,
    **operation: Unpack[Keywords],
) -> Draft:
    """An operation that is a small program, which asks for other capabilities (`manifest.ScriptOperation` tells what the
    keywords mean). Unless `effect` says otherwise it executes, and happens again when repeated."""
    written = _given(
        source=source,
        actions=actions,
        run_ms=run_ms,
        memory_bytes=memory_bytes,
        output_bytes=output_bytes,
        max_actions=max_actions,
    )
    return _operation(operation_id, input, output, {"effect": Effect.EXECUTE, "script": written, **operation})


def _operation(operation_id: str, input: Shape, output: Shape, rest: Mapping[str, Any]) -> Draft:  # noqa: A002
    given = dict(rest)
    return {
        "operation_id": operation_id,
        "display_name": _words(operation_id),
        "description": given.pop("about", None) or _first_line(input) or _words(operation_id),
        "input_schema": _schema(input),
        "output_schema": _schema(output),
        **given,
    }


def trigger(
    trigger_id: str,
    delivery: Literal["webhook", "poll"],
    *,
    signal: Shape,
    about: str,
    config: Shape | None = None,
    **rest: Any,
) -> Draft:
    """Declare what a connector reports (`manifest.Trigger` tells what the keywords mean)."""
    return _given(
        trigger_id=trigger_id,
        display_name=_words(trigger_id),
        description=about,
        delivery=delivery,
        signal_schema=_schema(signal),
        config_schema=None if config is None else _schema(config),
        **rest,
    )


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
    return _given(status=str(status), code=code, when=when, retry=retry, retry_after=retry_after, effect=effect)


def when(
    *, header: str | None = None, equals: str | None = None, pointer: str | None = None, contains: str | None = None
) -> Draft:
    """What else must hold for an error rule: a header is there (or equals), a place or the whole body contains."""
    return _given(header=header, equals=equals, pointer=pointer, contains=contains)


def wait(*, header: str | None = None, reset_header: str | None = None, seconds: float | None = None) -> Draft:
    """Where the service says how long to wait: seconds in a header, a moment (since 1970) in a header, a constant."""
    return _given(header=header, reset_header=reset_header, seconds=seconds)


def link_pages(*, items: str = "", pages_field: str | None = None) -> Draft:
    """Pages by the Link header; `items` points at the list in the answer ("" = the answer is the list)."""
    return _given(style="link", items=items, pages_field=pages_field)


def cursor_pages(*, items: str, cursor: str, cursor_field: str, pages_field: str | None = None) -> Draft:
    """Pages by a cursor: a pointer into the answer, and the input field that it goes into."""
    return _given(style="cursor", items=items, cursor=cursor, cursor_field=cursor_field, pages_field=pages_field)


def find(path: str, **reconcile: Any) -> Draft:
    """How an unknown write is settled by reading (`manifest.Reconcile` tells what the keywords mean)."""
    return {"path": path, **reconcile}


def same(value: JSON, *, op: Literal["eq", "set", "subset", "contains"] = "eq", optional: bool = False) -> Draft:
    """One comparison within `find(match={...})` that is more than equality."""
    return {"value": value, "op": op, "optional": optional}


def settle_by(function: Callable[..., object] | str) -> Draft:
    """Settle an unknown write by a Python generator, `def settle(operation, input, facts)`."""
    return {"function": _reference(function)}


def _given(**members: object) -> Draft:
    return {name: value for name, value in members.items() if value is not None}


def _words(dotted: str) -> str:
    return dotted.replace(".", " ").replace("_", " ").capitalize()


def _schema(shape: Shape) -> Schema:
    return schema_of(shape) if isinstance(shape, type) else shape


def _first_line(shape: Shape) -> str | None:
    text = shape.__doc__ if isinstance(shape, type) else shape.get("description")
    return text.strip().partition("\n")[0] if isinstance(text, str) and text.strip() else None


def _reference(function: Callable[..., object] | str) -> str:
    return function if isinstance(function, str) else f"{function.__module__}:{function.__qualname__}"
