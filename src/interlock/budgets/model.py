"""The values of the room: rules, what they are held against, and what comes of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase

from interlock.kernel import from_micros, to_micros


class Per(StrEnum):
    """What a budget counts for: each of a tenant's connections, the tenant, or each capability, agent or session of agents within
    the tenant."""

    CONNECTION = "connection"
    TENANT = "tenant"
    CAPABILITY = "capability"
    AGENT = "agent"
    SESSION = "session"


class Limit(StrEnum):
    """What is used up. `blocked` is of no rule: the connection's service said to come back later."""

    CONCURRENCY = "concurrency"
    RATE = "rate"
    SPEND = "spend"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """At most `limit` calls in each window of `per_seconds`; windows are aligned to 1970 UTC, the same everywhere."""

    limit: int
    per_seconds: int

    def window(self, now: datetime) -> tuple[datetime, datetime]:
        """The start and the end of the window around a moment."""
        length = self.per_seconds * 1_000_000
        start = to_micros(now) // length * length
        return from_micros(start), from_micros(start + length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend(Rate):
    """At most `limit` of a unit (`usd_micros`, `tokens`) in each window; whole numbers only, so that nothing drifts."""

    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The facts of a call that budgets look at."""

    tenant_id: str
    capability_id: str
    connector_id: str
    connection_id: str | None
    effect: str
    environment: str
    agent_id: str | None = None
    """The agent, if it is not a call but a turn of one, of which a rule counts what it takes only if it is meant for turns: else
    each call that the turn makes would count twice."""
    session_id: str | None = None
    """The session in which the turn is taken; one without is its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """A limit that comes with a call, beside those of the rules: at most `limit` of a unit, all in all, under `key` since a
    moment. Its budget's name begins with a colon, so that no rule has it."""

    key: "Key"
    unit: str
    limit: int
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """An amount that is reserved: it counts as used until it is settled. `counter` is that of its key, in the window that began
    at `window_start`."""

    holder: str
    key: "Key"
    counter: str
    unit: str
    window_start: datetime
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One budget: which calls it counts (globs, one of each kind must match), for whom, and how much is allowed.

    Built by `parse_rules`, which checks it, or in code, by those who know what they write.
    """

    name: str
    per: Per
    capability: tuple[str, ...] = ("*",)
    connector: tuple[str, ...] = ("*",)
    effect: tuple[str, ...] = ("*",)
    environment: tuple[str, ...] = ("*",)
    concurrency: int | None = None
    rate: Rate | None = None
    spend: Spend | None = None

    def matches(self, call: Call) -> bool:
        """Whether the budget counts this call, or this turn of an agent."""
        if self.counts_turns != (call.agent_id is not None):
            return False
        return (
            _any(call.capability_id, self.capability)
            and _any(call.connector_id, self.connector)
            and _any(call.effect, self.effect)
            and _any(call.environment, self.environment)
        )

    @property
    def counts_turns(self) -> bool:
        """Whether it is meant for turns of agents: it counts for each agent or session, or names them (`agent.*`)."""
        return self.per in (Per.AGENT, Per.SESSION) or all(each.startswith("agent.") for each in self.capability)

    def key(self, call: Call) -> "Key":
        """Where the call is counted."""
        match self.per:
            case Per.CONNECTION:
                subject = call.connection_id or "-"  # calls without a connection share one place
            case Per.TENANT:
                subject = call.tenant_id
            case Per.CAPABILITY:
                subject = call.capability_id
            case Per.AGENT:
                subject = call.agent_id or "-"
            case Per.SESSION:
                subject = call.session_id or "-"
        return Key(tenant_id=call.tenant_id, budget=self.name, subject=subject)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Key:
    """One counter's place. Ordered, so that all transactions take their locks in one order."""

    tenant_id: str
    budget: str
    subject: str


_BLOCKS = ":blocked"
"""The budget under which blocks are kept. No rule has that name: a name holds no colon."""


def block_key(call: Call) -> Key:
    """Where it stands that a service wants no calls for now: for the connection, or, without one, for the connector."""
    return Key(tenant_id=call.tenant_id, budget=_BLOCKS, subject=call.connection_id or call.connector_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What a holder has reserved. False when no rule matched: then there is nothing to renew or release.

    `reservation_id` tells it from another reservation of the same holder, which takes its slots over.
    """

    holder: str
    reservation_id: str
    slots: tuple[Key, ...]
    expires_at: datetime

    def __bool__(self) -> bool:
        return bool(self.slots)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhausted:
    """The answer instead of a reservation: which budget, which of its limits, and when to come back, in seconds (None: never,
    for one call may not take as much)."""

    budget: str
    limit: Limit
    subject: str
    retry_after: float | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """How much was reserved of what is asked for; `budget` has no more than that, if it is less."""

    amount: int
    budget: str | None = None


def seconds_until(moment: datetime, now: datetime) -> float:
    """The seconds from now to a moment, never less than zero."""
    return max(moment - now, timedelta()).total_seconds()


def _any(value: str, patterns: tuple[str, ...]) -> bool:
    return any(pattern == "*" or fnmatchcase(value, pattern) for pattern in patterns)
