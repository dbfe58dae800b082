"""The decision: all rules and all guards over one call's facts.

Every call passes here, so the rules are turned on their side when the policy is made. For each matcher there is one
column: a function from a value to the set of rules that it satisfies, as the bits of one integer, remembered for the
values that come by. A decision is then the intersection of at most ten columns, however many rules there are.
"""

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import translate
from functools import lru_cache, partial
from typing import NamedTuple, TypeAlias, cast

from interlock import kernel
from interlock.kernel import JSON
from interlock.policy import guard
from interlock.policy.errors import InvalidPolicy, Problem
from interlock.policy.model import Decision, Effect, Facts, Reason
from interlock.policy.rule import MATCHERS, Rule, is_role, repeated_ids

MAX_RULES = 1000
_RANK = {effect: rank for rank, effect in enumerate(Effect)}
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_Values: TypeAlias = tuple[tuple[str, ...], ...]


class _Column(NamedTuple):
    """One matcher of all rules. Bit n stands for rule n."""

    name: str
    position: int
    indifferent: int
    """The rules without this matcher."""
    satisfied: Callable[[str], int]
    """The rules whose matcher a value satisfies."""

    def bits(self, values: _Values) -> int:
        found = self.indifferent
        for value in values[self.position]:
            found |= self.satisfied(value)
        return found


class _Prepared(NamedTuple):
    rule: Rule
    reason: Reason
    conditions: tuple[tuple[str, str, float], ...]
    proxies: re.Pattern[str] | None
    """The patterns with which the rule names proxies."""

    def permits(self, facts: Facts) -> bool:
        """Whether the rule speaks for such a call: one that allows does so for a request that a caller makes up only if it
        names it. Whoever lets all reads pass knows what capabilities read, and not what any path at a service does."""
        if not facts.proxied or self.rule.then is not Effect.ALLOW:
            return True
        return self.proxies is not None and self.proxies.match(facts.capability_id) is not None

    def failed(self, facts: Facts) -> list[str]:
        """The pressures whose condition does not hold."""
        readings = facts.pressure
        return [
            name
            for name, compare, threshold in self.conditions
            if name not in readings or not _COMPARE[compare](readings[name], threshold)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Rules in order, what becomes of a call that none matches, and whom to ask when a rule does not say.

    Raises InvalidPolicy with all that is wrong, such as two rules that share an id.
    """

    rules: tuple[Rule, ...] = ()
    default: Effect = Effect.ASK
    reviewer: str = "approver"
    digest: str = field(init=False)
    _prepared: tuple[_Prepared, ...] = field(init=False, repr=False, compare=False)
    _columns: tuple[_Column, ...] = field(init=False, repr=False, compare=False)
    _default_reason: Reason = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise InvalidPolicy(problems)
        reason = Reason(rule_id="default", effect=self.default, text=f"no rule matches; the default is {self.default}")
        object.__setattr__(self, "_default_reason", reason)
        object.__setattr__(self, "_prepared", tuple(_prepare(rule) for rule in self.rules))
        object.__setattr__(self, "_columns", tuple(_columns(self.rules)))
        object.__setattr__(self, "digest", kernel.digest(self.to_json()))

    def _problems(self) -> Iterator[Problem]:
        if not isinstance(cast("object", self.default), Effect):
            yield Problem(path=("default",), text=f"{self.default!r} is no Effect, such as Effect.ASK")
        if not is_role(self.reviewer):
            yield Problem(path=("reviewer",), text=f"{str(self.reviewer)[:50]!r} is not the name of a role")
        rules = cast("object", self.rules)
        if not isinstance(rules, tuple | list):
            yield Problem(path=("rules",), text=f"{str(rules)[:50]} is no tuple of Rules")
            return
        rules = cast("Sequence[object]", rules)
        if len(rules) > MAX_RULES:
            yield Problem(path=("rules",), text=f"{len(rules)} rules; the limit is {MAX_RULES}")
        for index, rule in enumerate(rules[:MAX_RULES]):
            if not isinstance(rule, Rule):
                yield Problem(path=("rules", index), text=f"{str(rule)[:50]} is no Rule")
        yield from repeated_ids([rule.rule_id if isinstance(rule, Rule) else None for rule in rules[:MAX_RULES]])

    def decide(self, facts: Facts) -> Decision:
        """Judge one call. All guards and all matching rules leave a reason; the strongest effect wins, and its reasons
        come first."""
        reasons = guard.check(facts)
        values = _values(facts)
        matching = (1 << len(self.rules)) - 1
        for column in self._columns:
            matching &= column.bits(values)
        asking: Rule | None = None
        demanded: list[str] = []
        matched = False
        while matching:
            lowest = matching & -matching
            matching ^= lowest
            rule, reason, conditions, _ = prepared = self._prepared[lowest.bit_length() - 1]
            if conditions and prepared.failed(facts):
                continue
            if rule.sandbox is not None:
                demanded.append(rule.sandbox)
            if not prepared.permits(facts):
                continue
            matched = True
            reasons.append(reason)
            if asking is None and rule.then is Effect.ASK:
                asking = rule
        if not matched:
            reasons.append(self._unmatched(facts))
        reasons.sort(key=lambda reason: _RANK[reason.effect], reverse=True)  # stable: equals stay in the rules' order
        effect = reasons[0].effect
        role, expires_after = self._review(asking) if effect is Effect.ASK else (None, None)
        return Decision(
            effect=effect,
            reasons=tuple(reasons),
            role=role,
            expires_after=expires_after,
            sandbox=guard.sandbox_level(facts, demanded),
            policy_digest=self.digest,
        )

    def _unmatched(self, facts: Facts) -> Reason:
        if not facts.proxied or self.default is Effect.ALLOW:
            return self._default_reason
        how = f'[[policy.rules]] with then = "allow", capability = "{facts.capability_id}"'
        text = f"only a rule that names them allows requests of one's own: {how}; the default is {self.default}"
        return Reason(rule_id="default", effect=self.default, text=text)

    def _review(self, asking: Rule | None) -> tuple[str, timedelta | None]:
        if asking is None:
            return self.reviewer, None
        seconds = asking.expires_after_s
        return asking.reviewer or self.reviewer, None if seconds is None else timedelta(seconds=seconds)

    def explain(self, facts: Facts) -> dict[str, JSON]:
        """The decision with, for each rule, whether it matches and if not, which matchers miss."""
        values = _values(facts)
        rules: list[JSON] = []
        for index, prepared in enumerate(self._prepared):
            misses: list[JSON] = [
                {
                    "matcher": column.name,
                    "wanted": list(getattr(prepared.rule, column.name)),
                    "found": list(values[column.position]),
                }
                for column in self._columns
                if not column.bits(values) >> index & 1
            ]
            misses += [
                {"matcher": name, "wanted": prepared.rule.pressure[name], "found": facts.pressure.get(name)}
                for name in prepared.failed(facts)
            ]
            if not prepared.permits(facts):
                misses.append({"matcher": "proxied", "wanted": "a capability that names it", "found": True})
            rules.append({**prepared.reason.to_json(), "matched": not misses, "misses": misses})
        return {"decision": self.decide(facts).to_json(), "facts": facts.to_json(), "rules": rules}

    def to_json(self) -> dict[str, JSON]:
        """The policy as its file form; what `digest` is taken of."""
        rules: list[JSON] = [rule.to_json() for rule in self.rules]
        return {"default": self.default.value, "reviewer": self.reviewer, "rules": rules}


def _values(facts: Facts) -> _Values:
    """What text matchers look at, in the order of MATCHERS."""
    connection = (facts.connection_id, facts.connection_name)
    return (
        (facts.capability_id,),
        (facts.connector_id,),
        (facts.effect,),
        (facts.runtime_class,),
        (facts.tenant_id,),
        (facts.actor,),
        tuple(facts.roles),
        (facts.environment,),
        tuple(name for name in connection if name is not None),
        (facts.origin,),
        () if facts.model is None else (facts.model,),
    )


def _prepare(rule: Rule) -> _Prepared:
    reason = Reason(rule_id=rule.rule_id, effect=rule.then, text=rule.text())
    naming = tuple(each for each in rule.capability if each.partition(".")[2].startswith("proxy."))
    return _Prepared(rule, reason, rule.conditions(), _expression(naming) if naming else None)


def _columns(rules: tuple[Rule, ...]) -> Iterator[_Column]:
    for position, name in enumerate(MATCHERS):
        patterns = [cast("tuple[str, ...]", getattr(rule, name)) for rule in rules]
        if any(patterns):
            indifferent = sum(1 << index for index, wanted in enumerate(patterns) if not wanted)
            matches = tuple((1 << index, _expression(wanted)) for index, wanted in enumerate(patterns) if wanted)
            yield _Column(name, position, indifferent, lru_cache(maxsize=1024)(partial(_satisfied, matches)))


def _satisfied(matches: tuple[tuple[int, re.Pattern[str]], ...], value: str) -> int:
    return sum(bit for bit, expression in matches if expression.match(value))


def _expression(patterns: tuple[str, ...]) -> re.Pattern[str]:
    # A bracket is no wildcard here: bots have names such as `deploy[bot]`.
    return re.compile("|".join(translate(pattern.replace("[", "[[]")) for pattern in patterns))


DEFAULT = Policy(rules=(Rule(rule_id="reads", then=Effect.ALLOW, effect=("read",), reason="reads are allowed"),))
"""What holds when the operator says nothing: reads are allowed, everything else asks, and so does what callers make up."""
