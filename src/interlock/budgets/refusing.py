"""What is refused, and why: which limit there is no more of, and when to come back."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from math import ceil

from interlock.budgets.model import Exhausted, Key, Limit, Rate, Rule, seconds_until


class Refused(Exception):
    """Carries the answer out of the transaction, which is undone by it."""

    def __init__(self, exhausted: Exhausted) -> None:
        super().__init__(exhausted.text)
        self.exhausted = exhausted


def windows(rule: Rule, cost: Mapping[str, int]) -> Iterator[tuple[Limit, Rate, int]]:
    """What a call of that cost takes of the rule, of each of its windows."""
    if rule.rate is not None:
        yield Limit.RATE, rule.rate, 1
    if rule.spend is not None:
        yield Limit.SPEND, rule.spend, cost.get(rule.spend.unit, 0)


def lasts(blocked_until: datetime | None, now: datetime) -> bool:
    """Whether it is blocked still."""
    return blocked_until is not None and blocked_until > now


def check_open(place: Key, blocked_until: datetime | None, now: datetime) -> None:
    """Raises Refused for what is blocked."""
    if blocked_until is not None and blocked_until > now:
        raise Refused(
            Exhausted(
                budget=Limit.BLOCKED.value,
                limit=Limit.BLOCKED,
                subject=place.subject,
                retry_after=(left := seconds_until(blocked_until, now)),
                text=f"{place.subject} is blocked: its service said to come back in {ceil(left)} s",
            )
        )


def check_ever(keyed: list[tuple[Key, Rule]], cost: Mapping[str, int]) -> None:
    """Raises Refused if no window is as large as what one call asks for: waiting would not help."""
    for key, rule in keyed:
        for limit, window, amount in windows(rule, cost):
            if amount > window.limit:
                text = f"{amount} are asked for at once, of {window.limit} per {window.per_seconds} s"
                raise refusal(key, limit, None, text)


def refusal(key: Key, limit: Limit, retry_after: float | None, why: str) -> Refused:
    """The answer that a limit of a budget has no more; `retry_after` None: and never will."""
    what = "ask for less, or raise its limit" if retry_after is None else f"try again in {ceil(retry_after)} s"
    text = f"budget {key.budget!r} for {key.subject}: {limit.value}: {why}; {what}"
    return Refused(Exhausted(budget=key.budget, limit=limit, subject=key.subject, retry_after=retry_after, text=text))
