"""Rules that name what is not there: a rule that restrains and is misspelt would protect nothing, and say nothing."""

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import zip_longest
from typing import Final

from interlock.policy.errors import Place, Problem
from interlock.policy.model import Effect
from interlock.policy.rule import Rule

_ALIKE: Final = 0.8
"""How much two parts of a name have in common if one is probably the other, misspelt: isue and issue, not delete and
create."""


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
            text=f"no {self.matcher} that is installed is {self.pattern!r}",
            suggestion=self.near,
            place=Place(source=f"rule {self.rule.rule_id!r}"),
        )


def find_strays(
    rules: Collection[Rule], capabilities: Collection[str], *, elsewhere: Collection[str] = ()
) -> Iterator[Stray]:
    """The patterns that match none of these capabilities (their ids) or their connectors. Those of connectors `elsewhere`
    are none, nor those of rules that are written ahead."""
    names = {"capability": sorted(capabilities), "connector": sorted({each.split(".")[0] for each in capabilities})}
    for rule in rules:
        if rule.ahead:
            continue
        for matcher, patterns in (("capability", rule.capability), ("connector", rule.connector)):
            for pattern in patterns:
                known = names[matcher]
                head = pattern.split(".")[0]
                if not any(fnmatchcase(each, pattern) for each in known) and not any(
                    fnmatchcase(each, head) for each in elsewhere
                ):
                    yield Stray(rule=rule, matcher=matcher, pattern=pattern, near=_meant(pattern, known))


def _meant(pattern: str, known: Collection[str]) -> str | None:
    """The pattern with its misspelt parts put right, if all of its parts are those of a name that is there, or nearly."""
    parts = pattern.split(".")
    for name in known:
        there = name.split(".")
        if parts[-1] == "*" and len(parts) < len(there):
            there = there[: len(parts)]
        near = [_nearly(part, there) for part, there in zip_longest(parts, there, fillvalue="")]
        if all(near):
            return ".".join(str(each) for each in near)
    return None


@lru_cache(maxsize=4096)
def _nearly(part: str, there: str) -> str | None:
    if fnmatchcase(there, part):
        return part
    alike = difflib.SequenceMatcher(None, part, there).ratio()
    return there if alike >= _ALIKE else None
