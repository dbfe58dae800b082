"""A spec in Python: functions become operations by a decorator, and `agent` joins all of it into data."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar, cast

from pydantic import BaseModel

from interlock import sdk
from interlock.agents.assembling import Defaults, assemble
from interlock.agents.controls import Controls
from interlock.agents.errors import InvalidSpec
from interlock.agents.functions import FUNCTION, MARK, Marked, broken_promise
from interlock.agents.operations import Consent, Idempotency, Operation
from interlock.agents.registry import CONTROL_MARK, Registry
from interlock.agents.rulings import ANYWHERE, Check, Controlling
from interlock.agents.shapes import CONTEXT_SCHEMA, RESULT_SCHEMA, Shape, input_schema, mean, output_schema, schema_of
from interlock.agents.spec import Generation, Memory, Result, Runtime, Spec
from interlock.agents.turns import Boundary
from interlock.kernel import JSON

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=Controlling)

Given: TypeAlias = Callable[..., Any] | Operation | Mapping[str, Any] | str
"""An operation: a function that is marked, the value, its members as in a document, or the name of one in the registry."""


def operation(
    name: str | None = None,
    *,
    idempotency: Idempotency | str,
    description: str | None = None,
    approval: Consent | Mapping[str, JSON] | None = None,
    metadata: Mapping[str, JSON] | None = None,
    reconcile: Callable[..., Any] | None = None,
) -> Callable[[F], F]:
    """Mark a function as an operation of agents. Its name, its docstring and its type hints are what the model is shown, unless
    they are given here; a parameter `context` is filled with the `Invocation`, and never by a model. `idempotency` is what it
    would mean to call it again after a crash; `reconcile` is asked whether it was done, where that can be found out: it takes
    the same, and returns what came of it, NotHappened() or Unclear(...). One that is `dedupe` takes `context`, whose `key` it
    passes on. Raises InvalidSpec if no schema can be made of it, and if it could not keep what its idempotency promises."""

    def mark(function: F) -> F:
        called = name or function.__name__
        described: dict[str, JSON] = {
            "description": description or inspect.getdoc(function) or "",
            "idempotency": str(idempotency),
        }
        try:
            described["input"] = input_schema(function)
            if (returned := output_schema(function)) is not None:
                described["output"] = returned
            if broken := broken_promise(function, str(idempotency), reconcile):
                raise ValueError(broken)
        except (ValueError, NameError) as error:
            raise InvalidSpec(f"the operation {called!r}", [sdk.Problem(path=called, problem=str(error))]) from error
        if approval is not None:
            described["approval"] = cast("JSON", _told(approval))
        if metadata:
            described["metadata"] = dict(metadata)
        setattr(function, MARK, Marked(name=called, function=function, described=described, reconcile=reconcile))
        return function

    return mark


def control(
    name: str | None = None, *, options: type[BaseModel] | None = None, boundaries: tuple[Boundary, ...] = ANYWHERE
) -> Callable[[C], C]:
    """Mark a function as a control, under that name or its own. It takes a ControlInput and returns `allow()`, `block(reason)`,
    `interrupt(reason)` or `error(reason)`; if it raises, returns anything else or takes too long, that is an error, too.
    `options` is the model of its options, which are then checked when a spec is read; `boundaries` are where it has something to
    say."""

    def mark(function: C) -> C:
        found = Check(name=name or function.__name__, function=function, options=options, boundaries=boundaries)
        setattr(function, CONTROL_MARK, found)
        return function

    return mark


def agent(
    id: str,  # noqa: A002
    instructions: str,
    *,
    model: str | None = None,
    generation: Generation | Mapping[str, Any] | None = None,
    context: Shape | None = None,
    result: Shape | Result | None = None,
    memory: Memory | Mapping[str, Any] | None = None,
    operations: Iterable[Given] = (),
    controls: Controls | Mapping[str, Any] | None = None,
    runtime_defaults: Runtime | Mapping[str, Any] | None = None,
    metadata: Mapping[str, JSON] | None = None,
    registry: Registry | None = None,
    defaults: Defaults | None = None,
) -> Spec:
    """The spec of an agent. `context` and `result` are pydantic models or JSON Schemas; of a model the spec keeps the schema, and
    this program finds the model by the spec's fingerprint. Raises InvalidSpec with every problem there is."""
    data: dict[str, Any] = {
        "id": id,
        "instructions": instructions,
        "model": model,
        "generation": _told(generation),
        "context_schema": _shaped(context),
        "result": _result(result),
        "memory": _told(memory),
        "operations": _drafts(operations, id),
        "controls": _told(controls),
        "runtime_defaults": _told(runtime_defaults),
        "metadata": _told(metadata),
    }
    given = {name: value for name, value in data.items() if value is not None}
    spec = assemble(given, source=f"the agent {id!r}", registry=registry, defaults=defaults)
    mean(spec.fingerprint, CONTEXT_SCHEMA, context)
    mean(spec.fingerprint, RESULT_SCHEMA, result)
    return spec


def _drafts(given: object, agent_id: str) -> list[object]:
    """Each operation as a document has it. Raises InvalidSpec, about all that are none."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        problem = f"a list is expected, not {type(given).__name__}"
        raise InvalidSpec(f"the agent {agent_id!r}", [sdk.Problem(path="operations", problem=problem)])
    drafts, problems = list[object](), list[sdk.Problem]()
    for index, each in enumerate(cast("Iterable[Given]", given)):
        if isinstance(each, str):
            drafts.append({"name": each})
        elif isinstance(each, Operation | Mapping):
            drafts.append(_told(cast("Operation | Mapping[str, Any]", each)))
        elif isinstance(marked := getattr(each, MARK, None), Marked):
            drafts.append({"name": marked.name, "source": {"kind": FUNCTION, "ref": marked.name}, **marked.described})
        else:
            called = getattr(each, "__qualname__", repr(each))
            problem = f"{called} is not marked by agents.operation, which says what a second call would mean"
            problems.append(sdk.Problem(path=f"operations[{index}]", problem=problem))
    if problems:
        raise InvalidSpec(f"the agent {agent_id!r}", problems)
    return drafts


def _result(given: Shape | Result | None) -> object:
    return _told(given) if given is None or isinstance(given, Result) else {"schema": _shaped(given)}


def _shaped(given: object) -> object:
    if isinstance(given, Mapping):
        return schema_of(cast("Mapping[str, Any]", given))
    if isinstance(given, type) and issubclass(given, BaseModel):
        return schema_of(given)
    return cast("object", given)


def _told(given: object) -> object:
    """As a document has it; what is nothing of the kind stays what it is, and is told with all else that is wrong."""
    if isinstance(given, BaseModel):
        return given.model_dump(mode="json", by_alias=True)
    return dict(cast("Mapping[str, Any]", given)) if isinstance(given, Mapping) else given
