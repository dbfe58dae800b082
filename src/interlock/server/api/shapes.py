"""How documents look, for the description: made from the values that they tell."""

import dataclasses
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, create_model

from interlock.kernel import JSON, Fault, Retry

Moment = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
"""A moment in RFC 3339."""

Table = dict[str, Any]
"""A JSON object."""


class Problem(BaseModel):
    """An error (RFC 9457). `code` is stable; `retry` says what sending it again would mean, `fault` who has to act."""

    type: str = Field(examples=["urn:interlock:error:run_not_found"])
    title: str
    status: int
    code: str = Field(examples=["run_not_found"])
    message: str
    retry: Retry
    fault: Fault
    next_step: str
    run_id: str | None
    details: Table


@cache
def shape(kind: type, **more: Any) -> type[BaseModel]:
    """The model of the document that `kernel.document` makes of a room's dataclass; `more` are what it says besides."""
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if field.name == "body":
            fields |= {"data": (Table, ...), "prev": (str, ...)}
        elif field.type not in (bytes, bytes | None):
            hint = Any if field.name.endswith("_json") else _hint(field.type)
            fields[field.name.removesuffix("_json")] = (hint, ...)
    fields |= {name: (hint, ...) for name, hint in more.items()}
    doc = (kind.__doc__ or "").strip()
    return create_model(kind.__name__, __doc__=doc, __config__=ConfigDict(extra="forbid"), **fields)


@cache
def page(name: str, of: type[BaseModel]) -> type[BaseModel]:
    """The model of a page of a list."""
    fields: dict[str, Any] = {
        name: (list[of], ...),
        "next_cursor": (str | None, Field(description="Send it back as `cursor` for what follows; null at the end.")),
    }
    return create_model(f"{of.__name__}Page", __doc__=f"A page of {name}.", **fields)


def _hint(kind: Any) -> Any:
    """The type of a member, from the one of a field."""
    if kind == JSON:
        return Any
    if kind is datetime:
        return Moment
    if kind is timedelta:
        return float
    if dataclasses.is_dataclass(kind):
        return shape(cast("type", kind))
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        wanted = [_hint(each) for each in arguments if each is not NoneType]
        return Union[(*wanted, None)]
    if origin is None or origin is Literal:
        return kind
    if issubclass(origin, Mapping):
        return dict[str, _hint(arguments[1])]
    if issubclass(origin, AbstractSet):
        return list[_hint(arguments[0])]
    return list[_hint(arguments[0])]
