"""Policy and budgets as a file says them: two rooms' tables, with all that is wrong in either at once."""

from interlock import budgets, policy
from interlock.app.mistakes import InvalidSettings


def read(document: policy.Document, *, alone: bool = False) -> tuple[policy.Policy, tuple[budgets.Rule, ...]]:
    """Policy and budgets of a file, which may be there for them `alone`. Raises InvalidPolicy, InvalidBudget, and
    InvalidSettings if both are wrong."""
    errors: list[policy.InvalidPolicy | budgets.InvalidBudget] = []
    judged, limits = policy.DEFAULT, ()
    try:
        judged = policy.from_policy_file(document) if alone else policy.from_document(document)
    except policy.InvalidPolicy as error:
        errors.append(error)
    try:
        limits = budgets.parse_rules(document.value.get("budgets", []), locate=document.locate)
    except budgets.InvalidBudget as error:
        errors.append(error)
    if len(errors) > 1:
        raise InvalidSettings([problem for error in errors for problem in _problems(error, document)])
    if errors:
        raise errors[0]
    return judged, limits


def problems(document: policy.Document) -> list[policy.Problem]:
    """What is wrong with policy and budgets of a file that holds settings as well."""
    try:
        read(document)
    except (policy.InvalidPolicy, budgets.InvalidBudget, InvalidSettings) as error:
        return _problems(error, document)
    return []


def _problems(
    error: policy.InvalidPolicy | budgets.InvalidBudget | InvalidSettings, document: policy.Document
) -> list[policy.Problem]:
    if not isinstance(error, budgets.InvalidBudget):
        return list(error.problems)
    return [
        policy.Problem(path=path, text=text, suggestion=near, place=document.locate(path))
        for path, text, near in error.flaws
    ]
