"""Capabilities of connectors as operations: each is a run of its own, under its policy, over its connection, whose parent is the
turn."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field

from interlock import catalog, kernel, runs, sdk
from interlock.agents.errors import OperationFailed
from interlock.agents.operations import Idempotency, Source
from interlock.agents.sources import Described, Found, Happened, Held, Invocation, NotHappened, Unclear
from interlock.agents.sourcing.options import check_pinned, read_options, without_annotations
from interlock.agents.terms import Part, thawed
from interlock.kernel import JSON, Retry, UnknownOutcome

CAPABILITY: Final = "capability"
"""The kind of the operations that are capabilities; their reference is its id."""

_MOST_SECONDS: Final = 3600.0

_CLASSES: Final = {
    sdk.Idempotency.NATURAL: Idempotency.IDEMPOTENT,
    sdk.Idempotency.KEY: Idempotency.DEDUPE,
    sdk.Idempotency.NONE: Idempotency.UNSAFE_ONCE,
}


class CapabilityOptions(Part):
    """How a capability is asked for: over which `connection` (None: the only one that fits), on which target classes, best first,
    in how many seconds (None: what the agent's operations have), how often what is known not to have happened is tried."""

    connection: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    targets: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(max_length=20)] = ()
    sandbox: Annotated[str, Field(max_length=20)] | None = None
    timeout_s: Annotated[float, Field(gt=0, le=_MOST_SECONDS)] | None = None
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What it takes to ask for capabilities, and to find what came of it."""

    doors: runs.Doors
    reading: runs.Reading


class Capabilities:
    """The source of the capabilities of a catalog. Without `asking` it only describes them."""

    kind = CAPABILITY

    def __init__(self, known: Callable[[], catalog.Catalog], asking: Asking | None = None) -> None:
        self._known = known
        self._asking = asking

    def describe(self, source: Source) -> Described | None:
        """What its manifest says. Of a provider that a tenant imported nothing is known here: the spec says all itself."""
        read_options(CapabilityOptions, source)
        if source.ref.startswith(sdk.PROVIDER_PREFIX):
            return {}
        found = self._known().find(source.ref)
        return None if found is None else _described(found)

    def unknown(self, source: Source) -> str | None:
        """That its connector is broken, or may be what a manifest file has that could not be read."""
        try:
            self._known().fetch(source.ref)
        except catalog.UnknownCapability:
            return None
        except kernel.InterlockError as error:
            return f"{error.message} (`interlock doctor` tells all of it)"
        return None

    def names(self) -> Iterable[str]:
        """All their ids."""
        return [
            f"{each.connector_id}.{operation.operation_id}"
            for each in self._known().connectors
            for operation in each.operations
        ]

    async def perform(self, invocation: Invocation) -> JSON | Held:
        """Ask for it, under the call's key. Raises OperationChanged, OperationFailed for what policy or a budget refused, and
        what the call fails with."""
        asking = self._ready()
        operation, options = invocation.operation, read_options(CapabilityOptions, invocation.operation.source)
        found = await self._known().fetch_for(invocation.caller.tenant_id, operation.source.ref)
        check_pinned(operation, _pinned(found))
        request = runs.Request(
            capability=operation.source.ref,
            input=thawed(invocation.arguments),
            connection=options.connection,
            environment=invocation.environment,
            trace_id=invocation.turn_id,
            targets=options.targets,
            sandbox=options.sandbox,
            idempotency_key=_key(invocation),
            origin=runs.Origin.AGENT,
            parent_run_id=invocation.turn_id,
            max_attempts=options.max_attempts,
            timeout=timedelta(seconds=min(options.timeout_s or _MOST_SECONDS, invocation.timeout_s, _MOST_SECONDS)),
        )
        outcome = await runs.take_step(asking.doors, invocation.caller, request)
        return _told(outcome)

    async def reconcile(self, invocation: Invocation) -> Found:
        """What the ledger says of the run that was asked for under the call's key."""
        reading, ref = self._ready().reading, invocation.operation.source.ref
        run = await reading.find_step(invocation.caller, ref, _key(invocation))
        if run is None or run.state is runs.State.HELD:
            return NotHappened()
        if run.state not in _OVER:
            return Unclear(reason=f"{run.run_id} is {run.state}")
        try:
            outcome = await reading.outcome(run)
        except UnknownOutcome as error:
            return Unclear(reason=error.message)
        except kernel.InterlockError as error:
            effect = error.details.get("effect")
            return NotHappened() if effect in runs.NOTHING_DONE else Unclear(reason=f"{run.run_id}: {error.message}")
        return Happened(output=outcome.output) if outcome.state is runs.State.COMPLETED else NotHappened()

    def _ready(self) -> Asking:
        if self._asking is None:
            raise OperationFailed("capabilities are only described here; an open Interlock asks for them")
        return self._asking


_OVER: Final = (
    runs.State.COMPLETED,
    runs.State.FAILED,
    runs.State.DEAD,
    runs.State.CANCELLED,
    runs.State.DENIED,
    runs.State.SHED,
    runs.State.WAITING,
)


def _described(capability: catalog.Capability) -> Described:
    operation = capability.operation
    described: dict[str, JSON] = {
        "description": operation.description,
        "input": without_annotations(operation.input_schema),
        "output": without_annotations(operation.output_schema),
        "idempotency": _idempotency(operation).value,
        "pinned": _pinned(capability),
        "metadata": {"effect": operation.effect.value},
    }
    return described


def _idempotency(operation: sdk.Operation) -> Idempotency:
    if operation.effect is sdk.Effect.READ:
        return Idempotency.PURE
    if operation.idempotency is sdk.Idempotency.NONE and operation.reconcile is not None:
        return Idempotency.RECONCILE
    return _CLASSES[operation.idempotency]


def _pinned(capability: catalog.Capability) -> str:
    """What may not change under a spec. What the connector says of it to people may."""
    return kernel.digest([capability.contract_digest, _idempotency(capability.operation).value])


def _key(invocation: Invocation) -> str:
    """Begun with the parent, it is known for as long as that may ask again."""
    return f"{invocation.turn_id}:{invocation.key}"


def _told(outcome: runs.Outcome) -> JSON | Held:
    match outcome.state:
        case runs.State.COMPLETED:
            return outcome.output
        case runs.State.HELD if outcome.approval_id is not None:
            return Held(run_id=outcome.run_id, approval_id=outcome.approval_id)
        case runs.State.DENIED | runs.State.SHED as state:
            reasons = "; ".join(outcome.reasons) or "no reason was given"
            later = Retry.LATER if state is runs.State.SHED else Retry.NEVER
            raise OperationFailed(
                f"{outcome.capability} was {state}, and nothing was done: {reasons}",
                retry=later,
                retry_after=outcome.retry_after_seconds,
                run_id=outcome.run_id,
            )
        case state:
            raise UnknownOutcome(
                f"{outcome.capability} is {state} in {outcome.run_id}, and nobody knows yet what comes of it",
                run_id=outcome.run_id,
            )
