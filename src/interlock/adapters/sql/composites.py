"""Rows for Postgres in its binary wire format: one array of a table's row type per table.

`unnest($1::runs[])` turns such an array back into rows. It costs the server far less than an array per column, and the
client less than any generic adaptation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import TYPE_CHECKING, Final

from interlock.adapters.sql import tables
from interlock.adapters.sql.rows import SqlRow

if TYPE_CHECKING:  # loading Postgres costs a SQLite user 75 ms
    import psycopg

_INT8: Final = 20
_INT4: Final = 23
_BOOL: Final = 16
_TEXT: Final = 25
_array_head = Struct("!iiIii").pack  # dimensions, has nulls, element type, length, lower bound
_word = Struct("!i").pack
_head = Struct("!Ii").pack  # field type, length
_int8 = Struct("!Iiq").pack
_element = Struct("!iq").pack
_int4 = Struct("!Iii").pack
_bool = Struct("!Ii?").pack

_CATALOGUE: Final = """
SELECT c.relname, c.reltype::int8, a.attname, a.atttypid::int8
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.oid = ANY(%s::regclass[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY c.relname, a.attnum
"""


@dataclass(frozen=True, slots=True)
class RowType:
    """A table's row type as this database has it: its columns may stand in another order than in `tables`."""

    type_id: int
    fields: tuple[tuple[int, int], ...]
    """Type of each column and where it stands in a `SqlRow`."""
    _nothing: dict[int, bytes] = field(init=False, repr=False, compare=False)
    """What stands for no value, by type."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_nothing", {kind: _head(kind, -1) for kind, _ in self.fields})

    def array(self, lines: Sequence[SqlRow]) -> bytes:
        """The rows as one value for a parameter `$n::table[]`."""
        if not lines:
            return _array_head(0, 0, self.type_id, 0, 0)[:12]
        pieces = [_array_head(1, 0, self.type_id, len(lines), 1)]
        for line in lines:
            record = self._record(line)
            pieces += (_word(len(record)), record)
        return b"".join(pieces)

    def _record(self, line: SqlRow) -> bytes:
        pieces = [_word(len(self.fields))]
        add = pieces.append
        nothing = self._nothing
        for kind, place in self.fields:
            value = line[place]
            if value is None:
                add(nothing[kind])
            elif type(value) is str:
                data = value.encode()
                add(_head(kind, len(data)))
                add(data)
            elif kind == _INT8:
                add(_int8(kind, 8, value))
            elif kind == _INT4:
                add(_int4(kind, 4, value))
            elif kind == _BOOL:
                add(_bool(kind, 1, value))
            else:
                assert isinstance(value, bytes)
                add(_head(kind, len(value)))
                add(value)
        return b"".join(pieces)


def read_row_types(session: "psycopg.Connection") -> dict[str, RowType]:
    """The row types of the hot path's tables, by table name."""
    wanted = {table.name: table for table in HOT}
    found: dict[str, tuple[int, list[tuple[int, int]]]] = {}
    for name, type_id, column, kind in session.execute(_CATALOGUE, [list(wanted)]):
        places = {column.name: place for place, column in enumerate(wanted[name].columns)}
        found.setdefault(name, (type_id, []))[1].append((kind, places[column]))
    return {name: RowType(type_id, tuple(fields)) for name, (type_id, fields) in found.items()}


def text_array(values: Sequence[str]) -> bytes:
    """The values as one parameter `$n::text[]`."""
    if not values:
        return _array_head(0, 0, _TEXT, 0, 0)[:12]
    pieces = [_array_head(1, 0, _TEXT, len(values), 1)]
    for value in values:
        data = value.encode()
        pieces += (_word(len(data)), data)
    return b"".join(pieces)


def int8_array(values: Sequence[int]) -> bytes:
    """The values as one parameter `$n::int8[]`."""
    if not values:
        return _array_head(0, 0, _INT8, 0, 0)[:12]
    return _array_head(1, 0, _INT8, len(values), 1) + b"".join([_element(8, value) for value in values])


def int8(value: int) -> bytes:
    """One parameter `$n::int8`."""
    return value.to_bytes(8, "big", signed=True)


HOT: Final = (
    tables.runs,
    tables.idempotency_keys,
    tables.leases,
    tables.attempts,
    tables.sends,
    tables.events,
    tables.decisions,
    tables.artifacts,
    tables.dedupe_keys,
    tables.deliveries,
)
"""The tables that the hot path writes."""
