"""What the GitHub connector reports: its triggers over what GitHub sends, and over GitHub's own description of it."""

from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any, cast

import orjson
import pytest

from github_events import EVENTS
from interlock import catalog, sdk
from interlock.connectors.github import connector

TRIGGERS = {each.trigger_id: each for each in connector.manifest.triggers if each.delivery == "webhook"}
SENT = [(event, index) for event, payloads in EVENTS.items() for index in range(len(payloads))]


def test_it_reports_these():
    assert set(TRIGGERS) == {"issues", "issue_comment", "pull_request", "push", "check_run", "release", "ping"}
    for event, trigger in TRIGGERS.items():
        assert trigger.delivery == "webhook"
        assert trigger.event == sdk.Event(header="X-GitHub-Event", values=(event,))
        assert trigger.verification == sdk.scheme("github")
        assert trigger.filters.keys() == trigger.config_schema["properties"].keys()


@pytest.mark.parametrize(("event", "index"), SENT)
def test_what_github_sends_fits(event: str, index: int):
    assert catalog.compile_schema(TRIGGERS[event].signal_schema)(EVENTS[event][index]) == []


@pytest.mark.parametrize("event", EVENTS)
def test_what_lacks_something_does_not_fit(event: str):
    validate = catalog.compile_schema(TRIGGERS[event].signal_schema)
    payload = EVENTS[event][0]
    for name in TRIGGERS[event].signal_schema["required"]:
        wrong = {key: value for key, value in payload.items() if key != name}
        assert validate(wrong) != [], name
        assert validate({**payload, name: 1.5}) != [], name


@pytest.mark.parametrize(
    ("event", "config", "told"),
    [
        ("issues", {"repo": "acme/rocket", "actions": ["opened", "closed"]}, []),
        ("push", {"refs": ["refs/heads/main"]}, []),
        ("ping", {}, []),
        ("issues", {"actions": ["open"]}, ["$.actions[0]"]),
        ("issues", {"actions": []}, ["$.actions"]),
        ("push", {"refs": ["main"]}, ["$.refs[0]"]),
        ("push", {"actions": ["opened"]}, ["$.actions"]),
        ("release", {"repo": "rocket"}, ["$.repo"]),
    ],
)
def test_what_may_be_asked_for(event: str, config: Mapping[str, Any], told: list[str]):
    found = catalog.compile_schema(TRIGGERS[event].config_schema)({**config})
    assert [each.path for each in found] == told


@pytest.mark.parametrize("event", EVENTS)
def test_filters_look_where_the_events_have_it(event: str):
    for place in TRIGGERS[event].filters.values():
        assert all(
            isinstance(sdk.read_pointer(payload, place), str) for payload in EVENTS[event] if "repository" in payload
        )


@pytest.mark.parametrize("event", sorted(set(EVENTS) - {"ping"}))  # GitHub's description requires nothing of a ping
def test_it_expects_nothing_that_github_does_not_promise(event: str):
    described = Described()
    ours = TRIGGERS[event].signal_schema
    assert list(described.broken_promises(ours, ours, described.events[event], event)) == []


class Described:
    """GitHub's own description of its events, which is in OpenAPI 3.0."""

    def __init__(self) -> None:
        data = resources.files("interlock.testing") / "data"
        told = orjson.loads((data / "github.events.json").read_bytes())
        described = orjson.loads((data / "github.openapi.json").read_bytes())
        self.events: Mapping[str, Any] = told["events"]
        self._schemas: Mapping[str, Any] = {**described["components"]["schemas"], **told["schemas"]}

    def broken_promises(
        self, node: Mapping[str, Any], root: Mapping[str, Any], theirs: Mapping[str, Any], path: str
    ) -> Iterator[str]:
        """Where GitHub may send what we would refuse."""
        theirs, nullable = self._merged(theirs)
        node, takes_null = _ours(node, root)
        if nullable and not takes_null:
            yield f"{path} may be null"
        kind, their_kind = node.get("type"), theirs.get("type")
        if kind is not None and their_kind is not None and kind != their_kind:
            yield f"{path} is {their_kind}, not {kind}"
        if "enum" in node and not set(theirs.get("enum", [object()])) - {None} <= set(node["enum"]):
            yield f"{path} may be something else"
        if "items" in node and "items" in theirs:
            yield from self.broken_promises(node["items"], root, theirs["items"], f"{path}[]")
        for name in node.get("required", ()):
            if name not in theirs.get("required", ()):
                yield f"{path}.{name} may be missing"
        for name, part in node.get("properties", {}).items():
            if name not in theirs["properties"]:
                yield from [f"{path}.{name} is not known"] if name not in _TOLD_OF_SOME else []
            else:
                yield from self.broken_promises(part, root, theirs["properties"][name], f"{path}.{name}")

    def _merged(self, theirs: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
        while "$ref" in theirs:
            theirs = self._schemas[theirs["$ref"].rpartition("/")[2]]
        whole: dict[str, Any] = {**theirs}
        for part in theirs.get("allOf", ()):
            more, _ = self._merged(part)
            whole = {**more, **whole}
            whole["required"] = [*whole.get("required", ()), *more.get("required", ())]
            whole["properties"] = {**more.get("properties", {}), **whole.get("properties", {})}
        return whole, bool(theirs.get("nullable"))


_TOLD_OF_SOME = {"label"}
"""Which actions have it, others than the described one."""


def _ours(node: Mapping[str, Any], root: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """The node itself, and whether null is taken there, too."""
    takes_null = False
    while "$ref" in node or "anyOf" in node:
        if "$ref" in node:
            node = root["$defs"][node["$ref"].rpartition("/")[2]]
        else:
            branches = cast("list[Mapping[str, Any]]", node["anyOf"])
            takes_null = takes_null or any(each.get("type") == "null" for each in branches)
            [node] = [each for each in branches if each.get("type") != "null"]
    return node, takes_null
