"""The invariants of one operation: its request, pages, error rules, and how it is reconciled."""

from collections.abc import Iterator
from typing import Final

from interlock.sdk import template
from interlock.sdk.check_schema import header_problems, pointer_problems, schema_problems
from interlock.sdk.errors import Problem
from interlock.sdk.kinds import CommandOperation, Confinement, HttpOperation
from interlock.sdk.manifest import Effect, Idempotency, Operation, RuntimeClass, SchemaPolicy, Surface
from interlock.sdk.requests import properties
from interlock.sdk.rules import Pagination, Reconcile
from interlock.sdk.wire import check_path

_MOST_PAGES: Final = 100
_UNCONFINED: Final = "local-process"


def operation_problems(operation: Operation) -> Iterator[Problem]:
    """What contradicts itself within one operation."""
    path = f"operations[{operation.operation_id}]"
    forms = (operation.http, operation.handler, operation.command, operation.script)
    if sum(form is not None for form in forms) != 1:
        yield Problem(path=path, problem="exactly one of http, handler, command and script is needed")
    yield from surface_problems(f"{path}.surface", operation.surface)
    yield from _policy_problems(f"{path}.schemas", operation.schemas, operation.surface)
    yield from schema_problems(f"{path}.input_schema", operation.input_schema, operation.schemas.input, closed=True)
    yield from schema_problems(f"{path}.output_schema", operation.output_schema, operation.schemas.output, closed=False)
    yield from _idempotency_problems(path, operation)
    for index, rule in enumerate(operation.errors):
        if rule.when is not None and rule.when.pointer is not None:
            yield from pointer_problems(f"{path}.errors[{index}].when.pointer", rule.when.pointer)
    if operation.http is not None:
        yield from _http_problems(f"{path}.http", operation, operation.http)
    if operation.command is not None:
        yield from _local_problems(f"{path}.command", operation)
        yield from _command_problems(f"{path}.command", operation, operation.command)
        yield from _confinement_problems(f"{path}.command", operation, operation.command)
    if operation.script is not None:
        yield from _local_problems(f"{path}.script", operation)
    if operation.pagination is not None:
        yield from _pagination_problems(f"{path}.pagination", operation, operation.pagination)
    if operation.reconcile is not None:
        yield from _reconcile_problems(f"{path}.reconcile", operation, operation.reconcile)


def surface_problems(path: str, surface: Surface) -> Iterator[Problem]:
    """A common surface has both names and no reason; a local one has a reason and no names."""
    names = (surface.normalized_id, surface.action_name)
    if surface.mode == "common" and (None in names or surface.reason is not None):
        yield Problem(path=path, problem="a common surface has normalized_id and action_name, and no reason")
    if surface.mode == "local" and (names != (None, None) or surface.reason is None):
        yield Problem(path=path, problem="a local surface has a reason, and no normalized_id or action_name")


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


def _http_problems(path: str, operation: Operation, http: HttpOperation) -> Iterator[Problem]:
    if operation.runtime_class is not RuntimeClass.DIRECT:
        yield Problem(path=path, problem=f"an HTTP operation is direct, not {operation.runtime_class}")
    if http.method == "GET" and operation.effect is not Effect.READ:
        yield Problem(path=f"{path}.method", problem=f"a GET reads; the effect is {operation.effect}")
    if operation.effect is Effect.READ and operation.may_write(http.method):
        only = "say `safe` if it only reads" if http.method == "POST" else None
        yield Problem(path=f"{path}.method", problem=f"a {http.method} writes; the effect is read", suggestion=only)
    if http.safe and (http.method != "POST" or operation.effect is not Effect.READ):
        yield Problem(path=f"{path}.safe", problem="only a POST whose effect is read says it")
    if http.method == "GET" and (http.body or http.constants):
        yield Problem(path=f"{path}.body", problem="a GET has no body")
    if http.proxied:
        yield Problem(path=f"{path}.proxied", problem="every connector has its proxies by itself")
    if http.conditional and http.method != "GET":
        yield Problem(path=f"{path}.conditional", problem="only a GET can be conditional")
    if any(not 200 <= status < 300 for status in http.success):
        yield Problem(path=f"{path}.success", problem="success is 2xx")
    yield from path_problems(f"{path}.path", http.path, operation)
    yield from _field_problems(path, operation, http)
    yield from header_problems(f"{path}.headers", http.headers)


def _local_problems(path: str, operation: Operation) -> Iterator[Problem]:
    """What belongs to requests only."""
    if operation.runtime_class is not RuntimeClass.DIRECT:
        yield Problem(path=path, problem=f"it is direct, not {operation.runtime_class}")
    if operation.idempotency is Idempotency.KEY:
        yield Problem(path=path, problem="it has no header for an idempotency key")
    if operation.reconcile is not None:
        yield Problem(path=path, problem="reconcile is about the answers of a service")


def _command_problems(path: str, operation: Operation, command: CommandOperation) -> Iterator[Problem]:
    fields = properties(operation.input_schema)
    for place, text in (*enumerate(command.argv), *command.env.items()):
        for hole in template.fields_in(text):
            if hole not in fields:
                yield Problem(path=f"{path}[{place}]", problem=f"{{{hole}}} names no field of the input")
    if template.fields_in(command.argv[0]):
        yield Problem(path=f"{path}.argv[0]", problem="the command itself is fixed: no input may choose it")
    if command.stdin is not None and command.stdin not in fields:
        yield Problem(path=f"{path}.stdin", problem="the input has no such field")
    for secret in command.secrets:
        if (secret.env is None) == (secret.fd is None):
            yield Problem(
                path=f"{path}.secrets", problem="a secret goes into a variable or to a descriptor, one of both"
            )
    names = [*command.env, *(secret.env for secret in command.secrets if secret.env is not None)]
    fds = [secret.fd for secret in command.secrets if secret.fd is not None]
    if len(names) != len(set(names)) or len(fds) != len(set(fds)):
        yield Problem(path=path, problem="a variable or a descriptor is given twice")


def _confinement_problems(path: str, operation: Operation, command: CommandOperation) -> Iterator[Problem]:
    open_ones = [target for target in command.targets if target == _UNCONFINED]
    if command.confinement is None and len(open_ones) != len(command.targets):
        yield Problem(path=f"{path}.confinement", problem="these targets confine what it lists; say what it may touch")
    if command.confinement is not None and open_ones:
        yield Problem(path=f"{path}.targets", problem=f"{_UNCONFINED} confines nothing, and there is a confinement")
    if command.confinement is None and operation.sandbox != "none":
        yield Problem(path=f"{path}.confinement", problem=f"the sandbox level {operation.sandbox} needs one")
    confinement = command.confinement or Confinement()
    if bool(confinement.hosts) is not (confinement.network == "hosts"):
        yield Problem(path=f"{path}.confinement", problem="hosts are listed for the network `hosts`, and for no other")
    for place in (*confinement.read, *confinement.write):
        if ".." in place.split("/"):
            yield Problem(path=f"{path}.confinement", problem=f"the path {place[:200]!r} goes up")


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


def _pagination_problems(path: str, operation: Operation, pagination: Pagination) -> Iterator[Problem]:
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
    yield from pointer_problems(f"{path}.items", pagination.items)
    is_cursor = pagination.style == "cursor"
    if is_cursor != (pagination.cursor is not None) or is_cursor != (pagination.cursor_field is not None):
        yield Problem(path=path, problem="style cursor has cursor and cursor_field; style link has neither")
    if pagination.cursor is not None:
        yield from pointer_problems(f"{path}.cursor", pagination.cursor)
    if pagination.cursor_field is not None and pagination.cursor_field not in fields:
        yield Problem(path=f"{path}.cursor_field", problem="the input has no such field")


def _reconcile_problems(path: str, operation: Operation, reconcile: Reconcile) -> Iterator[Problem]:
    if operation.effect is Effect.READ:
        yield Problem(path=path, problem="a read has nothing to reconcile")
    if (reconcile.path is None) == (reconcile.function is None):
        yield Problem(path=path, problem="exactly one of path and function is needed")
    if reconcile.path is None:
        return
    if not reconcile.match and not reconcile.absent_status:
        yield Problem(path=f"{path}.match", problem="nothing says what proves the effect or its absence")
    if reconcile.gone and not reconcile.absent_status and reconcile.items is None:
        yield Problem(path=f"{path}.gone", problem="nothing says what absence looks like", suggestion="absent_status")
    if reconcile.items is None and (reconcile.since is not None or reconcile.newest_first):
        yield Problem(path=f"{path}.since", problem="it belongs to a list", suggestion="give items")
    if reconcile.newest_first and reconcile.since is None:
        yield Problem(path=f"{path}.newest_first", problem="it needs since")
    yield from path_problems(f"{path}.path", reconcile.path, operation)
    yield from _template_problems(path, operation, reconcile)
    for name in reconcile.output:
        if name not in properties(operation.output_schema):
            yield Problem(path=f"{path}.output.{name}", problem="the output has no such field")


def _template_problems(path: str, operation: Operation, reconcile: Reconcile) -> Iterator[Problem]:
    fields = properties(operation.input_schema)
    templates = [(f"{path}.query.{name}", value) for name, value in reconcile.query.items()]
    templates += [(f"{path}.match[{place}]", match.value) for place, match in reconcile.match.items()]
    for place, value in templates:
        if (problem := template.problem_with(value, fields)) is not None:
            yield Problem(path=place, problem=problem)
    single = (("items", reconcile.items), ("since", reconcile.since))
    pointers = [(name, value) for name, value in single if value is not None]
    pointers += [("match", place) for place in reconcile.match]
    pointers += [(f"output.{name}", place) for name, place in reconcile.output.items()]
    for name, value in pointers:
        yield from pointer_problems(f"{path}.{name}", value)
