"""Values of a JSON Schema, as far as inputs of operations use it: for property tests of connectors."""

import re
from collections.abc import Mapping
from datetime import UTC
from typing import Any, cast

from hypothesis import strategies as st

Schema = Mapping[str, Any]

# What people write, in any script. Control characters are left out: no name or path on a service holds them.
LETTERS = st.characters(exclude_categories=("Cs", "Cc"))

# A segment that is empty, or that some server takes for the folder itself or the one above.
_LEAVES = re.compile(r"(?:^|/)(?:/|$)|(?:^|[/\\])\.{1,2}(?:[/\\;]|$)")


def values(schema: Schema, root: Schema | None = None) -> st.SearchStrategy[Any]:
    """Values that the schema allows. Raises AssertionError for a schema of a kind that it does not know."""
    root = schema if root is None else root
    if "$ref" in schema:
        return values(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return st.one_of([values(branch, root) for branch in schema["anyOf"]])
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    match schema.get("type"):
        case "object":
            return _objects(schema, root)
        case "array":
            return st.lists(values(schema["items"], root), min_size=schema.get("minItems", 0), max_size=3)
        case "integer":
            return st.integers(schema.get("minimum", -(2**31)), schema.get("maximum", 2**31))
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "string":
            return _texts(schema)
        case kind:
            raise AssertionError(f"no strategy for {kind!r} in {schema}")


def _objects(schema: Schema, root: Schema) -> st.SearchStrategy[dict[str, Any]]:
    fields = {name: values(part, root) for name, part in cast("Schema", schema["properties"]).items()}
    required = set(schema.get("required", ()))
    least = schema.get("minProperties", 0)
    return st.fixed_dictionaries(
        {name: fields[name] for name in fields if name in required},
        optional={name: fields[name] for name in fields if name not in required},
    ).filter(lambda value: len(value) >= least)


def _texts(schema: Schema) -> st.SearchStrategy[str]:
    if schema.get("format") == "date-time":
        return st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.isoformat().replace("+00:00", "Z"))
    if "pattern" in schema:
        made = st.from_regex(schema["pattern"], fullmatch=True, alphabet=LETTERS)
    elif schema.get("x-path") == "slashes":
        made = st.lists(st.text(LETTERS, min_size=1, max_size=8), min_size=1, max_size=4).map("/".join)
    else:
        made = st.text(LETTERS, min_size=schema.get("minLength", 0), max_size=20)
    if schema.get("x-path") == "slashes":
        made = made.filter(lambda text: not _LEAVES.search(text))
    return made.filter(lambda text: len(text) <= schema.get("maxLength", len(text)))
