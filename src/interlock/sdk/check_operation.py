"""The invariants of one operation: its request, pages, error rules, and how it is reconciled."""

import functools
from collections.abc import Iterator, Sequence
from typing import Final

from interlock.sdk import template
from interlock.sdk.check_command import command_problems, script_problems
from interlock.sdk.check_schema import header_problems, pointer_problems, schema_problems
from interlock.sdk.errors import Problem
from interlock.sdk.kinds import HttpOperation
from interlock.sdk.manifest import Effect, Idempotency, Operation, RuntimeClass, SchemaPolicy, Surface, Trigger
from interlock.sdk.partial import where_known
from interlock.sdk.requests import properties
from interlock.sdk.rules import ErrorRule, Pagination, Reconcile
from interlock.sdk.wire import check_path

_MOST_PAGES: Final = 100


def operation_problems(path: str, operation: Operation) -> Iterator[Problem]:
    """What contradicts itself within one operation."""
    inputs, outputs = f"{path}.input_schema", f"{path}.output_schema"
    yield from where_known(
        lambda: _form_problems(path, operation),
        lambda: surface_problems(f"{path}.surface", operation),
        lambda: _policy_problems(f"{path}.schemas", operation.schemas, operation.surface),
        lambda: schema_problems(inputs, operation.input_schema, operation.schemas.input, closed=True),
        lambda: schema_problems(outputs, operation.output_schema, operation.schemas.output, closed=False),
        lambda: _idempotency_problems(path, operation),
        lambda: rule_problems(f"{path}.errors", operation.errors),
        lambda: _http_problems(f"{path}.http", operation),
        lambda: command_problems(f"{path}.command", operation),
        lambda: script_problems(f"{path}.script", operation),
        lambda: _pagination_problems(f"{path}.pagination", operation),
        lambda: _reconcile_problems(f"{path}.reconcile", operation),
    )


def _form_problems(path: str, operation: Operation) -> Iterator[Problem]:
    forms = (operation.http, operation.handler, operation.command, operation.script)
    if sum(form is not None for form in forms) != 1:
        yield Problem(path=path, problem="exactly one of http, handler, command and script is needed")


def surface_problems(path: str, part: Operation | Trigger) -> Iterator[Problem]:
    """A common surface has both names and no reason; a local one has a reason and no names."""
    surface = part.surface
    names = (surface.normalized_id, surface.action_name)
    if surface.mode == "common" and (None in names or surface.reason is not None):
        yield Problem(path=path, problem="a common surface has normalized_id and action_name, and no reason")
    if surface.mode == "local" and (names != (None, None) or surface.reason is None):
        yield Problem(path=path, problem="a local surface has a reason, and no normalized_id or action_name")


def rule_problems(path: str, rules: Sequence[ErrorRule]) -> Iterator[Problem]:
    """Whether error rules look at places that there can be."""
    for index, rule in enumerate(rules):
        yield from where_known(functools.partial(_condition_problems, f"{path}[{index}].when", rule))


def _condition_problems(path: str, rule: ErrorRule) -> Iterator[Problem]:
    if rule.when is not None and rule.when.pointer is not None:
        yield from pointer_problems(f"{path}.pointer", rule.when.pointer)


def _policy_problems(path: str, policy: SchemaPolicy, surface: Surface) -> Iterator[Problem]:
    passes = "passthrough" in (policy.input, policy.output)
    if passes and policy.justification is None:
        yield Problem(path=f"{path}.justification", problem="passthrough needs a justification")
    if passes and surface.mode == "common":
        yield Problem(path=path, problem="a common operation cannot be passthrough")


def _idempotency_problems(path: str, operation: Operation) -> Iterator[Problem]:
    if operation.effect is Effect.READ and operation.idempotency is not Idempotency.NATURAL:
        yield Problem(path=f"{path}.idempotency", problem="a read is natural: reading again changes nothing")
    header = operation.idempotency_header
    if (operation.idempotency is Idempotency.KEY) != (header is not None):
        yield Problem(path=f"{path}.idempotency_header", problem="it goes with idempotency `key`, and only with it")
    if header is not None:
        yield from header_problems(f"{path}.idempotency_header", {header: ""})


def _http_problems(path: str, operation: Operation) -> Iterator[Problem]:
    http = operation.http
    if http is None:
        return
    yield from where_known(
        lambda: _method_problems(path, operation, http),
        lambda: _body_problems(path, http),
        lambda: _success_problems(path, http),
        lambda: path_problems(f"{path}.path", http.path, operation),
        lambda: _field_problems(path, operation, http),
        lambda: header_problems(f"{path}.headers", http.headers),
    )
    if operation.runtime_class is not RuntimeClass.DIRECT:
        yield Problem(path=path, problem=f"an HTTP operation is direct, not {operation.runtime_class}")


def _method_problems(path: str, operation: Operation, http: HttpOperation) -> Iterator[Problem]:
    if http.method == "GET" and operation.effect is not Effect.READ:
        yield Problem(path=f"{path}.method", problem=f"a GET reads; the effect is {operation.effect}")
    if operation.effect is Effect.READ and operation.may_write(http.method):
        only = "say `safe` if it only reads" if http.method == "POST" else None
        yield Problem(path=f"{path}.method", problem=f"a {http.method} writes; the effect is read", suggestion=only)
    if http.method == "HEAD":
        yield Problem(
            path=f"{path}.method", problem="the answer to a HEAD has no output; `interlock proxy` asks for one"
        )
    if http.safe and (http.method != "POST" or operation.effect is not Effect.READ):
        yield Problem(path=f"{path}.safe", problem="only a POST whose effect is read says it")


def _body_problems(path: str, http: HttpOperation) -> Iterator[Problem]:
    if http.method == "GET" and (http.body or http.constants):
        yield Problem(path=f"{path}.body", problem="a GET has no body")
    if http.conditional and http.method != "GET":
        yield Problem(path=f"{path}.conditional", problem="only a GET can be conditional")


def _success_problems(path: str, http: HttpOperation) -> Iterator[Problem]:
    if any(not 200 <= status < 300 for status in http.success):
        yield Problem(path=f"{path}.success", problem="success is 2xx")
    if http.proxied:
        yield Problem(path=f"{path}.proxied", problem="every connector has its proxies by itself")


def _field_problems(path: str, operation: Operation, http: HttpOperation) -> Iterator[Problem]:
    fields = properties(operation.input_schema)
    placed = (("query", http.query), ("body", http.body), ("encode", http.encode), ("local", http.local))
    for name, field in ((name, field) for name, names in placed for field in names):
        if field not in fields:
            yield Problem(path=f"{path}.{name}.{field}", problem="the input has no such field")
    for name in (*http.body.values(), *http.constants):
        if name.startswith("/"):
            yield from pointer_problems(f"{path}.body", name)


def path_problems(path: str, text: str, operation: Operation) -> Iterator[Problem]:
    """Whether a path template is a path, and every `{field}` in it a field that the input always has."""
    fields = properties(operation.input_schema)
    required = operation.input_schema.get("required", ())
    plain = text
    for hole in template.holes(text):
        plain = plain.replace(f"{{{hole}}}", "x")
        if hole not in fields:
            yield Problem(path=path, problem=f"{{{hole}}} names no field of the input")
        elif hole not in required and "default" not in fields[hole]:
            yield Problem(path=path, problem=f"the field {hole!r} stands in the path, so it must be required")
    try:
        if "{" in plain or "}" in plain:
            raise ValueError("there is a brace too many")
        check_path(plain)
    except ValueError as error:
        yield Problem(path=path, problem=str(error))


def _pagination_problems(path: str, operation: Operation) -> Iterator[Problem]:
    pagination = operation.pagination
    if pagination is None:
        return
    yield from where_known(
        lambda: _paged_problems(path, operation, pagination),
        lambda: pointer_problems(f"{path}.items", pagination.items),
        lambda: _cursor_problems(path, operation, pagination),
    )


def _paged_problems(path: str, operation: Operation, pagination: Pagination) -> Iterator[Problem]:
    if operation.effect is not Effect.READ or operation.http is None:
        yield Problem(path=path, problem="only a read over HTTP has pages")
    fields = properties(operation.input_schema)
    pages = fields.get(pagination.pages_field, {})
    limit = pages.get("maximum")
    if pages.get("type") != "integer" or not isinstance(limit, int) or not 1 <= limit <= _MOST_PAGES:
        yield Problem(
            path=f"{path}.pages_field",
            problem=f"the input needs an integer field {pagination.pages_field!r} with a maximum of 1 to {_MOST_PAGES}",
        )


def _cursor_problems(path: str, operation: Operation, pagination: Pagination) -> Iterator[Problem]:
    is_cursor = pagination.style == "cursor"
    if is_cursor != (pagination.cursor is not None) or is_cursor != (pagination.cursor_field is not None):
        yield Problem(path=path, problem="style cursor has cursor and cursor_field; style link has neither")
    if pagination.cursor is not None:
        yield from pointer_problems(f"{path}.cursor", pagination.cursor)
    if pagination.cursor_field is not None and pagination.cursor_field not in properties(operation.input_schema):
        yield Problem(path=f"{path}.cursor_field", problem="the input has no such field")


def _reconcile_problems(path: str, operation: Operation) -> Iterator[Problem]:
    reconcile = operation.reconcile
    if reconcile is None:
        return
    yield from where_known(
        lambda: _settled_problems(path, operation, reconcile),
        lambda: _proof_problems(path, reconcile),
        lambda: _list_problems(path, reconcile),
        lambda: () if reconcile.path is None else path_problems(f"{path}.path", reconcile.path, operation),
        lambda: _template_problems(path, operation, reconcile),
        lambda: _output_problems(path, operation, reconcile),
        lambda: _place_problems(path, reconcile),
    )


def _settled_problems(path: str, operation: Operation, reconcile: Reconcile) -> Iterator[Problem]:
    if (reconcile.path is None) == (reconcile.function is None):
        yield Problem(path=path, problem="exactly one of path and function is needed")
    if operation.effect is Effect.READ:
        yield Problem(path=path, problem="a read has nothing to reconcile")


def _proof_problems(path: str, reconcile: Reconcile) -> Iterator[Problem]:
    if reconcile.path is None:
        return  # a function's own matter
    if not reconcile.match and not reconcile.absent_status:
        yield Problem(path=f"{path}.match", problem="nothing says what proves the effect or its absence")
    if reconcile.gone and not reconcile.absent_status and reconcile.items is None:
        yield Problem(path=f"{path}.gone", problem="nothing says what absence looks like", suggestion="absent_status")


def _list_problems(path: str, reconcile: Reconcile) -> Iterator[Problem]:
    if reconcile.newest_first and reconcile.since is None:
        yield Problem(path=f"{path}.newest_first", problem="it needs since")
    if reconcile.items is None and (reconcile.since is not None or reconcile.newest_first):
        yield Problem(path=f"{path}.since", problem="it belongs to a list", suggestion="give items")


def _template_problems(path: str, operation: Operation, reconcile: Reconcile) -> Iterator[Problem]:
    fields = properties(operation.input_schema)
    templates = [(f"{path}.query.{name}", value) for name, value in reconcile.query.items()]
    templates += [(f"{path}.match[{place}]", match.value) for place, match in reconcile.match.items()]
    for place, value in templates:
        if (problem := template.problem_with(value, fields)) is not None:
            yield Problem(path=place, problem=problem)


def _output_problems(path: str, operation: Operation, reconcile: Reconcile) -> Iterator[Problem]:
    for name in reconcile.output:
        if name not in properties(operation.output_schema):
            yield Problem(path=f"{path}.output.{name}", problem="the output has no such field")


def _place_problems(path: str, reconcile: Reconcile) -> Iterator[Problem]:
    single = (("items", reconcile.items), ("since", reconcile.since))
    pointers = [(name, value) for name, value in single if value is not None]
    pointers += [("match", place) for place in reconcile.match]
    pointers += [(f"output.{name}", place) for name, place in reconcile.output.items()]
    for name, value in pointers:
        yield from pointer_problems(f"{path}.{name}", value)
