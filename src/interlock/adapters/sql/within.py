"""What a limited caller sees, as conditions."""

from sqlalchemy import Column, ColumnElement, or_

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
