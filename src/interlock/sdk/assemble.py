"""From plain data to a manifest: the one way that the Python declaration and manifest files both take."""

import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

import orjson
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from interlock.kernel import InvalidJson, JsonLimits, check_json
from interlock.sdk import check
from interlock.sdk.auth import AuthProfile
from interlock.sdk.errors import InvalidManifest, Problem
from interlock.sdk.manifest import Manifest, Operation, Trigger
from interlock.sdk.partial import models_in, near_names, partial
from interlock.sdk.rules import ErrorRule
from interlock.sdk.terms import FORMS
from interlock.sdk.verification import with_scheme

M = TypeVar("M", bound=BaseModel)

LIMITS = JsonLimits(max_bytes=1_048_576, max_depth=64, max_nodes=100_000)


def assemble(raw: object, *, source: str) -> Manifest:
    """The manifest of plain data. Conveniences are resolved here, so that they leave no trace in the digest: `errors` at the
    top count after each operation's own, `runtime_classes`, if given, must be what follows from the operations, and the
    `scheme` of a webhook's verification stands for what it names.

    Raises InvalidManifest with every problem there is.
    """
    try:
        check_json(raw, limits=LIMITS, what="manifest")
    except InvalidJson as error:
        raise InvalidManifest(source, [Problem(path="$", problem=error.message)]) from error
    if not isinstance(raw, Mapping):
        raise InvalidManifest(source, [Problem(path="$", problem="a manifest is a mapping")])
    data = dict(cast("Mapping[str, Any]", raw))
    problems: list[Problem] = []
    # Each part is validated on its own, so that one bad part hides nothing in the others.
    shared = _listed(ErrorRule, data.pop("errors", []), "errors", None, problems)
    stated = data.pop("runtime_classes", None)
    drafts = [_with_idempotency(draft) for draft in _items(data.get("operations", []), "operations", problems)]
    auth = _listed(AuthProfile, data.get("auth", []), "auth", "profile_id", problems)
    operations = _listed(Operation, drafts, "operations", "operation_id", problems)
    reports = [_with_scheme(draft, problems) for draft in _items(data.get("triggers", []), "triggers", problems)]
    triggers = _listed(Trigger, reports, "triggers", "trigger_id", problems)
    head = parsed(Manifest, {**data, "auth": [], "operations": [], "triggers": []}, "", problems)
    for name, most, found in (("auth", 20, auth), ("operations", 1000, operations), ("triggers", 200, triggers)):
        if len(found) > most:
            problems.append(Problem(path=name, problem=f"there are {len(found)}; the limit is {most}"))
    if not auth and not data.get("auth"):
        problems.append(
            Problem(path="auth", problem="a connector has at least one profile (grant none for no credential)")
        )
    if not data.get("operations") and not data.get("triggers"):
        problems.append(Problem(path="operations", problem="a connector has at least one operation or trigger"))
    # Of what is written, so that a part that is wrong otherwise hides nothing here.
    ids = [_member(each, "operation_id") for each in drafts]
    ids += [_member(each, "trigger_id") for each in _items(data.get("triggers", []), "triggers", [])]
    problems += check.repeated("operations", [each for each in ids if isinstance(each, str)])
    problems += check.manifest_problems(auth=auth, operations=operations, triggers=triggers, errors=shared)
    if head is not None and not problems:
        operations = [each.model_copy(update={"errors": (*each.errors, *shared)}) for each in operations]
        manifest = head.model_copy(
            update={
                "auth": tuple(auth),
                "operations": tuple(sorted(operations, key=lambda each: each.operation_id)),
                "triggers": tuple(sorted(triggers, key=lambda each: each.trigger_id)),
            }
        )
        if stated is None or stated == list(manifest.runtime_classes):
            return manifest
        derived = ", ".join(manifest.runtime_classes)
        problems.append(Problem(path="runtime_classes", problem=f"the operations have {derived}, not {stated}"))
    raise InvalidManifest(source, problems)


def _with_idempotency(draft: object) -> object:
    """Reading again changes nothing, so reads need not say so."""
    if not isinstance(draft, Mapping):
        return draft
    given = cast("Mapping[str, Any]", draft)
    return {"idempotency": "natural" if given.get("effect") == "read" else "none", **given}


def _with_scheme(draft: object, problems: list[Problem]) -> object:
    """Spelled out, so that what a scheme says may change, and a manifest stays what it was."""
    if not isinstance(draft, Mapping):
        return draft
    trigger = cast("Mapping[str, Any]", draft)
    if not isinstance(trigger.get("verification"), Mapping):
        return trigger
    said = cast("Mapping[str, Any]", trigger["verification"])
    try:
        return {**trigger, "verification": with_scheme(said)}
    except ValueError as error:
        place = f"triggers[{trigger.get('trigger_id')}].verification.scheme"
        problems.append(Problem(path=place, problem=str(error)))
        return {**trigger, "verification": {name: each for name, each in said.items() if name != "scheme"}}


def _items(value: object, path: str, problems: list[Problem]) -> Sequence[object]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return cast("Sequence[object]", value)
    problems.append(Problem(path=path, problem=f"a list is expected, not {type(value).__name__}"))
    return []


def _listed(model: type[M], value: object, path: str, key: str | None, problems: list[Problem]) -> list[M]:
    """The parts; of one that is wrong, what is right of it, for the checks."""
    found: list[M] = []
    for index, item in enumerate(_items(value, path, problems)):
        called = _member(item, key) or index
        part = parsed(model, item, f"{path}[{called}]", problems)
        if part is None:
            part = partial(model, item, label={} if key is None else {key: str(called)})
        found.append(part)
    return found


def _member(item: object, key: str | None) -> object:
    return cast("dict[str, object]", item).get(key or "") if isinstance(item, dict) else None


def parsed(model: type[M], value: object, path: str, problems: list[Problem]) -> M | None:
    """The part of plain data, or None and what is wrong with it among the problems."""
    try:
        # The JSON mode of a strict model takes lists for tuples and texts for enums, and nothing else.
        return model.model_validate_json(orjson.dumps(value))
    except ValidationError as error:
        for each in error.errors(include_url=False, include_input=False):
            location = [part for part in each["loc"] if not str(part).startswith("function-")]
            form = FORMS.get(str(each.get("ctx", {}).get("pattern")))
            message = each["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
            message = f"must be {form}" if form else message
            problems.append(_problem(model, path, location, each["type"], message))
        return None


def _problem(model: type[BaseModel], path: str, location: Sequence[int | str], kind: str, message: str) -> Problem:
    place, names = _at(model, path, location)
    if kind == "missing":
        return Problem(path=place or "$", problem="it is missing")
    if kind != "extra_forbidden":
        return Problem(path=place or "$", problem=message)
    near = near_names(str(location[-1]), names)
    return Problem(
        path=place,
        problem="there is no such key",
        suggestion=f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(names))}",
    )


def _at(model: type[BaseModel], path: str, location: Sequence[int | str]) -> tuple[str, list[str]]:
    """The place in words, and which keys there are where its last part stands. Of several kinds of a part the location names
    the one that was taken, which is no place of its own."""
    place, models, names = path, [model], _names(model)
    for part in location:
        kinds = [each for each in models if len(models) > 1 and part in _kinds(each)]
        if kinds:
            models = kinds
            names = _names(kinds[0])
            continue
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else part
        if isinstance(part, str):
            names = [name for each in models for name in _names(each)]
            fields = [field for each in models for field in _fields(each, part)]
            # What is no member is the key of a mapping, whose values are these models.
            models = [inner for field in fields for inner in models_in(field.annotation)] if fields else models
    return place, names


def _names(model: type[BaseModel]) -> list[str]:
    """Its members, as they are written."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _fields(model: type[BaseModel], written: str) -> list[FieldInfo]:
    return [field for name, field in model.model_fields.items() if written == (field.alias or name)]


def _kinds(model: type[BaseModel]) -> set[object]:
    """What a model's own fixed members say."""
    return {value for field in model.model_fields.values() for value in _literals(field.annotation)}


def _literals(annotation: object) -> tuple[object, ...]:
    return typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else ()
