"""A policy from the operator's file. All problems are reported at once, each with its place."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

from interlock.policy.decide import DEFAULT, Policy
from interlock.policy.document import Document
from interlock.policy.errors import InvalidPolicy, Place, Problem
from interlock.policy.model import Effect
from interlock.policy.rule import MATCHERS, Rule, find_flaws, is_role, nearest, repeated_ids

_FILE_KEYS = ("policy", "budgets")
KEYS = ("default", "reviewer", "rules")
"""What a policy consists of."""

_RULE_KEYS = ("id", "then", *MATCHERS, "pressure", "sandbox", "reason", "reviewer", "expires_after_s", "ahead")


def from_document(document: Document) -> Policy:
    """The policy under the document's key `policy`, or `DEFAULT` if it has none.

    A matcher is a text or a list of texts. Raises InvalidPolicy with every problem, its place and the nearest word.
    """
    if "policy" not in document.value:
        return DEFAULT
    table = cast("object", document.value["policy"])
    try:
        if not isinstance(table, dict):
            raise InvalidPolicy([Problem(path=(), text="must be a table")])
        return _build(cast("dict[str, Any]", table), document)
    except InvalidPolicy as error:
        placed = [replace(problem, path=("policy", *problem.path)) for problem in error.problems]
        raise InvalidPolicy([replace(problem, place=document.locate(problem.path)) for problem in placed]) from None


def from_policy_file(document: Document) -> Policy:
    """The policy of a file that is there for nothing else: a misspelt `policy` must not mean `DEFAULT`.

    The file has `policy` and may have `budgets`. Raises InvalidPolicy as `from_document`, and for any other key.
    """
    problems: list[Problem] = []
    for key in document.value:
        if key in KEYS:
            text = "stands at the top of the file, and belongs below the key 'policy'"
            problems.append(Problem(path=(key,), text=text, place=document.locate((key,))))
        elif key not in _FILE_KEYS:
            near = nearest(key, _FILE_KEYS)
            problems.append(Problem(path=(key,), text="unknown key", suggestion=near, place=document.locate((key,))))
    if "policy" not in document.value:
        text = f"the file has no such key; {', '.join(KEYS)} stand below it"
        problems.append(Problem(path=("policy",), text=text, place=document.locate(())))
    try:
        judged = from_document(document)
    except InvalidPolicy as error:
        problems += error.problems
    else:
        if not problems:
            return judged
    raise InvalidPolicy(problems)


def _build(table: dict[str, Any], document: Document) -> Policy:
    problems = list(_table_problems(table))
    rules: list[dict[str, Any]] = []
    for index, raw in enumerate(_rules(table)):
        rules.append(_normalise(raw))
        problems += _rule_problems(raw, rules[-1], index)
    problems += repeated_ids([rule.get("rule_id") for rule in rules])
    if problems:
        raise InvalidPolicy(problems)
    return Policy(
        rules=tuple(Rule(**rule, places=_places(document, index, rule)) for index, rule in enumerate(rules)),
        default=Effect(table.get("default", Effect.ASK)),
        reviewer=table.get("reviewer", "approver"),
    )


def _places(document: Document, index: int, rule: dict[str, Any]) -> dict[str, Place]:
    return {name: document.locate(("policy", "rules", index, name)) for name in MATCHERS if name in rule}


def _rules(table: dict[str, Any]) -> list[object]:
    rules = table.get("rules", [])
    return cast("list[object]", rules) if isinstance(rules, list) else []


def _table_problems(table: dict[str, Any]) -> Iterator[Problem]:
    for key in table:
        if key not in KEYS:
            yield Problem(path=(key,), text="unknown key", suggestion=nearest(key, KEYS))
    default, reviewer = table.get("default", Effect.ASK), table.get("reviewer", "approver")
    if not isinstance(default, str) or default not in tuple(Effect):
        words = tuple(effect.value for effect in Effect)
        text = f"{default!r} is none of {', '.join(words)}"
        yield Problem(path=("default",), text=text, suggestion=nearest(default, words))
    if not is_role(reviewer):
        yield Problem(path=("reviewer",), text=f"{str(reviewer)[:50]!r} is not the name of a role")
    if not isinstance(table.get("rules", []), list):
        yield Problem(path=("rules",), text="must be a list of tables: [[policy.rules]]")


def _normalise(raw: object) -> dict[str, Any]:
    """A rule's table in the shape of `Rule`'s fields."""
    if not isinstance(raw, dict):
        return {}
    values = {key: value for key, value in cast("dict[str, Any]", raw).items() if key in _RULE_KEYS}
    for name in MATCHERS:
        if isinstance(values.get(name), str):
            values[name] = (values[name],)
        elif isinstance(values.get(name), list):
            values[name] = tuple(values[name])
    if values.get("then") in tuple(Effect):
        values["then"] = Effect(values["then"])
    if "id" in values:
        values["rule_id"] = values.pop("id")
    return values


def _rule_problems(raw: object, values: dict[str, Any], index: int) -> Iterator[Problem]:
    if not isinstance(raw, dict):
        yield Problem(path=("rules", index), text="must be a table")
        return
    meant: set[str | None] = set()
    for key in cast("dict[str, object]", raw):
        if key not in _RULE_KEYS:
            meant.add(near := nearest(key, _RULE_KEYS))
            yield Problem(path=("rules", index, key), text="unknown key", suggestion=near)
    for path, text, suggestion in find_flaws(values):
        if (missing := path[0]) in ("id", "then") and missing not in raw:
            if missing in meant:
                continue  # it is there, and misspelt
            text, suggestion = f"a rule needs the key {missing!r}", None
        yield Problem(path=("rules", index, *path), text=text, suggestion=suggestion)
