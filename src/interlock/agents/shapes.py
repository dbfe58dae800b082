"""From Python's types to JSON Schemas, and from there to what a function is called with."""

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, PydanticUserError, create_model
from pydantic.errors import PydanticSchemaGenerationError
from pydantic.fields import FieldInfo

from interlock import sdk

Shape: TypeAlias = type[BaseModel] | Mapping[str, Any]
"""A pydantic model, or a JSON Schema."""

CONTEXT: Final = "context"
"""The parameter of an operation's function that the model never sees: what the run tells it."""


def schema_of(shape: Shape) -> sdk.Schema:
    """The JSON Schema of a pydantic model; a JSON Schema stays what it is."""
    if isinstance(shape, type):
        return sdk.schema_of(shape)
    return dict(shape)


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
    schema = sdk.schema_of(parameters_of(function))
    schema.pop("description", None)  # the class's, which nobody wrote
    return {"properties": {}, **schema}


def output_schema(function: Callable[..., Any]) -> sdk.Schema | None:
    """The JSON Schema of what a function returns, where that is a model; of anything else none is enforced."""
    returned: object = typing.get_type_hints(function).get("return")
    if isinstance(returned, type) and issubclass(returned, BaseModel):
        return sdk.schema_of(returned)
    return None


def _default(default: object) -> object:
    return cast("object", ...) if default is inspect.Parameter.empty else default
