"""Workflows as operations: steps that are operations of their own, each asked for under a key of its own.

A workflow that is asked for again begins anew, and each step of it is answered with what came of it: by the ledger, by memory
or by the service, whoever knows it by its key. So it needs no journal, and steps that nobody would know again are refused.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import anyio

from interlock import catalog, kernel, sdk
from interlock.agents.errors import InvalidOptions, OperationFailed
from interlock.agents.harness.performing import OURS
from interlock.agents.operations import MEMORY, Idempotency, Operation, Source
from interlock.agents.sources import Described, Found, Happened, Held, Invocation, NotHappened, OperationSource, Unclear
from interlock.agents.sourcing import flows
from interlock.agents.sourcing.capabilities import CAPABILITY
from interlock.agents.sourcing.options import check_pinned, read_options
from interlock.agents.sourcing.subagents import SUBAGENT
from interlock.agents.terms import Part, thawed
from interlock.kernel import JSON, InterlockError, Retry, UnknownOutcome, is_interruption

WORKFLOW: Final = "workflow"
"""The kind of the operations that are workflows; their reference is what the program calls the workflow."""

AT_ONCE: Final = 8
"""Items of a step that are done at once."""

_KNOWN_AGAIN: Final = (CAPABILITY, MEMORY, SUBAGENT)
"""Kinds that know each call by its key, whatever it does."""


class WorkflowOptions(Part):
    """A workflow has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    workflow: flows.Workflow
    operations: Mapping[str, Operation]
    digest: str


class Workflows:
    """The source of the program's workflows. `load` reads one by its name; `find_source` is the registry's."""

    kind = WORKFLOW

    def __init__(
        self,
        names: Iterable[str],
        load: Callable[[str], flows.Workflow],
        find_source: Callable[[str], OperationSource | None],
    ) -> None:
        self._names = sorted(names)
        self._load = load
        self._find_source = find_source
        self._known: dict[str, _Loaded] = {}
        self._loading: list[str] = []

    def describe(self, source: Source) -> Described | None:
        """What its document says. Raises InvalidOptions with all that is wrong with it."""
        read_options(WorkflowOptions, source)
        if source.ref not in self._names:
            return None
        loaded = self._find(source.ref)
        described: dict[str, JSON] = {
            "description": loaded.workflow.description,
            "input": thawed(loaded.workflow.input),
            "idempotency": Idempotency.DEDUPE.value,
            "pinned": loaded.digest,
        }
        return described

    def names(self) -> Iterable[str]:
        """What the program calls them."""
        return self._names

    def within(self, source: Source) -> Iterable[Source]:
        """What the steps of a workflow ask for; nothing of any other source. Raises InvalidOptions."""
        if source.kind != WORKFLOW or source.ref not in self._names:
            return ()
        return [each.source for each in self._find(source.ref).workflow.steps if each.source is not None]

    async def perform(self, invocation: Invocation) -> JSON | Held:
        """Take its steps. Raises OperationChanged, and what a step fails with."""
        name = invocation.operation.source.ref
        if name not in self._names:
            raise OperationFailed(f"there is no workflow {name!r} in this program")
        loaded = self._find(name)
        check_pinned(invocation.operation, loaded.digest)
        values: dict[str, JSON] = {"input": thawed(invocation.arguments)}
        last: JSON = None
        for step in loaded.workflow.steps:
            if step.gate is not None:
                if not flows.holds(step.gate, values):
                    return {"stopped": step.name}
                continue
            came = await self._taken(invocation, step, loaded.operations[step.name], values)
            if isinstance(came, Held):
                return came
            values[step.name] = last = came
        output = loaded.workflow.output
        return last if output is None else flows.filled(thawed(output), values)

    async def reconcile(self, invocation: Invocation) -> Found:
        """Nobody has to find out: asked again, it goes on."""
        return Unclear(reason=f"{invocation.operation.name} is asked again, and not about")

    # -- one step

    async def _taken(
        self, invocation: Invocation, step: flows.Step, operation: Operation, values: Mapping[str, JSON]
    ) -> JSON | Held:
        if step.map is None:
            return await self._one(invocation, step, operation, values, 0)
        items = flows.found(step.map.path, values)
        if not isinstance(items, Sequence) or isinstance(items, str) or len(items) > flows.MOST_ITEMS:
            raise OperationFailed(f"{step.map.path} is no list of at most {flows.MOST_ITEMS} items")
        done: list[JSON | Held | Exception] = [None] * len(items)
        places = anyio.CapacityLimiter(AT_ONCE)

        async def do(index: int, item: JSON) -> None:
            async with places:
                try:
                    done[index] = await self._one(invocation, step, operation, {**values, "item": item}, index)
                except Exception as error:
                    if is_interruption(error):
                        raise
                    done[index] = error

        async with anyio.create_task_group() as tasks:
            for index, item in enumerate(items):
                tasks.start_soon(do, index, item)
        for each in done:
            if isinstance(each, Exception):
                raise each
        held = next((each for each in done if isinstance(each, Held)), None)
        return cast("list[JSON]", done) if held is None else held

    async def _one(
        self, invocation: Invocation, step: flows.Step, operation: Operation, values: Mapping[str, JSON], index: int
    ) -> JSON | Held:
        source = self._find_source(operation.source.kind)
        if source is None:
            raise OperationFailed(f"nobody here does operations of the kind {operation.source.kind}")
        arguments = flows.filled(flows.plain(step.arguments), values)
        mismatches = catalog.compile_schema(thawed(operation.input))(arguments)
        if mismatches:
            raise OperationFailed(f"the arguments of {step.name} do not fit: {'; '.join(map(str, mismatches[:5]))}")
        pause = step.retry.pause_s
        key = kernel.digest([invocation.key, step.name, index])
        asked = replace(invocation, operation=operation, arguments=cast("Mapping[str, JSON]", arguments), key=key)
        for attempt in range(1, step.retry.max_attempts + 1):
            try:
                if (found := await _found_done(source, asked)) is not None:
                    return found.output
                return await source.perform(asked)
            except InterlockError as error:
                if error.retry is not Retry.LATER or attempt == step.retry.max_attempts:
                    raise
            await anyio.sleep(pause)
            pause *= 2
        raise AssertionError("the last attempt returned or raised")

    # -- read

    def _find(self, name: str) -> _Loaded:
        if name in self._known:
            return self._known[name]
        if name in self._loading:
            raise InvalidOptions(f"the workflow {name} comes to ask for itself, by an agent that it asks")
        self._loading.append(name)
        try:
            workflow = self._load(name)
            problems = list(workflow.problems())
            operations = self._operations(workflow, problems)
        finally:
            self._loading.pop()
        if problems:
            raise InvalidOptions(f"the workflow {name}: {'; '.join(map(str, problems[:20]))}")
        pins: list[JSON] = [each.pinned for each in operations.values()]
        digest = kernel.digest([workflow.model_dump(mode="json", by_alias=True), pins])
        self._known[name] = _Loaded(workflow=workflow, operations=operations, digest=digest)
        return self._known[name]

    def _operations(self, workflow: flows.Workflow, problems: list[sdk.Problem]) -> dict[str, Operation]:
        made: dict[str, Operation] = {}
        for index, step in enumerate(workflow.steps):
            if step.source is None:
                continue
            path = f"steps[{index}].source"
            try:
                described = self._described(step.source)
            except InterlockError as error:
                problems.append(sdk.Problem(path=path, problem=error.message))
                continue
            members: dict[str, Any] = {**described, "name": step.name, "source": step.source.model_dump(mode="json")}
            operation = sdk.read_part(Operation, members, path, problems)
            if operation is None:
                continue
            if operation.idempotency is Idempotency.UNSAFE_ONCE and operation.kind not in _KNOWN_AGAIN:
                problem = (
                    f"it is unsafe_once, and nobody would know it again: the {operation.kind} {operation.source.ref}"
                )
                problems.append(sdk.Problem(path=path, problem=problem))
            made[step.name] = operation
        return made

    def _described(self, source: Source) -> Described:
        if source.kind == WORKFLOW:
            raise InvalidOptions("a workflow has no workflows in it")
        resolver = self._find_source(source.kind)
        described = None if resolver is None else resolver.describe(source)
        if described is None:
            raise InvalidOptions(f"there is no {source.kind} {source.ref!r}")
        return described


async def _found_done(source: OperationSource, asked: Invocation) -> Happened | None:
    """That a step was done before, of those that have to be asked about. It is asked every time: nothing is written down of
    steps, and so nobody knows whether this is the first. Raises UnknownOutcome."""
    if asked.operation.idempotency is not Idempotency.RECONCILE or asked.operation.kind in _KNOWN_AGAIN:
        return None
    name = asked.operation.name
    try:
        found = await source.reconcile(asked)
    except OURS:
        raise
    except Exception as error:
        if is_interruption(error):
            raise
        why = error.message if isinstance(error, InterlockError) else f"it raised {type(error).__name__}"
        raise UnknownOutcome(f"whether the step {name} was done cannot be found out: {why}") from error
    if isinstance(found, Unclear):
        raise UnknownOutcome(f"nobody can tell whether the step {name} was done: {found.reason}")
    return None if isinstance(found, NotHappened) else found
