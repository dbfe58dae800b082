"""What stays the same of an agent and of its turns from run to run: for tests that compare it with a file.

    assert golden.turn((await il.agents.replay(run_id)).state) == json.loads(Path("golden.json").read_text())

Ids, digests, times and what providers keep for themselves are left out; call ids are numbered in the order of the calls.
"""

from collections.abc import Mapping

from interlock import agents, inference
from interlock.kernel import JSON, InvalidJson, parse_json


def turn(state: agents.turns.State) -> dict[str, JSON]:
    """A turn: what was said and done in it, in order, and how it ended."""
    numbers = _numbers(state)
    failure = state.failure
    said: dict[str, JSON] = {
        "phase": state.phase.value,
        "rounds": state.round,
        "operations": state.operations_done,
        "repairs": state.repairs,
        "said": [_message(each, numbers) for each in state.said],
        "waiting": [
            {"call": numbers.get(each.call_id), "operation": each.operation, "standing": each.standing.value}
            for each in state.steps
            if each.standing is not agents.turns.Standing.DONE
        ],
        "answer": state.answer,
        "result": state.result,
        "failure": None if failure is None else failure.code,
    }
    return {name: value for name, value in said.items() if value not in (None, [], 0)}


def spec(told: agents.Spec) -> dict[str, JSON]:
    """An agent: what it can do, what watches over it and how much it may take; of texts and schemas only that they are there."""
    controls = told.controls
    said: dict[str, JSON] = {
        "id": told.id,
        "model": told.model,
        "has_context_schema": told.context_schema is not None,
        "has_result": told.result is not None,
        "memory": None if told.memory is None else f"{told.memory.scope}, capture {told.memory.capture}",
        "operations": [
            {
                "name": each.name,
                "source": f"{each.kind} {each.source.ref}",
                "idempotency": each.idempotency.value,
                "approval": each.approval is not None,
                "controls": [use.control for use in controls.operations if use.match.fits(each)],
            }
            for each in told.operations
        ],
        "inputs": [each.control for each in controls.inputs],
        "outputs": [each.control for each in controls.outputs],
        "max_turns": controls.max_turns,
        "timeout_s": controls.timeout_s,
        "budgets": controls.budgets.model_dump(mode="json", exclude_none=True),
    }
    return {name: value for name, value in said.items() if value not in (None, [], {})}


def _numbers(state: agents.turns.State) -> Mapping[str, int]:
    called = [call.call_id for each in state.said for call in each.calls]
    return {call_id: number for number, call_id in enumerate(called, start=1)}


def _message(message: inference.Message, numbers: Mapping[str, int]) -> dict[str, JSON]:
    parts = [told for each in message.parts if (told := _part(each, numbers)) is not None]
    return {"role": message.role.value, "parts": parts}


def _part(part: inference.Piece, numbers: Mapping[str, int]) -> JSON:
    match part:
        case inference.Text(text=text):
            return text
        case inference.Call(call_id=call_id, name=name, arguments=arguments):
            return {"call": numbers[call_id], "operation": name, "arguments": _arguments(arguments)}
        case inference.Outcome(call_id=call_id, text=text, failed=failed):
            return {"outcome_of": numbers.get(call_id), "failed": failed, "text": text}
        case _:
            return None  # thoughts are the model's own, and never the same


def _arguments(text: str) -> JSON:
    try:
        return parse_json(text or "{}", what="arguments")
    except InvalidJson:
        return text
