"""The invariants of a spec. Nothing stops at the first that does not hold."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from interlock import inference, sdk
from interlock.agents.controls import Control, Controls, OperationControl, use
from interlock.agents.operations import MEMORY, Idempotency, Operation
from interlock.agents.registry import Registry
from interlock.agents.spec import Capture, Spec
from interlock.agents.terms import thawed
from interlock.agents.turns import Boundary

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def spec_problems(
    head: Spec | None, operations: Sequence[Operation], controls: Controls | None
) -> Iterator[sdk.Problem]:
    """All that contradicts itself. Parts that are wrong in themselves are None, and are left out."""
    for index, each in enumerate(operations):
        yield from schema_problems(f"operations[{index}].input", each.input)
        if each.output is not None:
            yield from schema_problems(f"operations[{index}].output", each.output)
    if head is not None:
        yield from _forgetful(head, operations)
        provider = head.model.partition(":")[0]
        for each in inference.flaws_of(head.generation.provider_options, provider=provider):
            path = f"generation.provider_options.{each.path}"
            yield sdk.Problem(path=path, problem=each.problem, suggestion=each.suggestion)
    if controls is not None:
        yield from _repeated_controls(controls)
        yield from _unguarded(operations, controls)


def draft_problems(data: Mapping[str, Any], operations: Sequence[object]) -> Iterator[sdk.Problem]:
    """What is wrong with a draft whatever else is wrong with the parts that it stands in."""
    drafts = [cast("Mapping[str, object]", each) for each in operations if isinstance(each, Mapping)]
    names = [each.get("name") for each in drafts]
    for name, count in Counter(each for each in names if isinstance(each, str)).items():
        if count > 1:
            yield sdk.Problem(path="operations", problem=f"{name!r} stands here {count} times")
    result: object = data.get("result")
    schema = cast("Mapping[str, object]", result).get("schema") if isinstance(result, Mapping) else None
    for path, given in (("context_schema", data.get("context_schema")), ("result.schema", schema)):
        if isinstance(given, Mapping):
            yield from schema_problems(path, cast("Mapping[str, Any]", given))


def schema_problems(path: str, schema: Mapping[str, Any]) -> Iterator[sdk.Problem]:
    """Whether it is the JSON Schema of an object, and needs nothing from elsewhere."""
    import jsonschema_rs  # here, so that importing the room stays quick

    plain = {**thawed(schema), "$schema": _DIALECT}
    try:
        jsonschema_rs.meta.validate(plain)
        # Compiling finds what the meta-schema cannot: patterns and references.
        jsonschema_rs.Draft202012Validator(plain, offline=True)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        yield sdk.Problem(path=path, problem=f"this is no JSON Schema (2020-12): {str(error).partition(chr(10))[0]}")
        return
    if plain.get("type") != "object":
        yield sdk.Problem(path=f"{path}.type", problem="what a model fills in, and what a run is given, is an object")


def _repeated_controls(controls: Controls) -> Iterator[sdk.Problem]:
    listed: tuple[tuple[str, Sequence[Control]], ...] = (
        ("inputs", controls.inputs),
        ("operations", controls.operations),
        ("outputs", controls.outputs),
    )
    for boundary, uses in listed:
        for told, count in Counter(json.dumps(use(each), sort_keys=True) for each in uses).items():
            if count > 1:
                name = json.loads(told)[0]
                yield sdk.Problem(
                    path=f"controls.{boundary}", problem=f"{name!r} stands here {count} times with the same options"
                )


def _forgetful(head: Spec, operations: Sequence[Operation]) -> Iterator[sdk.Problem]:
    """Operations on a memory that the agent does not have, or in which it may keep nothing."""
    for index, each in enumerate(operations):
        if each.kind != MEMORY:
            continue
        if head.memory is None:
            hint = "say `memory: {}`, or leave the operation out"
            yield sdk.Problem(path=f"operations[{index}]", problem="the agent has no memory", suggestion=hint)
        elif head.memory.capture is Capture.OFF and each.source.ref == "remember":
            hint = "say `capture: manual`, or leave the operation out"
            yield sdk.Problem(
                path=f"operations[{index}]", problem="its memory keeps nothing: capture is off", suggestion=hint
            )


def control_problems(
    controls: Controls, operations: Sequence[Operation], registry: Registry, *, complete: bool
) -> Iterator[sdk.Problem]:
    """What is wrong with the uses of controls that the registry knows; that it does not know one, only if it is to be `complete`,
    for a spec may be built where it is not run."""
    listed: tuple[tuple[str, Boundary, Sequence[Control]], ...] = (
        ("inputs", "input", controls.inputs),
        ("operations", "operations", controls.operations),
        ("outputs", "output", controls.outputs),
    )
    for part, boundary, uses in listed:
        for index, each in enumerate(uses):
            path = f"controls.{part}[{index}]"
            yield from _use_problems(each, boundary, path, registry, complete=complete)
    for index, each in enumerate(operations):
        if each.approval is not None and each.approval.when is not None:
            when, path = Control(control=each.approval.when), f"operations[{index}].approval"
            for problem in _use_problems(when, "operations", path, registry, complete=complete):
                yield replace(problem, path=f"{path}.when")


def _use_problems(
    use: Control, boundary: Boundary, path: str, registry: Registry, *, complete: bool
) -> Iterator[sdk.Problem]:
    check = registry.find_control(use.control)
    if check is None:
        if complete:
            near = registry.nearest("controls", use.control)
            hint = near and f"did you mean {near!r}?"
            problem = f"the registry has no control {use.control!r}"
            yield sdk.Problem(path=f"{path}.control", problem=problem, suggestion=hint)
        return
    if boundary not in check.boundaries:
        problem = f"{use.control!r} has something to say of {' and '.join(check.boundaries)}, not of the {boundary}"
        yield sdk.Problem(path=f"{path}.control", problem=problem)
    found: list[sdk.Problem] = []
    if check.options is not None:
        sdk.read_part(check.options, thawed(use.options), f"{path}.options", found)
    yield from found


def _unguarded(operations: Sequence[Operation], controls: Controls) -> Iterator[sdk.Problem]:
    """What nobody can tell to have been done is not left to a model alone."""
    for index, each in enumerate(operations):
        if each.idempotency is not Idempotency.UNSAFE_ONCE or each.approval is not None:
            continue
        if not any(_watches(control, each) for control in controls.operations):
            yield sdk.Problem(
                path=f"operations[{index}]",
                problem=f"{each.name!r} is unsafe_once, and neither an approval nor a control stands before it",
                suggestion="give it `approval: {}`, or match it in `controls.operations`",
            )


def _watches(control: OperationControl, operation: Operation) -> bool:
    return control.match.fits(operation)
