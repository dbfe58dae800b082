"""GitHub's description judges requests and answers."""

import re
from importlib import resources

import pytest

from interlock.testing.github import Description
from interlock.testing.github.passage import OPERATIONS

DESCRIPTION = Description.load()
REPO = "/repos/acme/rocket"
SHA = "a" * 40

ACCEPTED: list[tuple[str, str, object]] = [
    ("GET", "/user", None),
    ("GET", REPO, None),
    ("GET", f"{REPO}/issues?state=all&per_page=100&page=2&since=2026-01-01T00:00:00Z", None),
    ("POST", f"{REPO}/issues", {"title": "x", "labels": ["bug", {"name": "new"}], "assignees": ["mona"]}),
    ("PATCH", f"{REPO}/issues/1", {"state": "closed", "body": None}),
    ("POST", f"{REPO}/issues/1/labels", {"labels": ["bug"]}),
    ("GET", f"{REPO}/commits/heads%2Fmain/check-runs?filter=all&app_id=3", None),
    ("PUT", f"{REPO}/contents/docs/a%20b.txt", {"message": "m", "content": "aGk=", "committer": {"name": "n", "email": "e"}}),
    ("DELETE", f"{REPO}/git/refs/heads/feature/x", None),
]  # fmt: skip
REFUSED: list[tuple[str, str, object, str]] = [
    ("GET", f"{REPO}/issues?stat=all", None, "no query parameter 'stat'"),
    ("GET", f"{REPO}/issues?state=opened", None, '"opened" is not one of'),
    ("GET", f"{REPO}/issues?per_page=many", None, 'not of type "integer"'),
    ("GET", f"{REPO}/issues?since=yesterday", None, "date-time"),
    ("POST", f"{REPO}/issues", None, "a body is required"),
    ("POST", f"{REPO}/issues", {}, '"title" is a required property'),
    ("POST", f"{REPO}/issues", {"title": "x", "labels": "bug"}, "body/labels"),
    ("POST", f"{REPO}/issues", {"title": "x", "bdoy": "y"}, "'bdoy' was unexpected"),
    (
        "PUT",
        f"{REPO}/contents/a",
        {"message": "m", "content": "", "author": {"name": "n", "email": "e", "nick": 1}},
        "nick",
    ),
    ("POST", f"{REPO}/git/refs", {"ref": "refs/heads/x", "sha": None}, "body/sha"),
    ("GET", REPO, {"a": 1}, "takes no body"),
    ("GET", f"{REPO}/issues/one", None, "not described"),
    ("DELETE", REPO, None, "not described"),
]


@pytest.mark.parametrize(("method", "target", "body"), ACCEPTED)
def test_what_is_described_is_accepted(method: str, target: str, body: object):
    assert DESCRIPTION.check_request(method, target, body) == []


@pytest.mark.parametrize(("method", "target", "body", "complaint"), REFUSED)
def test_what_is_not_described_is_refused(method: str, target: str, body: object, complaint: str):
    problems = DESCRIPTION.check_request(method, target, body)
    assert len(problems) == 1
    assert complaint in problems[0]


def test_all_problems_are_named_at_once():
    problems = DESCRIPTION.check_request("POST", f"{REPO}/issues?a=1&b=2", {"title": None, "x": 1})
    assert len(problems) == 4


@pytest.mark.parametrize(
    ("path", "operation_id", "ref"),
    [
        (f"{REPO}/commits/heads/main/status", "repos/get-combined-status-for-ref", "heads/main"),
        (f"{REPO}/commits/heads/main", "repos/get-commit", "heads/main"),
        (f"{REPO}/commits", "repos/list-commits", None),
        (f"{REPO}/git/ref/tags/v1", "git/get-ref", "tags/v1"),
    ],
)
def test_the_most_specific_path_wins(path: str, operation_id: str, ref: str | None):
    found = DESCRIPTION.find("GET", path)
    assert found is not None
    assert (found[0].operation_id, found[1].get("ref")) == (operation_id, ref)


def test_every_described_operation_is_served():
    assert OPERATIONS.keys() == DESCRIPTION.operations.keys()


def test_defaults_are_filled_in_and_numbers_become_numbers():
    operation = DESCRIPTION.operations["issues/list-for-repo"]
    values, problems = DESCRIPTION.check_query(operation, {"page": "3"})
    assert problems == []
    assert values == {"state": "open", "sort": "created", "direction": "desc", "per_page": 30, "page": 3}


@pytest.mark.parametrize(
    "operation_id", ["git/get-ref", "issues/get-comment", "pulls/list-reviews", "repos/get-content"]
)
def test_githubs_own_examples_are_good_answers(operation_id: str):
    examples = DESCRIPTION.operations[operation_id].examples["200"]
    assert examples
    assert [DESCRIPTION.check_answer(operation_id, 200, example) for example in examples] == [[]] * len(examples)


def test_the_other_examples_are_wrong_only_in_what_they_lack():
    """The prose was cut from them before the description came here, and four other members were missing as well."""
    problems = [
        problem
        for operation_id, operation in DESCRIPTION.operations.items()
        for status, examples in operation.examples.items()
        for example in examples
        for problem in DESCRIPTION.check_answer(operation_id, int(status), example)
    ]
    lacking = {re.sub(r'.*: "(\w+)" is a required property', r"\1", problem) for problem in problems}
    assert lacking == {"description", "summary"} | {"contents_url", "language", "sha", "type"}


def test_examples_are_never_mere_references():
    examples = DESCRIPTION.operations["issues/get"].examples["200"]
    assert [example["number"] for example in examples] == [1347, 1347]


def test_a_damaged_example_is_no_good_answer():
    example = DESCRIPTION.operations["git/get-ref"].examples["200"][0]
    assert DESCRIPTION.check_answer("git/get-ref", 200, {**example, "ref": 1}) != []
    assert DESCRIPTION.check_answer("git/get-ref", 200, {**example, "object": {}}) != []
    assert DESCRIPTION.check_answer("git/get-ref", 404, {"message": 1}) != []
    assert DESCRIPTION.check_answer("git/get-ref", 418, "not judged") == []


def test_the_description_ships_with_its_licence():
    text = resources.files("interlock.testing").joinpath("data", "github.LICENSE").read_text()
    assert "Copyright (c) 2020 GitHub" in text
    assert "MIT License" in text
