"""Governed scripts: each action that one asks for is a run of its own, under the policy for that capability."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from interlock import catalog, plane, sdk
from interlock.kernel import JSON, Clock, Fault, InterlockError, Retry, UnknownOutcome
from interlock.runs.call import Call
from interlock.runs.errors import GivenUp
from interlock.runs.model import Origin, State
from interlock.runs.request import Request
from interlock.runs.stepping import Doors, go_on


class ActionHeld(InterlockError):
    """An action of a script waits for a person: for an approval, or to settle what nobody knows. `details` name it, its run
    and its approval."""

    code = "action_held"
    retry = Retry.AFTER_CHANGE
    fault = Fault.CALLER
    next_step = (
        "Approve the action (`interlock approvals approve ID`) or settle its run; then settle the script's run, too: "
        "that runs it again, and nothing is done twice."
    )


@dataclass(slots=True)
class _Open:
    """A script at work."""

    call: Call
    held: ActionHeld | None = None


class Actions:
    """`plane.ActionHost` for scripts that are runs. The caller and the narrowing of the script's run hold for all that it
    asks for. The n-th action of a script has one key for good, so that a script which is run again finds what was done
    before, and does it no second time."""

    def __init__(self, capabilities: catalog.Catalog, clock: Clock) -> None:
        self._catalog = capabilities
        self._clock = clock
        self._open: dict[str, _Open] = {}
        self.doors: Doors | None = None
        """Put in by whoever wires the room: the ways in are made of what this is part of."""

    @contextmanager
    def of(self, call: Call, run_id: str) -> Generator[None]:
        """While a script of that run is at work."""
        self._open[run_id] = _Open(call)
        try:
            yield
        finally:
            del self._open[run_id]

    def held(self, run_id: str) -> ActionHeld:
        """What the script of that run waits for."""
        held = self._open[run_id].held
        assert held is not None
        return held

    async def perform(
        self, action: str, arguments: Mapping[str, JSON], execution: plane.ScriptExecution
    ) -> JSON | plane.Denied | plane.Held:
        """One action: a run whose parent is the script's. Raises what its call raises."""
        at_work = self._open.get(execution.intent.run_id)
        if at_work is None or at_work.call.operation.script is None or self.doors is None:
            return plane.Denied("no run of this process asks for it")
        call, run_id = at_work.call, execution.intent.run_id
        asked = await self._catalog.fetch_for(call.caller.tenant_id, at_work.call.operation.script.actions[action])
        if call.operation.effect is sdk.Effect.READ and asked.operation.effect is not sdk.Effect.READ:
            return plane.Denied(f"{call.capability.capability_id} is a read, and {asked.capability_id} is not")
        request = Request(
            capability=asked.capability_id,
            input=arguments,
            environment=call.request.environment,
            trace_id=call.request.trace_id or run_id,
            allowed_operations=call.request.allowed_operations,
            idempotency_key=f"{run_id}:{execution.seq}",
            origin=Origin.SCRIPT,
            parent_run_id=run_id,
            timeout=max(execution.intent.deadline_at - self._clock.now(), timedelta(seconds=1)),
        )
        try:
            outcome = await go_on(self.doors, call.caller, await self.doors.invoke(call.caller, request))
        except GivenUp:
            raise  # nobody will find out any more, so the script is told that
        except UnknownOutcome as error:
            # Whatever the script made of it now, it would make something else of it once it is known.
            at_work.held = _held(action, request.capability, error.run_id, None)
            return plane.Held(f"nobody knows whether the action {action} happened")
        match outcome.state:
            case State.COMPLETED:
                return outcome.output
            case State.DENIED | State.SHED as state:
                return plane.Denied("; ".join(outcome.reasons) or f"it was {state}", code=f"action_{state}")
            case state:
                at_work.held = _held(action, request.capability, outcome.run_id, outcome.approval_id)
                return plane.Held(f"the action {action} is {state}", nothing_done=state is State.HELD)


def _held(action: str, capability: str, run_id: str | None, approval_id: str | None) -> ActionHeld:
    waits = f"for the approval {approval_id}" if approval_id else f"until it is known what became of {run_id}"
    return ActionHeld(
        f"the script waits {waits}: its action {action} ({capability})",
        details={"action": action, "capability": capability, "approval_id": approval_id, "run_id": run_id},
    )
