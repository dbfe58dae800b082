"""One step of a turn: what happened, and what follows. It does nothing itself, knows no clock, and always says the same."""

from collections.abc import Mapping
from typing import Any, Final, assert_never

from interlock import inference, kernel
from interlock.agents.errors import UnexpectedEvent
from interlock.agents.turns import guarding, reading
from interlock.agents.turns.events import Answered, AnyEvent, Began, Decided, Judged, Performed, Stopped, Verdict
from interlock.agents.turns.intents import AnyIntent, Ask, Boundary, Consent, End, Judge
from interlock.agents.turns.plan import Plan
from interlock.agents.turns.state import Conclusion, Failure, Phase, Standing, State

MAX_OUTCOME: Final = 65_536
"""Characters of an operation's outcome that a model is shown."""

Next = tuple[State, tuple[AnyIntent, ...]]

_WAITS: Final = {
    "began": (Phase.NEW,),
    "judged": (Phase.INPUT, Phase.GUARD, Phase.OUTPUT),
    "answered": (Phase.MODEL,),
    "decided": (Phase.PERSON,),
    "performed": (Phase.ACTION,),
    "stopped": tuple(each for each in Phase if each not in (Phase.FINISHED, Phase.FAILED)),
}


def step(plan: Plan, state: State, event: AnyEvent) -> Next:
    """The state after the event, and what is to be done then, in order. Raises UnexpectedEvent for what cannot happen now."""
    if state.fingerprint != plan.fingerprint:
        raise UnexpectedEvent(
            f"the turn {state.turn_id} is of another spec: {state.fingerprint}, not {plan.fingerprint}"
        )
    if state.phase not in _WAITS[event.kind]:
        raise UnexpectedEvent(
            f"the turn {state.turn_id} is in the phase {state.phase}, in which nothing has {event.kind}"
        )
    state = changed(state, worked_s=state.worked_s + event.took_s)
    match event:
        case Began():
            return _begin(plan, state, event)
        case Judged():
            return _judged(plan, state, event)
        case Answered():
            return _answered(plan, state, event.answer)
        case Decided():
            return _decided(plan, state, event)
        case Performed():
            return _performed(plan, state, event)
        case Stopped():
            return failed(state, event.code, event.message, event.details)
        case _:
            assert_never(event)


def changed(state: State, **members: Any) -> State:
    """The state with other members."""
    return state.model_copy(update=members)


def failed(state: State, code: Any, message: str, details: Mapping[str, Any] | None = None) -> Next:
    """The turn, over. What it was about to answer is not said."""
    failure = Failure(code=code, message=message, details=details or {})
    return changed(state, phase=Phase.FAILED, failure=failure, concluded=None), (End(key=_key(state, "end")),)


def _key(state: State, *what: str | int | None) -> str:
    return kernel.digest([state.turn_id, state.round, *what])


def _begin(plan: Plan, state: State, event: Began) -> Next:
    state = changed(
        state,
        input=event.input,
        recalled=event.recalled,
        absent=event.absent,
        conversation=event.conversation,
        said=(inference.said(event.input),),
    )
    if plan.spec.controls.inputs:
        return _judge(changed(state, phase=Phase.INPUT), "input")
    return _ask(plan, state)


def _judge(state: State, boundary: Boundary, call_ids: tuple[str, ...] = ()) -> Next:
    judged = [each for each in state.steps if each.call_id in call_ids]
    keys = [each.key for each in judged]
    roles = kernel.digest([list(each.consented_roles) for each in (state, *judged)])  # judged anew after each yes
    return state, (Judge(key=_key(state, "judge", boundary, *keys, roles), boundary=boundary, call_ids=call_ids),)


def _late(plan: Plan, state: State) -> Next | None:
    limit = plan.spec.controls.timeout_s
    if state.worked_s < limit:
        return None
    message = f"the turn has worked for {state.worked_s:.1f} s; its limit is {limit:g} s (controls.timeout_s)"
    return failed(state, "timeout", message, {"limit": "controls.timeout_s", "seconds": limit})


def _ask(plan: Plan, state: State) -> Next:
    limit = plan.spec.controls.max_turns
    if state.round >= limit:
        return failed(state, "max_turns", f"the model was asked {state.round} times and has not come to an end")
    if late := _late(plan, state):
        return late
    state = changed(state, phase=Phase.MODEL, round=state.round + 1, steps=())
    return state, (Ask(key=_key(state, "ask")),)


def _judged(plan: Plan, state: State, event: Judged) -> Next:
    if state.phase is Phase.GUARD:
        steps, wrong = guarding.judged(plan, state, event.judgements)
        if wrong is not None:
            return failed(state, "control_failed", f"the control {wrong.control} could not judge: {wrong.reason}")
        return _act(plan, changed(state, steps=steps))
    boundary: Boundary = "input" if state.phase is Phase.INPUT else "output"
    [judgement] = event.judgements
    match judgement.verdict:
        case Verdict.ALLOW:
            return _passed(plan, state)
        case Verdict.BLOCK:
            message = f"the control {judgement.control} does not allow the {boundary}: {judgement.reason}"
            return failed(state, f"{boundary}_blocked", message, {"control": judgement.control})
        case Verdict.ERROR:
            message = f"the control {judgement.control} could not judge the {boundary}: {judgement.reason}"
            return failed(state, "control_failed", message)
        case Verdict.INTERRUPT if judgement.role in state.consented_roles:
            return _passed(plan, state)
        case Verdict.INTERRUPT:
            consent = Consent(
                key=_key(state, "consent", boundary, *state.consented_roles),
                boundary=boundary,
                call_id=None,
                reason=judgement.reason or "approval_required",
                control=judgement.control,
                role=judgement.role,
            )
            return changed(state, phase=Phase.PERSON, asked_role=judgement.role), (consent,)


def _passed(plan: Plan, state: State) -> Next:
    """The input or the output may pass."""
    state = changed(state, asked_role=None, consented_roles=())
    if (done := state.concluded) is None:
        return _ask(plan, state)
    said = (*state.said, done.message)
    state = changed(state, said=said, answer=done.message.text, result=done.result, concluded=None)
    return changed(state, phase=Phase.FINISHED), (End(key=_key(state, "end")),)


def _answered(plan: Plan, state: State, answer: inference.Answer) -> Next:
    message = reading.kept(answer.message, state)
    state = changed(state, usage=state.usage + answer.usage)
    match answer.finish:
        case inference.Finish.REFUSAL:
            if plan.spec.controls.outputs:  # which have not looked at its words
                return failed(state, "refused", "the model would not answer")
            state = changed(state, said=(*state.said, reading.without_calls(message)))
            return failed(state, "refused", message.text.strip() or "the model would not answer")
        case inference.Finish.PAUSED if not message.calls:
            return _ask(plan, changed(state, said=(*state.said, message)))
        case inference.Finish.LENGTH | inference.Finish.CUT:
            return _again(plan, state, message, "Your answer ended before it was whole. Say it again, shorter.")
        case _:
            pass
    if len(message.calls) > reading.MAX_CALLS:
        text = f"You asked for {len(message.calls)} operations at once; at most {reading.MAX_CALLS} are done."
        return _again(plan, state, message, text)
    if message.calls:
        state = changed(state, said=(*state.said, message))
        steps = reading.read_calls(plan, state, message.calls, asked=answer.message.calls)
        state = changed(state, steps=steps)
        return _guard(plan, state)
    return _concluded(plan, state, message)


def _concluded(plan: Plan, state: State, message: inference.Message) -> Next:
    """The model has come to an end."""
    text, result = message.text, None
    if plan.spec.result is not None:
        result, problems = reading.read_result(plan, text)
        if problems:
            return _again(plan, state, message, reading.told(problems), problems)
    elif not text.strip():
        return _again(plan, state, message, "You said nothing. Answer, or say that you cannot.")
    state = changed(state, concluded=Conclusion(message=message, result=result))
    if plan.spec.controls.outputs:
        return _judge(changed(state, phase=Phase.OUTPUT), "output")
    return _passed(plan, state)


def _again(plan: Plan, state: State, message: inference.Message, text: str, problems: list[str] | None = None) -> Next:
    """What was said stays in the transcript, and the model is told what is wrong with it, a number of times."""
    most = 1 if plan.spec.result is None else plan.spec.result.max_repairs
    kept = reading.without_calls(message)
    said = (*state.said, kept) if kept.text.strip() else state.said
    if state.repairs >= most:
        code = "no_answer" if problems is None else "invalid_result"
        return failed(
            changed(state, said=said),
            code,
            f"after {most} {'repair' if most == 1 else 'repairs'}: {text}",
            {"problems": problems or []},
        )
    return _ask(plan, changed(state, said=(*said, inference.said(text)), repairs=state.repairs + 1))


def _guard(plan: Plan, state: State) -> Next:
    """The whole batch is judged before any of it is done."""
    if call_ids := guarding.to_judge(plan, state):
        return _judge(changed(state, phase=Phase.GUARD), "operations", call_ids)
    return _act(plan, changed(state, steps=guarding.unjudged(plan, state)))


def _act(plan: Plan, state: State) -> Next:
    """Nothing is done while a person has to be asked about any of it."""
    if consents := guarding.consents(state):
        return changed(state, phase=Phase.PERSON), consents
    if all(each.standing is Standing.DONE for each in state.steps):
        return _told(plan, state)
    return _late(plan, state) or (changed(state, phase=Phase.ACTION), guarding.to_perform(plan, state))


def _decided(plan: Plan, state: State, event: Decided) -> Next:
    if event.call_id is None:
        boundary: Boundary = "input" if state.concluded is None else "output"
        if event.approved:
            roles = (*state.consented_roles, state.asked_role)
            phase = Phase.INPUT if boundary == "input" else Phase.OUTPUT
            return _judge(changed(state, phase=phase, consented_roles=roles), boundary)
        return failed(
            state, f"{boundary}_blocked", f"a person said no to the {boundary}: {event.reason or 'no reason'}"
        )
    state = guarding.decided(plan, state, event)
    return (state, ()) if any(each.standing is Standing.HELD for each in state.steps) else _guard(plan, state)


def _performed(plan: Plan, state: State, event: Performed) -> Next:
    steps = list(state.steps)
    for index, each in enumerate(steps):
        if each.call_id == event.call_id and each.standing is Standing.CLEARED:
            members = {"standing": Standing.DONE, "outcome": _shown(event.text), "failed": event.failed}
            steps[index] = each.model_copy(update=members)
            break
    else:
        raise UnexpectedEvent(f"the turn {state.turn_id} waits for no outcome of {event.call_id!r}")
    state = changed(state, steps=tuple(steps), operations_done=state.operations_done + 1)
    return _told(plan, state) if all(each.standing is Standing.DONE for each in steps) else (state, ())


def _told(plan: Plan, state: State) -> Next:
    """All calls of the answer have outcomes: the model is told them, in its own order."""
    parts = tuple(
        inference.Outcome(
            call_id=each.call_id, name=each.operation, text=guarding.outcome_told(each), failed=each.failed
        )
        for each in state.steps
    )
    message = inference.Message(role=inference.Role.OPERATIONS, parts=parts)
    return _ask(plan, changed(state, said=(*state.said, message)))


def _shown(text: str) -> str:
    return (
        text if len(text) <= MAX_OUTCOME else f"{text[:MAX_OUTCOME]}\n… and {len(text) - MAX_OUTCOME} more characters"
    )
