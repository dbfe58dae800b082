"""What stands between a model's wish and an effect: controls, approvals, and what a person has said."""

from collections.abc import Iterable
from typing import Final

from interlock import kernel
from interlock.agents.errors import UnexpectedEvent
from interlock.agents.operations import Operation
from interlock.agents.terms import thawed
from interlock.agents.turns.events import Decided, Judgement, Verdict
from interlock.agents.turns.intents import Consent, Perform
from interlock.agents.turns.plan import Plan
from interlock.agents.turns.reading import sticky
from interlock.agents.turns.state import Standing, State, Step

_MAX_EDIT: Final = 2000
"""Characters that a model is shown of the arguments that a person put in place."""


def to_judge(plan: Plan, state: State) -> tuple[str, ...]:
    """The calls that a control has to look at before they are done."""
    return tuple(each.call_id for each in state.steps if each.standing is Standing.ASKED and _is_watched(plan, each))


def _is_watched(plan: Plan, step: Step) -> bool:
    operation = _operation(plan, step)
    if operation.approval is not None and operation.approval.when is not None:
        return True
    return any(each.match.fits(operation) for each in plan.spec.controls.operations)


def unjudged(plan: Plan, state: State) -> tuple[Step, ...]:
    """The calls, of which no control has anything to say."""
    return tuple(_cleared(plan, each) if each.standing is Standing.ASKED else each for each in state.steps)


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
            steps.append(_cleared(plan, each))
        elif judgement.verdict is Verdict.BLOCK:
            why = f"The control {judgement.control} does not allow this: {judgement.reason or 'it gives no reason'}"
            steps.append(each.model_copy(update={"standing": Standing.DONE, "outcome": why, "failed": True}))
        else:
            steps.append(_cleared(plan, each, judgement))
    return tuple(steps), None


def _cleared(plan: Plan, step: Step, asked: Judgement | None = None) -> Step:
    """The call, held as long as a yes is missing that a control (`asked`) or the operation's own approval takes. A role that has
    said yes to exactly this is not asked again, and a control that names none takes the approval's."""
    approval = _operation(plan, step).approval
    wanted = [] if asked is None else [asked]
    if approval is not None and approval.when is None:
        wanted.append(Judgement(verdict=Verdict.INTERRUPT, reason=approval.reason, role=approval.role))
    for each in wanted:
        role = each.role or (None if approval is None else approval.role)
        if role not in step.consented_roles:
            why = {"reason": each.reason or "approval_required", "control": each.control, "role": role}
            return step.model_copy(update={"standing": Standing.HELD, **why})
    return step.model_copy(update={"standing": Standing.CLEARED})


def consents(state: State) -> tuple[Consent, ...]:
    """What a person is asked."""
    return tuple(
        Consent(
            key=kernel.digest([each.key, "consent", *each.consented_roles]),
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
    """The state after a person has decided on a call. After a yes the controls look at the call again: others may have to say
    yes, too, and to other arguments all anew. A no is not asked for a second time. Raises UnexpectedEvent for a call that waits
    for nobody, or arguments that do not fit."""
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
        roles = (*held.consented_roles, held.role)
        step = held.model_copy(update={"standing": Standing.ASKED, "consented_roles": roles})
    else:
        if mismatches := plan.mismatches(_operation(plan, held), thawed(event.arguments)):
            raise UnexpectedEvent(f"the arguments that were put in place do not fit: {'; '.join(mismatches)}")
        key = kernel.digest([held.key, "edited", thawed(event.arguments)])
        roles = (held.role,)
        members = {"standing": Standing.ASKED, "consented_roles": roles, "arguments": event.arguments, "key": key}
        step = held.model_copy(update={**members, "edited": True})
    steps = tuple(step if each is held else each for each in state.steps)
    return state.model_copy(update={"steps": steps, "denied": denied})


def outcome_told(step: Step) -> str:
    """What the model is told of a call that has an outcome. It said other arguments than a person may have had it done with."""
    outcome = step.outcome or ""
    if not step.edited:
        return outcome
    text = kernel.canonical(thawed(step.arguments)).decode()
    shown = text if len(text) <= _MAX_EDIT else f"{text[:_MAX_EDIT]}…"
    return f"A person put other arguments in place: {shown}. The outcome: {outcome}"


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
