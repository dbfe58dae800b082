"""Errors of documents: all that is wrong is told, to people and to programs."""

import pytest

from interlock import agents, sdk

PROBLEMS = [
    sdk.Problem(path="$.a", problem="it is missing"),
    sdk.Problem(path="$.b", problem="there is no such key", suggestion="did you mean 'c'?", line=7),
]


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (sdk.InvalidManifest, "the connector from f.yaml"),
        (sdk.InvalidProvider, "f.yaml"),
        (agents.InvalidSpec, "f.yaml"),
    ],
)
def test_every_kind_of_document_tells_its_problems_alike(kind: type[sdk.InvalidDocument], what: str):
    error = kind("f.yaml", PROBLEMS)
    assert error.message.split("\n") == [
        f"{what} has 2 problems:",
        "  $.a: it is missing",
        "  line 7: $.b: there is no such key (did you mean 'c'?)",
    ]
    assert error.problems == tuple(PROBLEMS)
    assert error.details == {
        "source": "f.yaml",
        "problems": [
            {"path": "$.a", "problem": "it is missing", "suggestion": None, "line": None},
            {"path": "$.b", "problem": "there is no such key", "suggestion": "did you mean 'c'?", "line": 7},
        ],
    }
    assert "f.yaml has 1 problem:\n" in kind("f.yaml", PROBLEMS[:1]).message
