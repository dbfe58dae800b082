"""From Python's types to JSON Schemas, and from there to what a function is called with."""

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast
from weakref import WeakValueDictionary

from pydantic import BaseModel, ConfigDict, PydanticUserError, ValidationError, create_model
from pydantic.errors import PydanticSchemaGenerationError
from pydantic.fields import FieldInfo

from interlock import kernel, sdk
from interlock.kernel import JSON, is_interruption

M = TypeVar("M", bound=type[BaseModel])
if TYPE_CHECKING:  # a default for a type variable came after Python 3.11
    from typing_extensions import TypeVar as _TypeVar

    S = _TypeVar("S", default=Any)
else:
    S = TypeVar("S")
"""What a turn's context is: a pydantic model of the program's, or JSON."""

Shape: TypeAlias = type[BaseModel] | Mapping[str, Any]
"""A pydantic model, or a JSON Schema."""

CONTEXT: Final = "context"
"""The parameter of an operation's function that the model never sees: what the run tells it."""


SHAPE_MARK: Final = "__interlock_shape__"

_models: Final = WeakValueDictionary[str, type[BaseModel]]()
"""The models of this program of which schemas were made, by the schema's digest: a spec is data, and keeps the schema alone."""

_meant: Final = WeakValueDictionary[tuple[str, str], type[BaseModel]]()
"""Those that an agent was given, by its fingerprint and the member: models may have one schema."""

CONTEXT_SCHEMA: Final = "context_schema"
RESULT_SCHEMA: Final = "result.schema"


def shape(name: str | None = None) -> Callable[[M], M]:
    """Mark a pydantic model as a schema of registries, under that name or its own: documents say `$ref: registry:NAME`."""

    def mark(model: M) -> M:
        setattr(model, SHAPE_MARK, name or model.__name__)
        return model

    return mark


def schema_of(shape: Shape) -> sdk.Schema:
    """The JSON Schema of a pydantic model, by which the model is found again; a JSON Schema stays what it is."""
    if not isinstance(shape, type):
        return dict(shape)
    schema = _schema(shape)
    _models[kernel.digest(schema)] = shape
    return schema


def mean(fingerprint: str, member: str, shape: object) -> None:
    """Remember which model is meant by a member of the spec of this fingerprint; of a JSON Schema there is nothing."""
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        _meant[fingerprint, member] = shape


def mean_as(fingerprint: str, known: str) -> None:
    """Of a spec that was made of another one the same models are meant as of that."""
    for member in (CONTEXT_SCHEMA, RESULT_SCHEMA):
        mean(fingerprint, member, _meant.get((known, member)))


def parsed(value: JSON, *, fingerprint: str, member: str, schema: str | None) -> Any:
    """What a model of this program makes of a value that fits a member of a spec: the model that was given for it, or else one
    with the schema of this digest; the value itself if there is none. Raises ValueError, in words, if the model refuses what the
    schema lets pass."""
    model = None if schema is None else _meant.get((fingerprint, member)) or _models.get(schema)
    if model is None:
        return value
    try:
        return model.model_validate_json(kernel.canonical(value))
    except ValidationError as error:
        told = [f"{'.'.join(map(str, each['loc'])) or 'all of it'}: {each['msg']}" for each in error.errors()[:10]]
        raise ValueError(f"{model.__name__} refuses it: {'; '.join(told)}") from error
    except Exception as error:  # of a validator of the program's: its type alone, as of all that a stranger raises
        if is_interruption(error):
            raise
        raise ValueError(f"{model.__name__} raised {type(error).__name__} of it") from error


def parameters_of(function: Callable[..., Any]) -> type[BaseModel]:
    """What a function takes, as a model: every parameter but `context`, by its type hint and default. Raises ValueError, in
    words, for one that no model can fill."""
    hints = typing.get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name == CONTEXT:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ValueError(f"the parameter {parameter} has no name that a model could fill; give each its own")
        if name not in hints:
            raise ValueError(f"the parameter {name!r} needs a type hint, from which its schema is made")
        default = parameter.default
        fields[name] = (hints[name], default if isinstance(default, FieldInfo) else _default(default))
    try:
        return create_model(function.__name__, __config__=ConfigDict(extra="forbid", frozen=True), **fields)
    except (PydanticSchemaGenerationError, PydanticUserError, NameError) as error:
        raise ValueError(f"its parameters are no JSON: {str(error).partition(chr(10))[0]}") from error


def input_schema(function: Callable[..., Any]) -> sdk.Schema:
    """The JSON Schema of what a function takes. Raises ValueError as `parameters_of`."""
    schema = _schema(parameters_of(function))
    schema.pop("description", None)  # the class's, which nobody wrote
    return {"properties": {}, **schema}


def output_schema(function: Callable[..., Any]) -> sdk.Schema | None:
    """The JSON Schema of what a function returns, where that is a model; of anything else none is enforced."""
    returned: object = typing.get_type_hints(function).get("return")
    if isinstance(returned, type) and issubclass(returned, BaseModel):
        return _schema(returned)
    return None


def _schema(model: type[BaseModel]) -> sdk.Schema:
    schema = sdk.schema_of(model, nulls=True)
    named = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    if schema.get("$defs", {}).get(named, {}).get("type") == "object":  # of a model that holds others of its kind
        return {"type": "object", **schema}
    return schema


def _default(default: object) -> object:
    return cast("object", ...) if default is inspect.Parameter.empty else default
