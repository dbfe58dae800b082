"""What a limited caller sees and may ask for."""

import pytest

from interlock.kernel import Caller

ISSUES = Caller(actor="ci", capabilities=frozenset({"github.issue.*", "github.repo.fetch"}))
WORK = Caller(actor="ci", connections=frozenset({"con_1"}))
ANY = Caller(actor="ci")


@pytest.mark.parametrize(
    ("caller", "capability", "connection_id", "sees"),
    [
        (ANY, "slack.post", "con_2", True),
        (ISSUES, "github.issue.create", "con_2", True),
        (ISSUES, "github.issue.x.y", None, True),
        (ISSUES, "github.repo.fetch", None, True),
        (ISSUES, "github.repo.fetch2", None, False),
        (ISSUES, "github.issue", None, False),
        (ISSUES, "github.issues.create", None, False),
        (WORK, "slack.post", "con_1", True),
        (WORK, "slack.post", None, True),
        (WORK, "slack.post", "con_2", False),
    ],
)
def test_what_is_seen(caller: Caller, capability: str, connection_id: str | None, sees: bool):
    assert caller.sees(capability, connection_id) is sees


@pytest.mark.parametrize(
    ("caller", "asked", "left"),
    [
        (ANY, None, None),
        (ANY, ["b", "a"], ("a", "b")),
        (ISSUES, None, ("github.issue.*", "github.repo.fetch")),
        (ISSUES, ["github.issue.create", "slack.post"], ("github.issue.create",)),
        (ISSUES, ["github.*"], ("github.issue.*", "github.repo.fetch")),
        (ISSUES, ["*"], ("github.issue.*", "github.repo.fetch")),
        (ISSUES, [], ()),
        (WORK, None, None),
    ],
)
def test_a_request_is_narrowed_to_the_callers(caller: Caller, asked: list[str] | None, left: tuple[str, ...] | None):
    assert caller.narrowed(asked) == left
