"""From Python classes to the JSON Schemas of a manifest.

Three conventions keep declarations short. A property of an output takes the member of its own name unless it says
otherwise (`at`, `header`, …). `X | None = None` means "may be left out", not "may be null"; `X | None` without a default
may be null. A default of an input is sent when the caller leaves the field out.
"""

from typing import Annotated, Any, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, Field

from interlock.kernel import JSON
from interlock.sdk.terms import Schema


class Input(BaseModel):
    """The shape of an operation's input. Fields that it does not name are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Record(BaseModel):
    """The shape of an operation's output, or of a part of it: what is picked out of the service's answer."""

    model_config = ConfigDict(frozen=True)


class Page(Input):
    """The fields that every list has; the service's own `page` and `per_page`, and how many pages to follow."""

    per_page: int = Field(default=30, ge=1, le=100, description="Records on a page.")
    page: int = Field(default=1, ge=1, description="The page to begin with.")
    max_pages: int = Field(default=1, ge=1, le=20, description="How many pages to fetch and join.")


def slashes() -> Any:
    """Marks an input text that may hold `/` in a path: `Annotated[str, sdk.slashes()]`. Each segment is escaped."""
    return Field(json_schema_extra={"x-path": "slashes"})


Repo: TypeAlias = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$",
        max_length=200,
        description="owner/name",
        json_schema_extra={"x-path": "slashes"},
    ),
]
"""A repository as `owner/name`."""


def at(pointer: str, *, required: bool = True, description: str | None = None) -> Any:
    """Take the value at a JSON pointer in the answer (relative to the enclosing record); "" is the whole of it."""
    return _annotated("x-from", pointer, required=required, description=description)


def header(name: str, *, required: bool = False, description: str | None = None) -> Any:
    """Take an answer's header."""
    return _annotated("x-from-header", name.lower(), required=required, description=description)


def from_next(parameter: str = "page", *, description: str | None = None) -> Any:
    """Take a query parameter of the link to the next page; absent on the last one."""
    return _annotated("x-from-next", parameter, required=False, description=description)


def echo(field: str, *, required: bool = True, description: str | None = None) -> Any:
    """Repeat an input field."""
    return _annotated("x-from-input", f"/{field}", required=required, description=description)


def subject(*, description: str | None = None) -> Any:
    """The account at the service that acted, where it is known."""
    return _annotated("x-from-subject", value=True, required=False, description=description)


def constant(value: JSON, *, description: str | None = None) -> Any:
    """A fixed value, such as `deleted: true` for an answer without a body."""
    return _annotated("x-const", value, required=True, description=description)


def schema_of(model: type[BaseModel], *, nulls: bool = False) -> Schema:
    """The JSON Schema of a class, without titles, with optional fields as described above. `nulls`: they may also be null, as
    the class itself has it."""
    schema = model.model_json_schema()
    _tidy(schema, nulls=nulls)
    return schema


def _annotated(key: str, value: JSON, *, required: bool, description: str | None) -> Any:
    extra: dict[str, Any] = {key: value}
    default: Any = ... if required else None
    return Field(default=default, description=description, json_schema_extra=extra)


def _tidy(schema: Schema, *, nulls: bool) -> None:
    """Works in place: pydantic's schema is a fresh value."""
    if isinstance(schema.get("title"), str):
        del schema["title"]
    if not nulls:
        _drop_null(schema)
    for key in ("properties", "$defs"):
        for part in cast("dict[str, Schema]", schema.get(key, {})).values():
            _tidy(part, nulls=nulls)
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for part in cast("list[Schema]", schema.get(key, [])):
            _tidy(part, nulls=nulls)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            _tidy(schema[key], nulls=nulls)


def _drop_null(schema: Schema) -> None:
    if "default" not in schema or schema["default"] is not None:
        return
    del schema["default"]
    branches = [branch for branch in cast("list[Schema]", schema.get("anyOf", [])) if branch.get("type") != "null"]
    if len(branches) == 1:
        del schema["anyOf"]
        schema.update({**branches[0], **schema})
    elif branches:
        schema["anyOf"] = branches
