"""The execution plane: the one way by which anything reaches the outside world.

Owns: intents, authority, targets and their attestations, admission, the lane port, receipts and their evidence, the
failure taxonomy, the rule for outgoing addresses. Refuses: policy, retries, fallback, any provider's meaning, secrets
(it passes references). Invariants: an intent is dispatched at most once, to one target, under an authority that is
bound to it and then used up; every execution ends in exactly one receipt; `not_sent` is a proof.
"""

from interlock.plane.addresses import AddressPolicy
from interlock.plane.authority import MAX_TTL, AuthorityDecision, AuthorityVerifier, Authorizer, MacVerifier
from interlock.plane.contract import Contract
from interlock.plane.errors import EffectFailed, InvalidAllowance
from interlock.plane.failures import MEANINGS, Effect, Failure, FailureClass, Meaning
from interlock.plane.intent import RESERVED_HEADERS, CredentialRef, HttpIntent, Intent, Timeouts
from interlock.plane.lane import CredentialResolver, Exchange, Lane, LaneFailure
from interlock.plane.node import Node, OnReceipt
from interlock.plane.receipt import Delivery, Evidence, Receipt, verify_evidence
from interlock.plane.schemas import CONTRACTS, json_schemas
from interlock.plane.targets import (
    LOCAL_HTTP,
    SELF_ATTESTED,
    Attestation,
    Health,
    LocalTarget,
    Target,
    TargetDescriptor,
)
from interlock.plane.urls import Url, parse_base, parse_url, resolve_location

__all__ = [
    "CONTRACTS",
    "LOCAL_HTTP",
    "MAX_TTL",
    "MEANINGS",
    "RESERVED_HEADERS",
    "SELF_ATTESTED",
    "AddressPolicy",
    "Attestation",
    "AuthorityDecision",
    "AuthorityVerifier",
    "Authorizer",
    "Contract",
    "CredentialRef",
    "CredentialResolver",
    "Delivery",
    "Effect",
    "EffectFailed",
    "Evidence",
    "Exchange",
    "Failure",
    "FailureClass",
    "Health",
    "HttpIntent",
    "Intent",
    "InvalidAllowance",
    "Lane",
    "LaneFailure",
    "LocalTarget",
    "MacVerifier",
    "Meaning",
    "Node",
    "OnReceipt",
    "Receipt",
    "Target",
    "TargetDescriptor",
    "Timeouts",
    "Url",
    "json_schemas",
    "parse_base",
    "parse_url",
    "resolve_location",
    "verify_evidence",
]
