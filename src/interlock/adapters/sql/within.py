"""Conditions that many queries share: what a limited caller sees, and what has one of many ids."""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import ARRAY, Boolean, Column, ColumnElement, Dialect, Text, TypeDecorator, bindparam, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from interlock.kernel import Caller


def within(caller: Caller, capability: Column[str], connection_id: Column[str]) -> list[ColumnElement[bool]]:
    """Of rows with a capability and a connection: `Caller.sees`."""
    conditions: list[ColumnElement[bool]] = []
    if caller.capabilities is not None:
        whole = [each for each in caller.capabilities if not each.endswith(".*")]
        below = [each[:-1] for each in caller.capabilities if each.endswith(".*")]
        conditions.append(or_(capability.in_(whole), *(capability.startswith(each, autoescape=True) for each in below)))
    if caller.connections is not None:
        conditions.append(or_(connection_id.is_(None), connection_id.in_(caller.connections)))
    return conditions


class among(FunctionElement[bool]):  # noqa: N801 - it is used as a function
    """Whether a column's value is among the `names` of a parameter: for a query that is made once, however many they are."""

    inherit_cache = True
    type = Boolean()

    def __init__(self, column: Column[str], names: str) -> None:
        super().__init__(column, bindparam(names, type_=_Names()))


class _Names(TypeDecorator[Sequence[str]]):
    """Texts as one parameter."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """An array where there are arrays."""
        return dialect.type_descriptor(ARRAY(Text()) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Sequence[str] | None, dialect: Dialect) -> Any:
        """As the database takes it."""
        return value if dialect.name == "postgresql" or value is None else orjson.dumps(value).decode()


@compiles(among, "postgresql")
def _any(element: among, compiler: SQLCompiler, **options: Any) -> str:
    column, names = element.clauses
    return f"{compiler.process(column, **options)} = ANY ({compiler.process(names, **options)})"


@compiles(among, "sqlite")
def _each(element: among, compiler: SQLCompiler, **options: Any) -> str:
    column, names = element.clauses
    values = f"SELECT value FROM json_each({compiler.process(names, **options)})"  # noqa: S608 - a parameter's place
    return f"{compiler.process(column, **options)} IN ({values})"
