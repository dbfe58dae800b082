"""What an agent of Pydantic AI does in its turn, step by step: each is taken by the turn's journal, as its class allows."""

import json
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, cast

from interlock import agents
from interlock.bridges import outcomes
from interlock.kernel import JSON, UnknownOutcome, digest

try:
    import pydantic_core
    from pydantic_ai import RunContext
    from pydantic_ai.durable_exec import (
        DurableOperationId,
        JournalCallableOperationBackend,
        ModelRequestId,
        RoleBasedOperationConfig,
        ToolsetCallToolId,
        record_durable_unit,
    )
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        'Pydantic AI needs a library: pip install "interlock[inference]"', name=missing.name
    ) from missing

_AGAIN: Final = frozenset({agents.Idempotency.PURE, agents.Idempotency.IDEMPOTENT})


@dataclass(slots=True)
class Turn:
    """The turn that the code around is in; `schemas` of the tools that its model is offered, by name."""

    steps: agents.harness.Steps
    begun: int = 0
    schemas: dict[str, JSON] = field(default_factory=dict[str, JSON])


current: ContextVar[Turn | None] = ContextVar("interlock.bridges.durability.turn", default=None)
"""That of the code around; None within a step, which has no steps of its own."""
_call: ContextVar[tuple[str, bool] | None] = ContextVar("interlock.bridges.durability.call", default=None)


def call_key() -> str:
    """In a tool: the key of this call, the same whenever it is done again, and no other call's. For what takes a key, so that
    it does a thing once. Raises LookupError outside of a turn."""
    if (found := _call.get()) is None:
        raise LookupError("no tool of an agent's turn is at work here")
    return found[0]


def is_again() -> bool:
    """In a tool: whether this call may have been done before, by a process that went away. Raises LookupError outside of a
    turn."""
    if (found := _call.get()) is None:
        raise LookupError("no tool of an agent's turn is at work here")
    return found[1]


class Backend(JournalCallableOperationBackend[Any]):
    """`DurableOperationBackend`, as Pydantic AI has it, over the journal of the turn."""

    def __init__(
        self, name: str, classes: Mapping[str, agents.Idempotency], reconcile: Mapping[str, Callable[..., Any]]
    ) -> None:
        config = RoleBasedOperationConfig[Any](model=None, event=None, capability=None, tool=None)
        super().__init__(agent_name=name, config=config)
        self._classes = classes
        self._reconcile = reconcile

    async def execute(
        self,
        *,
        operation_id: DurableOperationId,
        name: str,
        body: Callable[[], Awaitable[object]],
        cache_key: tuple[object, ...],
        config: Any,
    ) -> object:
        """One step: told again, or done."""
        turn = current.get()
        assert turn is not None
        step, done = self._step(turn.steps, operation_id, name, cache_key), False

        async def do(*, again: bool) -> str:
            nonlocal done
            done = True
            with _doing(f"{turn.steps.run.run_id}:{step.key}", again=again):
                came = await body()
            if step.kind == "tool" and step.idempotency not in _AGAIN and outcomes.was_cut_off(came):
                raise UnknownOutcome(f"{step.name} was stopped in the middle of it: its time was over")
            return json.dumps(came)

        text = await turn.steps.take(step, do, self._asking(step, cache_key))
        record_durable_unit(executed=done)
        return json.loads(text)

    def _step(
        self, steps: agents.harness.Steps, operation_id: DurableOperationId, name: str, cache_key: tuple[object, ...]
    ) -> agents.harness.Step:
        if isinstance(operation_id, ToolsetCallToolId):
            tool, arguments, ctx = cast("tuple[str, Mapping[str, Any], RunContext[Any]]", cache_key[:3])
            given = cast("dict[str, JSON]", pydantic_core.to_jsonable_python(dict(arguments), fallback=str))
            call_id = ctx.tool_call_id or ""
            return agents.harness.Step(
                key=steps.numbered(f"tool:{call_id}:{digest([tool, given])}"),
                kind="tool",
                name=tool,
                idempotency=self._classes.get(tool, agents.Idempotency.UNSAFE_ONCE),
                call_id=call_id,
                arguments=given,
            )
        is_model = isinstance(operation_id, ModelRequestId)
        return agents.harness.Step(
            key=steps.numbered(f"step:{name}"),
            kind="model" if is_model else "other",
            name=name,
            idempotency=agents.Idempotency.IDEMPOTENT,
        )

    def _asking(self, step: agents.harness.Step, cache_key: tuple[object, ...]) -> agents.harness.Asking:
        failed = partial(outcomes.failed, step)
        find = self._reconcile.get(step.name) if step.kind == "tool" else None
        if find is None:
            return agents.harness.Asking(told=outcomes.told, failed=failed)
        arguments = cast("Mapping[str, Any]", cache_key[1])
        return agents.harness.Asking(
            told=outcomes.told, failed=failed, reconcile=partial(outcomes.found, find, arguments)
        )


@contextmanager
def _doing(key: str, *, again: bool) -> Generator[None]:
    """What a step does is no step of its own."""
    outer, call = current.set(None), _call.set((key, again))
    try:
        yield
    finally:
        _call.reset(call)
        current.reset(outer)
