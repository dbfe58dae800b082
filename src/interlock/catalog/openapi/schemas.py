"""A document's schemas as JSON Schemas that stand by themselves."""

import re
from collections.abc import Mapping
from typing import Any, Final, cast

MOST_NODES: Final = 5_000
"""Values that the schemas of one operation may have."""

MOST_STEPS: Final = 20
"""References that may lead to one another."""

Raw = dict[str, Any]

_DROPPED: Final = frozenset(
    {"example", "examples", "xml", "discriminator", "externalDocs", "nullable", "$schema", "$id"}
)
_NAMED: Final = frozenset({"properties", "$defs", "patternProperties", "dependentSchemas"})
_PLAIN: Final = frozenset({"default", "enum", "const", "required"})


class Unsayable(Exception):
    """Why an operation is left out. It never leaves the reader."""


def lookup(document: Raw, value: object) -> Raw:
    """An object of the document, or what a reference within the document leads to. Raises Unsayable."""
    for _ in range(MOST_STEPS):
        if not isinstance(value, Mapping):
            raise Unsayable("an object is expected where there is none")
        found = cast("Raw", value)
        reference = found.get("$ref")
        if not isinstance(reference, str):
            return found
        value = pointed(document, reference)
    raise Unsayable("references lead to one another without end")


def pointed(document: Raw, reference: str) -> object:
    """What a reference leads to. Raises Unsayable for one that leads out of the document, or nowhere."""
    if not reference.startswith("#/"):
        raise Unsayable(f"{reference[:100]!r} leads out of the document")
    place: object = document
    for step in reference[2:].split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(place, Mapping) or name not in place:
            raise Unsayable(f"{reference[:100]!r} leads nowhere")
        place = cast("object", place[name])
    return place


class Schemas:
    """The schemas of one operation. What they refer to stands once, among the definitions."""

    def __init__(self, document: Raw) -> None:
        self._document = document
        self._count = 0
        self._names: dict[str, str] = {}
        self._defined: Raw = {}

    def plain(self, value: object, *, named: bool = False) -> Any:
        """The same schema, as JSON Schema (2020-12), without annotations. Raises Unsayable."""
        self._count += 1
        if self._count > MOST_NODES:
            raise Unsayable(f"its schemas have more than {MOST_NODES} values")
        if isinstance(value, list):
            return [self.plain(each) for each in cast("list[object]", value)]
        if not isinstance(value, Mapping):
            return value
        members = cast("Raw", value)
        if named:
            return {name: self.plain(each) for name, each in members.items()}
        if isinstance(reference := members.get("$ref"), str):
            return {"$ref": f"#/$defs/{self._name_of(reference)}"}
        kept: Raw = {}
        for name, each in members.items():
            if name in _DROPPED or name.startswith("x-"):
                continue
            kept[name] = each if name in _PLAIN else self.plain(each, named=name in _NAMED)
        return _renewed(kept, nullable=members.get("nullable") is True)

    def definitions(self) -> Raw:
        """What the schemas so far refer to, and all that this refers to. Raises Unsayable."""
        while undone := [each for each, name in self._names.items() if name not in self._defined]:
            for reference in undone:
                self._defined[self._names[reference]] = self.plain(pointed(self._document, reference))
        return self._defined

    def _name_of(self, reference: str) -> str:
        if (known := self._names.get(reference)) is None:
            base = re.sub(r"[^A-Za-z0-9_]+", "_", reference.rpartition("/")[2]) or "schema"
            known = base if base not in self._names.values() else f"{base}_{len(self._names)}"
            self._names[reference] = known
        return known


def _renewed(schema: Raw, *, nullable: bool) -> Raw:
    """What OpenAPI 3.0 says otherwise than JSON Schema."""
    for limit, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(schema.get(exclusive), bool) and schema.pop(exclusive) and limit in schema:
            schema[exclusive] = schema.pop(limit)
    if nullable and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
        if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
    return schema
