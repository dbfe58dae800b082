"""What somebody wants a route to be: how its deliveries are to be proven, what is to be done about them, and all that is wrong
with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pydantic import ValidationError

from interlock import catalog, dispatch, sdk
from interlock.kernel import JSON, MIN_SECRET_LENGTH, RequestError, Secret
from interlock.triggers import retrying
from interlock.triggers.webhooks import keys
from interlock.triggers.webhooks.errors import InvalidRoute

MOST_TRIGGERS: Final = 50
"""On one route."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A trigger to be: what the connector calls it, who is to handle it, what its config says, and how often its work is tried,
    if not as the connector says."""

    name: str
    handler: str
    config: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    priority: int = 1
    retry: sdk.Retries | None = None


def proof_of(manifest: sdk.Manifest, on: Sequence[Wanted], given: Mapping[str, Any] | None) -> sdk.Verification:
    """How the route's deliveries are proven. Raises InvalidRoute where nobody says so, or two triggers say different things."""
    if given is not None:
        try:
            return sdk.read_verification(given)
        except (ValidationError, ValueError) as error:
            told = (
                error.errors(include_url=False, include_input=False)[0] if isinstance(error, ValidationError) else None
            )
            why = str(error) if told is None else f"{'.'.join(map(str, told['loc']))}: {told['msg']}"
            raise InvalidRoute(manifest.connector_id, [f"verification: {why}"]) from error
    known = {each.trigger_id: each.verification for each in manifest.triggers if each.verification is not None}
    if not known:
        raise InvalidRoute(manifest.connector_id, ["it declares no webhooks"])
    found = [known[name] for name in ({each.name for each in on} & known.keys() or known)]
    if any(each != found[0] for each in found):
        raise InvalidRoute(manifest.connector_id, ["its triggers are proven in different ways: make a route for each"])
    return found[0]


def settled(manifest: sdk.Manifest, on: Sequence[Wanted]) -> list[Wanted]:
    """The triggers to be, with what the connector says where nobody says otherwise."""
    declared = {each.trigger_id: each.retry for each in manifest.triggers}
    return [replace(each, retry=each.retry or declared.get(each.name) or sdk.Retries()) for each in on]


def wanted_problems(manifest: sdk.Manifest, on: Sequence[Wanted]) -> list[str]:
    problems: list[str] = []
    declared = {each.trigger_id: each for each in manifest.triggers if each.delivery == "webhook"}
    if len(on) > MOST_TRIGGERS:
        problems.append(f"a route has at most {MOST_TRIGGERS} triggers")
    for each in on[:MOST_TRIGGERS]:
        trigger = declared.get(each.name)
        if trigger is None:
            problems.append(f"it has no webhook trigger {each.name[:60]!r}; there are: {', '.join(declared)}")
            continue
        try:
            dispatch.Work(handler=each.handler, payload={}, priority=dispatch.Priority(each.priority))
            retrying.policy(each.retry or sdk.Retries())
        except (RequestError, ValueError) as error:
            problems.append(str(error))
        mismatches = catalog.compile_schema(trigger.config_schema)(dict(each.config))
        problems += [f"config of {each.name}: {miss.path}: {miss.expected} is expected" for miss in mismatches]
    return problems


def proof_problems(proof: sdk.Verification, *, allow_unsigned: bool) -> list[str]:
    if proof.algorithm == "unsigned" and not allow_unsigned:
        return ["anybody could send its deliveries, for they are not signed: say that this is meant (--unsigned)"]
    return [str(each) for each in sdk.verification_problems("verification", proof)]


def secret_problems(proof: sdk.Verification, secret: Secret | None) -> list[str]:
    """Raises UnreadableKey."""
    if proof.algorithm == "unsigned":
        return [] if secret is None else ["an unsigned route has no secret"]
    if secret is None:
        ours = proof.key in ("text", "hex", "base64", "whsec") and proof.algorithm not in ("basic", "ed25519")
        return [] if ours else [f"the service's {proof.key} key is needed"]
    if len(secret.reveal()) < MIN_SECRET_LENGTH:
        return [f"a secret has at least {MIN_SECRET_LENGTH} characters"]
    keys.check(proof, secret)
    return []
