"""Parts of a manifest that are wrong in places: what is right in them is checked as well, so that no mistake hides another."""

import difflib
import functools
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

import orjson
from pydantic import BaseModel, ValidationError, create_model

from interlock.sdk.errors import Problem
from interlock.sdk.terms import Part, Unread

M = TypeVar("M", bound=BaseModel)
P = TypeVar("P")
T = TypeVar("T")


def where_known(*checks: Callable[[], Iterable[Problem]]) -> Iterator[Problem]:
    """What these checks find. One that needs what is itself wrong ends there: it would only guess."""
    for check in checks:
        try:
            yield from check()
        except Unread:
            continue


def known(parts: Iterable[P], read: Callable[[P], T]) -> Iterator[T]:
    """What is read of these parts, without those in which it is wrong."""
    for part in parts:
        try:
            yield read(part)
        except Unread:
            continue


def partial(model: type[M], value: object, *, label: Mapping[str, str]) -> M:
    """The part with the members that are right, and the defaults of those that nobody meant to give. It is for checks
    only; to read any other member raises Unread. `label` has what its problems are told under, right or wrong."""
    given = cast("Mapping[str, object]", value if isinstance(value, Mapping) else {})
    meant = {near for name in given for near in near_names(name, model.model_fields)}
    members: dict[str, Any] = {}
    lacking = set(model.model_fields if given is not value else meant - given.keys())
    for name in given.keys() & model.model_fields.keys():
        try:
            members[name] = _member(model, name, given[name])
        except Unread:
            lacking.add(name)
    part = model.model_construct(None, **{**members, **label})
    for name in lacking - label.keys():
        vars(part).pop(name, None)
    return part


def near_names(name: str, names: Iterable[str]) -> list[str]:
    """Which of the names a name that is none of them may stand for: one, or none."""
    names = list(names)
    return [] if name in names else difflib.get_close_matches(name, names, n=1, cutoff=0.5)


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """The models that a member's type names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from models_in(inner)


def _member(model: type[BaseModel], name: str, value: object) -> object:
    """A member's value, in part if it is a part or a list of parts. Raises Unread where nothing of it can be used."""
    try:
        return getattr(_alone(model, name).model_validate_json(orjson.dumps({name: value})), name)
    except ValidationError as error:
        for kind in _kinds(model.model_fields[name].annotation):
            if isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(value, Mapping):
                return partial(kind, cast("object", value), label={})
            [item, *_] = typing.get_args(kind) if typing.get_origin(kind) is tuple else [None]
            if isinstance(item, type) and issubclass(item, BaseModel) and isinstance(value, Sequence | tuple):
                return tuple(partial(item, each, label={}) for each in cast("Sequence[object]", value))
        raise Unread(name) from error


def _kinds(annotation: object) -> tuple[object, ...]:
    """What may stand there besides None."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


@functools.cache
def _alone(model: type[BaseModel], name: str) -> type[Part]:
    """A part that has this member only."""
    field = model.model_fields[name]
    members: dict[str, Any] = {name: (field.annotation, field)}
    return create_model(f"{model.__name__}_{name}", __base__=Part, **members)
