"""One operation of a document, as one of a manifest."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from interlock import sdk
from interlock.catalog.openapi.schemas import Raw, Schemas, Unsayable, lookup

METHODS: Final[Mapping[str, tuple[str, str]]] = {
    "get": ("read", "natural"),
    "post": ("create", "none"),
    "put": ("update", "natural"),
    "patch": ("update", "none"),
    "delete": ("delete", "natural"),
}
"""What an operation of that method does, and what doing it twice means."""

_FIELD: Final = re.compile(r"[^A-Za-z0-9_]+")
_HOLE: Final = re.compile(r"\{([^{}]*)\}")
_MOST_FIELDS: Final = 200
_MOST_TEXT: Final = 2000


def operation_id(method: str, path: str, said: Raw) -> str:
    """`listPets`, `issues/list-for-repo` or, where it has none, its method and path, in lower-case words joined by dots."""
    given = said.get("operationId")
    text = given if isinstance(given, str) and given else f"{method}/{path}"
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()
    words = [re.sub(r"[^a-z0-9]+", "_", each).strip("_") for each in re.split(r"[/.]", text)]
    named = ".".join(each if each[0].isalpha() else f"n{each}" for each in words if each)
    return named[:100].rstrip("._") or method


def draft(document: Raw, path: str, method: str, item: Raw, said: Raw) -> sdk.Draft:
    """The operation as a manifest says it. Raises Unsayable."""
    schemas, fields = Schemas(document), _Fields()
    headers = _parameters(document, schemas, fields, [*_listed(item, "parameters"), *_listed(said, "parameters")])
    if method in ("post", "put", "patch", "delete"):
        _body(document, schemas, fields, said, method)
    elif "requestBody" in said:
        raise Unsayable("a GET has no body")
    holes = _HOLE.findall(path)
    if missing := [hole for hole in holes if ("path", hole) not in fields.placed]:
        raise Unsayable(f"nothing says what {{{missing[0]}}} in its path is")
    effect, idempotency = METHODS[method]
    summary = _text(said.get("summary")) or operation_id(method, path, said)
    http: Raw = {
        "method": method.upper(),
        "path": _HOLE.sub(lambda match: f"{{{fields.placed['path', match[1]]}}}", path),
        "success": _success(said),
    }
    for name, members in (("query", fields.of("query")), ("body", fields.of("body")), ("headers", headers)):
        if members:
            http[name] = members
    return {
        "operation_id": operation_id(method, path, said),
        "display_name": summary[:200],
        "description": (_text(said.get("description")) or summary)[:_MOST_TEXT],
        "effect": effect,
        "idempotency": idempotency,
        "surface": {"mode": "local", "reason": "specific to this service"},
        "schemas": {
            "input": "defined",
            "output": "passthrough",
            "justification": "what the document says of answers is not held against them: what was done is done",
        },
        "input_schema": fields.schema(schemas.definitions()),
        "output_schema": {"type": "object", "properties": {"body": {"x-from": "", "description": "The answer."}}},
        "http": http,
    }


class _Fields:
    """The input's fields: each stands in the path, the query or the body, under its name there."""

    def __init__(self) -> None:
        self.placed: dict[tuple[str, str], str] = {}
        self._schemas: Raw = {}
        self._required: list[str] = []

    def add(self, place: str, name: str, schema: object, *, required: bool) -> None:
        plain = _FIELD.sub("_", name).strip("_")[:60] or place
        field = plain if plain not in self._schemas else f"{place}_{plain}"
        if field in self._schemas or len(self._schemas) >= _MOST_FIELDS:
            raise Unsayable(f"it has too many fields, or two that are called {field}")
        self.placed[place, name] = field
        self._schemas[field] = schema
        if required:
            self._required.append(field)

    def of(self, place: str) -> dict[str, str]:
        return {field: name for (where, name), field in self.placed.items() if where == place}

    def schema(self, definitions: Raw) -> Raw:
        made: Raw = {"type": "object", "additionalProperties": False, "properties": self._schemas}
        if self._required:
            made["required"] = self._required
        return {**made, "$defs": definitions} if definitions else made


def _parameters(document: Raw, schemas: Schemas, fields: _Fields, listed: Sequence[object]) -> dict[str, str]:
    """Puts parameters among the fields; the headers that have one value are returned."""
    last: dict[tuple[str, str], Raw] = {}
    for each in listed:
        found = lookup(document, each)
        last[str(found.get("in")), str(found.get("name"))] = found  # the operation's own after those of its path
    headers: dict[str, str] = {}
    for (place, name), found in last.items():
        required = found.get("required") is True or place == "path"
        schema = found.get("schema", {})
        try:
            if place == "header":
                headers |= _header(document, name, schema, required=required)
                continue
            if place not in ("path", "query"):
                raise Unsayable(f"the parameter {name!r} is a {place[:20]}")
            plain = cast("object", schemas.plain(schema))
            _flat(document, name, found, schema)
        except Unsayable:
            if required:
                raise
            continue
        about = _text(found.get("description"))[:_MOST_TEXT]
        if about and isinstance(plain, dict) and "$ref" not in plain:
            cast("Raw", plain)["description"] = about
        fields.add(place, name, cast("object", plain), required=required)
    return headers


def _header(document: Raw, name: str, schema: object, *, required: bool) -> dict[str, str]:
    """A header that always says the same."""
    if name.lower() in ("accept", "content-type", "authorization"):  # these are ours to set
        return {}
    found = lookup(document, schema)
    only = cast("list[object]", found.get("enum")) if isinstance(found.get("enum"), list) else []
    value = found.get("const", found.get("default", only[0] if len(only) == 1 else None))
    if isinstance(value, str):
        return {name.lower(): value}
    if required:
        raise Unsayable(f"the header {name!r} is the caller's to choose")
    return {}


def _flat(document: Raw, name: str, parameter: Raw, schema: object) -> None:
    """What stands in an address is one text: lists are joined by commas there, and objects have no form."""
    if "content" in parameter:
        raise Unsayable(f"the parameter {name!r} is a document of its own")
    kind = lookup(document, schema).get("type")
    if kind == "object":
        raise Unsayable(f"the parameter {name!r} is an object")
    joined = parameter.get("explode") is False or parameter.get("in") == "path"
    if kind == "array" and not joined:
        raise Unsayable(f"the parameter {name!r} is repeated for each of its values")


def _body(document: Raw, schemas: Schemas, fields: _Fields, said: Raw, method: str) -> None:
    if "requestBody" not in said:
        return
    body = lookup(document, said["requestBody"])
    required = body.get("required") is True
    if method == "delete":
        if required:
            raise Unsayable("a DELETE has no body here")
        return
    content = cast("Raw", body.get("content")) if isinstance(body.get("content"), Mapping) else {}
    form = next((each for name, each in content.items() if re.fullmatch(r"application/(.+\+)?json(;.*)?", name)), None)
    if form is None:
        raise Unsayable(f"its body is {', '.join(content)[:100] or 'nothing'}, and no JSON")
    for name, schema, needed in _members(document, lookup(document, form).get("schema", {})):
        fields.add("body", name, schemas.plain(schema), required=needed and required)


def _members(document: Raw, schema: object, depth: int = 0) -> Iterator[tuple[str, object, bool]]:
    """The members of a body, by name, with their schemas and whether they are needed."""
    found = lookup(document, schema)
    if depth > 8 or {"oneOf", "anyOf"} & found.keys() or not {"properties", "allOf"} & found.keys():
        raise Unsayable("its body is no object with members of fixed names")
    seen: dict[str, tuple[object, bool]] = {}
    for each in _listed(found, "allOf"):
        seen |= {name: (part, needed) for name, part, needed in _members(document, each, depth + 1)}
    needed = _listed(found, "required")
    own = cast("Raw", found.get("properties")) if isinstance(found.get("properties"), Mapping) else {}
    seen |= {name: (part, name in needed) for name, part in own.items()}
    for name, (part, is_needed) in seen.items():
        if not (isinstance(part, Mapping) and cast("Raw", part).get("readOnly") is True):
            yield name, part, is_needed or name in needed


def _success(said: Raw) -> list[int]:
    answers = cast("Raw", said.get("responses")) if isinstance(said.get("responses"), Mapping) else {}
    named = {int(each) for each in answers if re.fullmatch(r"2\d\d", str(each))}
    return sorted(named | {200, 201, 204})


def _listed(holder: Raw, name: str) -> list[Any]:
    value = holder.get(name)
    return cast("list[Any]", value) if isinstance(value, list) else []


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""
