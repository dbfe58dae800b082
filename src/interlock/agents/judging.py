"""What the controls of a spec say at a boundary. A control that fails, answers nonsense or takes too long has not allowed it."""

import inspect
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, cast

import anyio
import anyio.to_thread

from interlock import sdk
from interlock.agents.controls import Control
from interlock.agents.errors import UnexpectedEvent
from interlock.agents.operations import Consent
from interlock.agents.registry import Registry
from interlock.agents.rulings import MAX_REASON, Check, ControlInput, Ruling, Surroundings, error
from interlock.agents.terms import frozen, thawed
from interlock.agents.turns import Judge, Judgement, Plan, State, Verdict
from interlock.kernel import is_interruption

CONTROL_TIMEOUT_S: Final = 10.0
"""Seconds that one control may take for one thing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """Carries out the intents `Judge` of turns, with the controls of a registry."""

    registry: Registry
    timeout_s: float = CONTROL_TIMEOUT_S

    async def judge(
        self, plan: Plan, state: State, intent: Judge, *, surroundings: Surroundings
    ) -> tuple[Judgement, ...]:
        """What the controls say of each thing that the intent names, in its order. A control is asked only as long as
        none before it refuses. Raises UnexpectedEvent for a call or an answer that the turn does not have."""
        surroundings = replace(surroundings, context=frozen(surroundings.context))
        shown = partial(
            ControlInput,
            boundary=intent.boundary,
            agent_id=plan.spec.id,
            fingerprint=plan.fingerprint,
            turn_id=state.turn_id,
            surroundings=surroundings,
            options={},
        )
        controls = plan.spec.controls
        if intent.boundary == "input":
            given = shown(text=state.input, arguments={})
            return (await self._strictest(plan, controls.inputs, given, state.consented_roles),)
        if intent.boundary == "output":
            said = state.concluded
            if said is None:
                raise UnexpectedEvent(f"the turn {state.turn_id} has no answer to judge")
            given = shown(text=said.message.text, result=frozen(said.result), arguments={})
            return (await self._strictest(plan, controls.outputs, given, state.consented_roles),)
        return tuple([await self._call(plan, state, call_id, shown) for call_id in intent.call_ids])

    async def _call(self, plan: Plan, state: State, call_id: str, shown: "partial[ControlInput]") -> Judgement:
        step = next((each for each in state.steps if each.call_id == call_id), None)
        operation = None if step is None else plan.find(step.operation)
        if step is None or operation is None:
            raise UnexpectedEvent(f"the turn {state.turn_id} has no call {call_id!r} to judge")
        given = shown(call_id=call_id, operation=operation, arguments=step.arguments)
        uses = [each for each in plan.spec.controls.operations if each.match.fits(operation)]
        return await self._strictest(plan, uses, given, step.consented_roles, operation.approval)

    async def _strictest(
        self,
        plan: Plan,
        uses: Iterable[Control],
        given: ControlInput,
        consented: Collection[str | None],
        approval: Consent | None = None,
    ) -> Judgement:
        """What the first says that refuses or cannot judge; else the first that wants somebody asked who has not said yes. The
        operation's own approval, if it depends on the call, is asked last."""
        own = None if approval is None or approval.when is None else Control(control=approval.when)
        asked: Judgement | None = None
        for use in uses if own is None else (*uses, own):
            said = await self._ruled(plan, use, given, asks=use is own)
            if said.verdict is Verdict.ALLOW:
                continue
            if said.verdict is not Verdict.INTERRUPT:
                return _judgement(given, use.control, said)
            if approval is not None and use is own:
                said = replace(said, reason=approval.reason, role=approval.role or said.role)
            elif approval is not None:
                said = replace(said, role=said.role or approval.role)
            if asked is None and said.role not in consented:
                asked = _judgement(given, use.control, said)
        return asked or Judgement(call_id=given.call_id, verdict=Verdict.ALLOW)

    async def _ruled(self, plan: Plan, use: Control, given: ControlInput, *, asks: bool = False) -> Ruling:
        check = self.registry.find_control(use.control)
        if check is None:
            return error("there is no control of that name in this program")
        if given.boundary not in check.boundaries:
            return error(f"it has nothing to say of the {given.boundary}")
        problems: list[sdk.Problem] = []
        options: Any = use.options
        if check.options is not None:
            options = sdk.read_part(check.options, thawed(use.options), "options", problems)
        if problems:
            return error("; ".join(map(str, problems)))
        if not check.instant:
            try:
                given = _typed(plan, given)
            except ValueError as refused:
                return error(str(refused))
        try:
            with anyio.fail_after(self.timeout_s):
                said = await _called(check, replace(given, options=options))
        except TimeoutError:
            return error(f"it took more than {self.timeout_s:g} s, or a part of it gave up waiting")
        except BaseException as raised:
            if is_interruption(raised):
                raise
            # Its type alone: what a stranger's exception says may be anything, and a model may read it.
            return error(f"it raised {type(raised).__name__}")
        return _ruling(said, asks=asks)


def _typed(plan: Plan, given: ControlInput) -> ControlInput:
    """As a program's own control sees it, and nobody else: what it changes in a model is its own. Raises ValueError."""
    context, result = thawed(given.surroundings.context), thawed(given.result)
    seen, read = plan.read_context(context), plan.read_result(result)
    if seen is not context:
        given = replace(given, surroundings=replace(given.surroundings, seen=seen))
    return given if read is result else replace(given, result=read)


async def _called(check: Check, given: ControlInput) -> object:
    if check.instant:
        return check.function(given)
    if inspect.iscoroutinefunction(check.function):
        return await check.function(given)
    return await anyio.to_thread.run_sync(check.function, given, abandon_on_cancel=True)


def _ruling(said: object, *, asks: bool) -> Ruling:
    """What was said, if it is something that a control may say."""
    if asks and isinstance(said, bool):
        return Ruling(verdict=Verdict.INTERRUPT if said else Verdict.ALLOW)
    if not isinstance(said, Ruling):
        wanted = "a ruling or a bool" if asks else "a ruling"
        return error(f"it returned {type(said).__name__}, not {wanted}")
    verdict, *words = cast("tuple[object, ...]", (said.verdict, said.reason, said.role))
    if not isinstance(verdict, Verdict) or not all(each is None or isinstance(each, str) for each in words):
        return error("it returned a ruling with members that are none")
    return said


def _judgement(given: ControlInput, control: str, said: Ruling) -> Judgement:
    reason = None if said.reason is None else said.reason[:MAX_REASON]
    return Judgement(call_id=given.call_id, verdict=said.verdict, control=control, reason=reason, role=said.role)
