"""Every answer that GitHub documents becomes an output as declared."""

import json
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from fix_github import CATALOG, GITHUB_OPERATIONS, OPERATIONS, SHA, plain_input
from interlock import sdk
from interlock.testing.github.description import Description

GITHUB = Description.load()
FACTS = sdk.Facts(subject="octo-agent", started_at=datetime(2026, 3, 1, 12, 0, tzinfo=UTC))
EXAMPLES = {"date-time": "2026-03-01T12:00:00Z", "uri": "https://github.com/x"}


def sample(schema: dict[str, Any], components: dict[str, Any], *, full: bool, depth: int = 0) -> Any:
    """A value of a schema: with everything that is named, or with nothing but what must be there."""

    def inner(part: dict[str, Any]) -> Any:
        return sample(part, components, full=full, depth=depth + 1)

    if "$ref" in schema:
        return inner(components[schema["$ref"].rpartition("/")[2]])
    if "allOf" in schema:
        merged: dict[str, Any] = {}
        for part in schema["allOf"]:
            merged |= inner(part)
        return merged
    if "anyOf" in schema:
        return inner(schema["anyOf"][0])
    kind: Any = schema.get("type")
    if isinstance(kind, list):
        if not full and "null" in kind:
            return None
        kind = cast("list[str]", kind)[0]
    if "enum" in schema:
        return schema["enum"][0]
    if kind == "array":
        items = schema.get("items", {})
        return [inner(items)] * schema.get("minItems", 1) if full and depth < 8 else []
    if kind == "object" or "properties" in schema:
        required = schema.get("required", ())
        named: dict[str, dict[str, Any]] = schema.get("properties", {})
        return {name: inner(part) for name, part in named.items() if name in required or (full and depth < 8)}
    plain = {"integer": 1, "number": 1.5, "boolean": True, "null": None}
    return plain[kind] if kind in plain else EXAMPLES.get(schema.get("format", ""), SHA)


def output_of(operation_id: str, status: int, body: Any, **headers: str) -> dict[str, Any]:
    capability = CATALOG.fetch(f"github.{operation_id}")
    value = plain_input(operation_id)
    capability.validate_input(value)
    program = sdk.program(capability.operation, value, FACTS)
    next(program)
    content = b"" if body is None else json.dumps(body).encode()
    with pytest.raises(StopIteration) as stopped:
        program.send(sdk.HttpResponse(status=status, headers=tuple(headers.items()), body=content))
    capability.validate_output(stopped.value.value.value)
    return stopped.value.value.value


def documented(operation_id: str) -> list[tuple[int, str, Any]]:
    """The documented successes: GitHub's own examples, and a sparse and a full answer made of the schema."""
    described = GITHUB.operations[GITHUB_OPERATIONS[operation_id]]
    found: list[tuple[int, str, Any]] = []
    for status, schema in described.answers.items():
        if status[0] != "2":
            continue
        found += [(int(status), "example", example) for example in described.examples[status]]
        if schema is None:
            found.append((int(status), "empty", None))
        else:
            components = GITHUB._schemas  # pyright: ignore[reportPrivateUsage]
            found += [
                (int(status), kind, sample(schema, components, full=kind == "full")) for kind in ("full", "sparse")
            ]
    return found


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_documented_answers_become_outputs(operation_id: str):
    answers = documented(operation_id)
    http = OPERATIONS[operation_id].http
    assert http is not None
    assert {status for status, _, _ in answers} <= set(http.success)
    for status, kind, body in answers:
        # What is made of the schema must itself be right, or it proves nothing. (Some of GitHub's own examples are not.)
        assert kind == "example" or GITHUB.check_answer(GITHUB_OPERATIONS[operation_id], status, body) == [], kind
        output = output_of(operation_id, status, body)
        assert output["repo"] == "octocat/Hello-World"
        assert output["actor"] == "octo-agent"


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_examples_fill_outputs(operation_id: str):
    """A property that no documented answer fills would be a typo."""
    described = GITHUB.operations[GITHUB_OPERATIONS[operation_id]]
    if not any(described.examples.values()):
        return
    filled: set[str] = set()
    for status, _, body in documented(operation_id):
        filled |= _names(output_of(operation_id, status, body, link='<https://x/y?page=2>; rel="next"'))
    missing = _declared(OPERATIONS[operation_id].output_schema) - filled
    assert not missing


def _names(value: Any) -> set[str]:
    """The names of all members that are there, at any depth."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        here = {name for name, part in members.items() if part is not None}
        return here.union(*(_names(part) for part in members.values()))
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return set[str]().union(*(_names(item) for item in items))


def _declared(schema: dict[str, Any]) -> set[str]:
    own = set(schema.get("properties", {}))
    return own.union(*(_declared(part) for part in schema.get("$defs", {}).values()))


def test_a_pull_request_among_issues_is_told_apart():
    bodies = documented("issue.list")
    full = next(body for _, kind, body in bodies if kind == "full")
    plain = {name: value for name, value in full[0].items() if name != "pull_request"}
    issues = output_of("issue.list", 200, [full[0], plain])["issues"]
    assert "pull_request_url" in issues[0]
    assert "pull_request_url" not in issues[1]
