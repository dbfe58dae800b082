"""From a request to a verdict: what the call needs is looked up, policy is asked, and nothing is written."""

from interlock import catalog, policy, sdk
from interlock.kernel import Caller, Redactor
from interlock.runs.call import Call, Given, check_input, profile_of, refuse_secrets, refuse_words
from interlock.runs.model import Run
from interlock.runs.request import Request
from interlock.runs.revalidation import Revalidation
from interlock.runs.targets import targeted
from interlock.runs.wiring import Wiring

NO_CONNECTION = "none"
"""The type of an auth profile that needs no connection."""

GOES_ON = frozenset({policy.Effect.ALLOW, policy.Effect.ASK})
"""Verdicts under which the effect may come about."""


async def prepare(
    wiring: Wiring, caller: Caller, request: Request, capability: catalog.Capability, given: Given | None = None
) -> Call:
    """Look up the connection. `given` is the request's input, if it was checked before. Raises catalog.InvalidInput,
    InputHoldsSecret, TargetRefused, sdk.InvalidPathValue, sdk.InvalidArgument, and as `connections.resolve`."""
    operation = capability.operation
    request = targeted(request, operation)
    given = given or check_input(capability, request.input)
    if operation.http is not None:
        sdk.check_path(operation, operation.http, given.value)
    if operation.command is not None:
        sdk.build_command(operation, operation.command, given.value)
    resolved, redactor, revalidation = None, Redactor(), None
    if request.connection is not None or any(
        profile.grant.type != NO_CONNECTION for profile in capability.manifest.auth
    ):
        resolved = await wiring.connections.resolve(
            caller,
            connector_id=capability.connector_id,
            scopes=frozenset(operation.scopes),
            connection=request.connection,
        )
        plain = profile_of(capability, resolved.connection).plain_fields
        redactor = Redactor(await wiring.connections.secrets_of(resolved, besides=plain))
        refuse_secrets(caller, request, given, redactor)
        if operation.http is not None and operation.http.conditional:
            revalidation = Revalidation(
                wiring.validators,
                wiring.store,
                wiring.clock,
                tenant_id=caller.tenant_id,
                connection_id=resolved.connection.connection_id,
            )
    return Call(
        caller=caller,
        request=request,
        capability=capability,
        resolved=resolved,
        redactor=redactor,
        given=given,
        revalidation=revalidation,
    )


async def check_actor(wiring: Wiring, caller: Caller, run: Run) -> None:
    """Raises InputHoldsSecret if whoever decides about a run is called by its connection's credential."""
    if run.connection_id is None:
        return
    redactor = await wiring.connections.redactor(caller, run.connection_id)
    refuse_words(f"a decision about {run.capability}", {"actor": caller.actor}, redactor)


async def judge(wiring: Wiring, call: Call) -> tuple[policy.Decision, policy.Facts]:
    """Ask policy, under the present pressure; and what it judged. Raises policy.RuleAstray."""
    with wiring.tracing.span("decide") as span:
        await wiring.straying.check(call.caller.tenant_id, call.capability)
        pressure = {**wiring.pressure.readings(), **await wiring.budgets.pressure(call.budget_call)}
        facts = call.policy_facts(pressure)
        verdict = wiring.policy.decide(facts)
        span.note({"interlock.policy.effect": verdict.effect.value})
        return verdict, facts
