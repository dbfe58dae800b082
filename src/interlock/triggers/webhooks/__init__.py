"""Webhooks: routes on which services report, the proof that it is them, and what is made of what comes.

Owns: routes and their secrets, deliveries, which of them are the same, and triggers. Refuses: HTTP and tables. Invariants: a
route's secret lies sealed and two of them count while one replaces the other; an event is told by what its proof covers.
"""

from interlock.triggers.webhooks.admitting import Event, Works
from interlock.triggers.webhooks.deliveries import Deliveries
from interlock.triggers.webhooks.errors import (
    AmbiguousRoute,
    DeliveryNotFound,
    InvalidRoute,
    NotReplayable,
    RouteChanged,
    RouteNotFound,
    TriggerNotFound,
)
from interlock.triggers.webhooks.handshakes import Answer
from interlock.triggers.webhooks.handshakes import answer as answer_handshake
from interlock.triggers.webhooks.incoming import Incoming
from interlock.triggers.webhooks.intake import Came, Intake, Outcome
from interlock.triggers.webhooks.key_sets import LASTS as KEYS_LAST
from interlock.triggers.webhooks.key_sets import IssuerKeysUnavailable, KeptSet, KeySetRecords, KeySets
from interlock.triggers.webhooks.keys import UnreadableKey
from interlock.triggers.webhooks.model import Delivery, DeliveryState, NewRoute, Route, RouteState, Topology, Trigger
from interlock.triggers.webhooks.records import MOST_REPLAYS, Claim, Need, Records, Stand
from interlock.triggers.webhooks.route_secrets import RouteSecrets
from interlock.triggers.webhooks.routes import Made, Routes
from interlock.triggers.webhooks.sealing import binding as route_binding
from interlock.triggers.webhooks.verifying import Reason, Refused, Verified, Verifier
from interlock.triggers.webhooks.wanting import Wanted

__all__ = [
    "KEYS_LAST",
    "MOST_REPLAYS",
    "AmbiguousRoute",
    "Answer",
    "Came",
    "Claim",
    "Deliveries",
    "Delivery",
    "DeliveryNotFound",
    "DeliveryState",
    "Event",
    "Incoming",
    "Intake",
    "InvalidRoute",
    "IssuerKeysUnavailable",
    "KeptSet",
    "KeySetRecords",
    "KeySets",
    "Made",
    "Need",
    "NewRoute",
    "NotReplayable",
    "Outcome",
    "Reason",
    "Records",
    "Refused",
    "Route",
    "RouteChanged",
    "RouteNotFound",
    "RouteSecrets",
    "RouteState",
    "Routes",
    "Stand",
    "Topology",
    "Trigger",
    "TriggerNotFound",
    "UnreadableKey",
    "Verified",
    "Verifier",
    "Wanted",
    "Works",
    "answer_handshake",
    "route_binding",
]
