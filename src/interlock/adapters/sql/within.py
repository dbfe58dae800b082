"""Conditions that many queries share: what a limited caller sees, and runs by tenant and id."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, bindparam, or_

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


def by_keys(table: Table) -> list[ColumnElement[bool]]:
    """Rows of runs for the parameters `keyed`; for a query that is made once. The pairs of other tenants among them are the
    caller's to leave out."""
    return [
        table.c.tenant_id.in_(bindparam("tenants", expanding=True)),
        table.c.run_id.in_(bindparam("runs", expanding=True)),
    ]


def keyed(keys: Collection[tuple[str, str]]) -> dict[str, Any]:
    """Parameters for `by_keys`: tenants and ids of runs."""
    return {"tenants": sorted({tenant_id for tenant_id, _ in keys}), "runs": sorted({run_id for _, run_id in keys})}
