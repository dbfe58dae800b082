"""How authors write a connector in Python. Every function returns the plain data that a manifest file would hold, so
that there is one way to a manifest, and every problem of a connector is reported at once when it is made."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, TypedDict, Unpack

from pydantic import BaseModel

from interlock.kernel import JSON
from interlock.sdk.assemble import assemble
from interlock.sdk.drafts import Draft, given, reference
from interlock.sdk.manifest import CONTRACT, Effect, Idempotency, Manifest, RuntimeClass
from interlock.sdk.schemas import schema_of
from interlock.sdk.terms import Schema


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


class Keywords(TypedDict, total=False):
    """What every operation may say (`Operation` tells what it means). `about` is the description; without it the
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
    """An operation that is one HTTP request (`HttpOperation` tells what the keywords mean).

    What the method usually means is taken for granted: GET reads, POST creates (again when repeated), PUT and PATCH
    update and DELETE deletes (repeating changes nothing more). Say otherwise by `effect` and `idempotency`, and of a POST
    that only reads, such as a search, by `effect="read"` and `safe=True`.
    """
    http = given(
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
    return _operation(operation_id, input, output, {**_USUAL.get(method, {}), "http": http, **operation})


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
    return _operation(operation_id, input, output, {"handler": reference(function), **operation})


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
    """An operation that is a command (`CommandOperation` tells what the keywords mean; `stdout` is its `output`).
    Unless `effect` says otherwise it executes, and happens again when repeated."""
    spoken = given(
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
    """An operation that is a small program, which asks for other capabilities (`ScriptOperation` tells what the
    keywords mean). Unless `effect` says otherwise it executes, and happens again when repeated."""
    written = given(
        source=source,
        actions=actions,
        run_ms=run_ms,
        memory_bytes=memory_bytes,
        output_bytes=output_bytes,
        max_actions=max_actions,
    )
    return _operation(operation_id, input, output, {"effect": Effect.EXECUTE, "script": written, **operation})


def _operation(operation_id: str, input: Shape, output: Shape, rest: Mapping[str, Any]) -> Draft:  # noqa: A002
    said = dict(rest)
    return {
        "operation_id": operation_id,
        "display_name": _words(operation_id),
        "description": said.pop("about", None) or _first_line(input) or _words(operation_id),
        "input_schema": _schema(input),
        "output_schema": _schema(output),
        **said,
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
    """Declare what a connector reports (`Trigger` tells what the keywords mean)."""
    return given(
        trigger_id=trigger_id,
        display_name=_words(trigger_id),
        description=about,
        delivery=delivery,
        signal_schema=_schema(signal),
        config_schema=None if config is None else _schema(config),
        **rest,
    )


def _words(dotted: str) -> str:
    return dotted.replace(".", " ").replace("_", " ").capitalize()


def _schema(shape: Shape) -> Schema:
    return schema_of(shape) if isinstance(shape, type) else shape


def _first_line(shape: Shape) -> str | None:
    text = shape.__doc__ if isinstance(shape, type) else shape.get("description")
    return text.strip().partition("\n")[0] if isinstance(text, str) and text.strip() else None
