"""Rules that name what is not there: a rule that restrains and is misspelt would protect nothing, and say nothing."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from fnmatch import fnmatchcase, translate
from functools import lru_cache
from typing import Final, TypeAlias

from interlock import sdk
from interlock.policy.errors import Problem
from interlock.policy.model import Effect
from interlock.policy.rule import Rule

_ALIKE: Final = 0.8
"""How much two parts of a name have in common if one is probably the other, misspelt: isue and issue, not delete and
create."""

TASKS: Final = frozenset({"agent", "handler", "inference"})
"""The first parts of the names of tasks: a program brings them along, so that no catalogue has them."""

_Tree: TypeAlias = "dict[str, _Tree]"
"""The parts with which names begin, each with those that may follow. A name's end is an empty part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """A pattern of a rule that matches nothing that is there, and what was probably meant by it."""

    rule: Rule
    matcher: str
    pattern: str
    near: str | None

    @property
    def protects_nothing(self) -> bool:
        """Whether a call gets away by it, as far as one can tell: it was to restrain, and is a typo."""
        return self.rule.then is not Effect.ALLOW and self.near is not None

    def problem(self) -> Problem:
        """The same, as what is wrong with a policy."""
        return Problem(
            path=(self.matcher,),
            text=f"rule {self.rule.rule_id!r}: no {self.matcher} that is installed is {self.pattern!r}",
            suggestion=self.near,
            place=self.rule.places.get(self.matcher),
        )


def find_strays(
    rules: Collection[Rule],
    capabilities: Collection[str],
    *,
    tenant_id: str | None = None,
    elsewhere: Collection[str] = (),
) -> Iterator[Stray]:
    """The patterns that match none of these capabilities (their ids) or their connectors. Those of connectors `elsewhere` are
    none, nor those of tasks that are like nothing there, nor those of rules that are written ahead or, if `tenant_id` is given,
    for other tenants."""
    known = {"capability": _Known(capabilities), "connector": _Known({each.split(".")[0] for each in capabilities})}
    others = _Known(elsewhere)
    for rule in rules:
        if rule.ahead or (tenant_id is not None and not _is_for(rule, tenant_id)):
            continue
        for matcher, patterns in (("capability", rule.capability), ("connector", rule.connector)):
            for pattern in patterns:
                begins = pattern.partition(".")[0]
                if known[matcher].has(pattern) or others.has(begins):
                    continue
                near = known[matcher].meant(pattern)
                if near is not None or begins not in TASKS:
                    yield Stray(rule=rule, matcher=matcher, pattern=pattern, near=near)


def _is_for(rule: Rule, tenant_id: str) -> bool:
    return not rule.tenant or any(fnmatchcase(tenant_id, pattern.replace("[", "[[]")) for pattern in rule.tenant)


class _Known:
    """The names that are there. What is asked of them takes the longer the more of them are like the pattern, not the more
    there are: a policy may name thousands."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._tree: _Tree = {}
        for name in sorted(self._names):
            node = self._tree
            for part in (*name.split("."), ""):
                node = node.setdefault(part, {})

    def has(self, pattern: str) -> bool:
        """Whether the pattern matches one of them."""
        if pattern in self._names:
            return True
        return _is_glob(pattern) and any(map(re.compile(translate(pattern)).match, self._names))

    def meant(self, pattern: str) -> str | None:
        """The pattern with its misspelt parts put right, if all of its parts are those of a name that is there, or nearly."""
        return _meant(pattern.split("."), self._tree)


def _meant(parts: list[str], tree: _Tree) -> str | None:
    if parts == ["*"]:
        return "*"
    for there, following in tree.items():
        if not (near := _nearly(parts[0], there)):
            continue
        if len(parts) == 1:
            if "" in following:
                return near
        elif rest := _meant(parts[1:], following):
            return f"{near}.{rest}"
    return None


@lru_cache(maxsize=65_536)
def _nearly(part: str, there: str) -> str | None:
    if part == there or (_is_glob(part) and fnmatchcase(there, part)):
        return part
    if part.startswith(sdk.PROVIDER_PREFIX) and there.startswith(sdk.PROVIDER_PREFIX):
        # All providers have that in common, so it tells nothing.
        near = _nearly(part.removeprefix(sdk.PROVIDER_PREFIX), there.removeprefix(sdk.PROVIDER_PREFIX))
        return near and f"{sdk.PROVIDER_PREFIX}{near}"
    # What two texts have in common is at most the shorter of them, and most are told apart by that.
    if 2 * min(len(part), len(there)) < _ALIKE * (len(part) + len(there)):
        return None
    alike = SequenceMatcher(None, part, there)
    return there if alike.quick_ratio() >= _ALIKE and alike.ratio() >= _ALIKE else None


def _is_glob(pattern: str) -> bool:
    return any(sign in pattern for sign in "*?[")
