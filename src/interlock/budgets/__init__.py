"""Budgets: how much may happen, shared by all processes.

Owns: limits on concurrency, rate and spend per connection, tenant, capability, agent and session, and closing a connection
until the moment that its service named. Refuses: to know why a call is made, or to wait. Invariants: a reservation is all or
nothing, in one transaction; no limit is passed, over any number of processes; a dead holder's slot comes free by itself, and
a late one frees nobody else's; what is reserved before it is known counts as used until it is settled; a call that no rule
matches asks no store.
"""

from interlock.budgets.budgets import SLOT_TTL, Budgets
from interlock.budgets.errors import InvalidBudget
from interlock.budgets.load import parse_rules
from interlock.budgets.model import Call, Cap, Exhausted, Granted, Hold, Key, Limit, Per, Rate, Reservation, Rule, Spend
from interlock.budgets.records import Records

__all__ = [
    "SLOT_TTL",
    "Budgets",
    "Call",
    "Cap",
    "Exhausted",
    "Granted",
    "Hold",
    "InvalidBudget",
    "Key",
    "Limit",
    "Per",
    "Rate",
    "Records",
    "Reservation",
    "Rule",
    "Spend",
    "parse_rules",
]
