"""What stands between a model's wish and an effect: controls, approvals, and what a person has said."""

from collections.abc import Iterable

from interlock import kernel
from interlock.agents.errors import UnexpectedEvent
from interlock.agents.operations import Operation
from interlock.agents.terms import thawed
from interlock.agents.turns.events import Decided, Judgement, Verdict
from interlock.agents.turns.intents import Consent, Perform
from interlock.agents.turns.plan import Plan
from interlock.agents.turns.reading import sticky
from interlock.agents.turns.state import Standing, State, Step


def to_judge(plan: Plan, state: State) -> tuple[str, ...]:
    """The calls that a control has to look at before they are done."""
    return tuple(each.call_id for each in state.steps if each.standing is Standing.ASKED and _is_watched(plan, each))


def _is_watched(plan: Plan, step: Step) -> bool:
    operation = _operation(plan, step)
    if operation.approval is not None and operation.approval.when is not None and not step.consented:
        return True
    return any(each.match.fits(operation) for each in plan.spec.controls.operations)


def unjudged(plan: Plan, state: State) -> tuple[Step, ...]:
    """The calls, of which no control has anything to say."""
    return tuple(_allowed(plan, each) if each.standing is Standing.ASKED else each for each in state.steps)


def judged(plan: Plan, state: State, judgements: Iterable[Judgement]) -> tuple[tuple[Step, ...], Judgement | None]:
    """The calls as the controls leave them, or the judgement that none could be made of. Raises UnexpectedEvent if one that
    was to be judged was not."""
    said = {each.call_id: each for each in judgements}
    wanted = to_judge(plan, state)
    if said.keys() != {*wanted}:
        raise UnexpectedEvent(f"the turn {state.turn_id} waits for judgements of {', '.join(wanted)}")
    steps: list[Step] = []
    for each in state.steps:
        judgement = said.get(each.call_id)
        if judgement is not None and judgement.verdict is Verdict.ERROR:
            return state.steps, judgement
        if each.standing is not Standing.ASKED:
            steps.append(each)
        elif judgement is None or judgement.verdict is Verdict.ALLOW:
            steps.append(_allowed(plan, each))
        elif judgement.verdict is Verdict.BLOCK:
            why = f"The control {judgement.control} does not allow this: {judgement.reason or 'it gives no reason'}"
            steps.append(each.model_copy(update={"standing": Standing.DONE, "outcome": why, "failed": True}))
        else:
            steps.append(_held(plan, each, judgement))
    return tuple(steps), None


def _allowed(plan: Plan, step: Step) -> Step:
    approval = _operation(plan, step).approval
    if approval is not None and approval.when is None:
        return _held(plan, step, Judgement(verdict=Verdict.INTERRUPT, reason=approval.reason))
    return step.model_copy(update={"standing": Standing.CLEARED})


def _held(plan: Plan, step: Step, asked: Judgement) -> Step:
    """Once a person has said yes to exactly this, nobody is asked again: so whose yes the operation's own approval takes, it
    takes whoever wants a person asked."""
    if step.consented:
        return step.model_copy(update={"standing": Standing.CLEARED})
    approval = _operation(plan, step).approval
    role = asked.role if approval is None else approval.role or asked.role
    why = {"reason": asked.reason or "approval_required", "control": asked.control, "role": role}
    return step.model_copy(update={"standing": Standing.HELD, **why})


def consents(state: State) -> tuple[Consent, ...]:
    """What a person is asked."""
    return tuple(
        Consent(
            key=kernel.digest([each.key, "consent"]),
            boundary="operations",
            call_id=each.call_id,
            operation=each.operation,
            arguments=each.arguments,
            reason=each.reason or "approval_required",
            control=each.control,
            role=each.role,
        )
        for each in state.steps
        if each.standing is Standing.HELD
    )


def decided(plan: Plan, state: State, event: Decided) -> State:
    """The state after a person has decided on a call. A yes with other arguments is looked at by the controls again; a no is not
    asked for a second time. Raises UnexpectedEvent for a call that waits for nobody, or arguments that do not fit."""
    held = next(
        (each for each in state.steps if each.call_id == event.call_id and each.standing is Standing.HELD), None
    )
    if held is None:
        raise UnexpectedEvent(f"the turn {state.turn_id} does not wait for a word on {event.call_id!r}")
    denied = state.denied
    if not event.approved:
        why = f"A person said no: {event.reason or 'they gave no reason'}. Do not ask for it again."
        step = held.model_copy(update={"standing": Standing.DONE, "outcome": why, "failed": True})
        denied = (*denied, sticky(held.operation, thawed(held.arguments)))
    elif event.arguments is None or event.arguments == held.arguments:
        step = held.model_copy(update={"standing": Standing.CLEARED, "consented": True})
    else:
        if mismatches := plan.mismatches(_operation(plan, held), thawed(event.arguments)):
            raise UnexpectedEvent(f"the arguments that were put in place do not fit: {'; '.join(mismatches)}")
        key = kernel.digest([held.key, "edited", thawed(event.arguments)])
        edited = {"standing": Standing.ASKED, "consented": True, "arguments": event.arguments, "key": key}
        step = held.model_copy(update=edited)
    steps = tuple(step if each is held else each for each in state.steps)
    return state.model_copy(update={"steps": steps, "denied": denied})


def to_perform(plan: Plan, state: State) -> tuple[Perform, ...]:
    """What is to be done now, all of it side by side."""
    return tuple(
        Perform(
            key=each.key,
            call_id=each.call_id,
            operation=each.operation,
            arguments=each.arguments,
            idempotency=_operation(plan, each).idempotency,
        )
        for each in state.steps
        if each.standing is Standing.CLEARED
    )


def _operation(plan: Plan, step: Step) -> Operation:
    found = plan.find(step.operation)
    assert found is not None  # else the step was done when it was read
    return found
