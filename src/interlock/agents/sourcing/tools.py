"""Tools of MCP servers as operations. What a server offers is written down once, read by a person, and held against the server
before each call: a spec is made of what was written, and what became another is not asked."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import anyio

from interlock import catalog, kernel, policy
from interlock.agents.errors import OperationFailed
from interlock.agents.operations import Idempotency, Operation, Source
from interlock.agents.sources import Described, Found, Held, Invocation, Unclear
from interlock.agents.sourcing.options import check_pinned, read_options
from interlock.agents.sourcing.toolbox import Tool, ToolServers, ToolSession
from interlock.agents.terms import Part, thawed
from interlock.kernel import JSON, Caller, InterlockError, StoreError, UnknownOutcome

MCP: Final = "mcp"
"""The kind of the operations that are tools of an MCP server; their reference is SERVER/TOOL."""

_FOR_THE_BEGINNING: Final = 0.9
"""How much of an operation's time may be over before it is handed over."""


class ToolOptions(Part):
    """How a tool is asked for. `despite_hints`: what the spec says of it holds, though the server calls it destructive."""

    despite_hints: bool = False


class McpTools:
    """The source of the tools of servers. Each call has a conversation, and with a command a process, of its own: nothing is left
    of one call for another, or for another tenant. Without a policy it only describes."""

    kind = MCP

    def __init__(self, servers: ToolServers, rules: policy.Policy | None = None) -> None:
        self._servers = servers
        self._rules = rules

    def describe(self, source: Source) -> Described | None:
        """What was written down of it."""
        read_options(ToolOptions, source)
        server, name = _parts(source)
        box = self._servers.read(server)
        tool = None if box is None else box.find(name)
        if tool is None:
            return None
        described: dict[str, JSON] = {
            "description": tool.description,
            "input": thawed(tool.input),
            "idempotency": tool.idempotency.value,
            "pinned": tool.digest,
            "metadata": {"effect": _effect(tool.idempotency)},
        }
        return described

    def names(self) -> Iterable[str]:
        """All that was written down of all servers."""
        boxes = ((name, self._servers.read(name)) for name in self._servers.names)
        return [f"{name}/{tool.name}" for name, box in boxes if box is not None for tool in box.tools]

    async def perform(self, invocation: Invocation) -> JSON | Held:
        """Call it. Raises OperationChanged, OperationFailed, and UnknownOutcome where there was no answer to what may not be done
        twice."""
        operation = invocation.operation
        self._judge(invocation)
        server, name = _parts(operation.source)
        beginning = min(self._servers.begins_within(server), invocation.timeout_s * _FOR_THE_BEGINNING)
        opening = self._servers.open(
            server, caller=invocation.caller, run_id=invocation.turn_id, seconds=invocation.timeout_s
        )
        # Until the call is handed over nothing is done, whatever goes wrong: this ends before the operation's own time does.
        with anyio.move_on_after(beginning) as time:
            async with opening as session:
                there = _there(operation, await session.list_tools())
                time.deadline = math.inf
                return await _called(session, invocation, server, there)
        raise OperationFailed(
            f"the MCP server {server} did not begin within {beginning:g} s: {name} was not called, and nothing was done"
        )

    async def absent(self, operations: Sequence[Operation], *, caller: Caller, run_id: str) -> Mapping[str, str]:
        """Those of optional servers that are away, or have another tool by now. Raises OperationFailed and OperationChanged for
        those of required ones; of others that is found out when they are called."""
        found: dict[str, str] = {}
        for server in sorted({_parts(each.source)[0] for each in operations}):
            presence = self._servers.presence(server)
            if presence is None:
                continue
            own = [each for each in operations if _parts(each.source)[0] == server]
            for operation, problem in (await self._look(server, own, caller=caller, run_id=run_id)).items():
                if presence == "required":
                    raise OperationFailed(f"the turn cannot begin without the MCP server {server}: {problem}")
                found[operation] = problem
        return found

    async def _look(
        self, server: str, operations: Sequence[Operation], *, caller: Caller, run_id: str
    ) -> dict[str, str]:
        """What is wrong with each of the operations, if anything is."""
        seconds = self._servers.begins_within(server)
        try:
            with anyio.move_on_after(seconds):
                async with self._servers.open(server, caller=caller, run_id=run_id, seconds=seconds) as session:
                    return _wrong(operations, await session.list_tools())
            why = f"it did not begin within {seconds:g} s"
        except StoreError:
            raise
        except InterlockError as error:
            why = error.message
        return dict.fromkeys((each.name for each in operations), why)

    def objections(self, operation: Operation) -> Iterable[tuple[str, str]]:
        """Where the server calls a tool destructive, and the spec says that it changes nothing."""
        server, name = _parts(operation.source)
        box = self._servers.read(server)
        tool = None if box is None else box.find(name)
        objection = None if tool is None else _objection(operation, tool)
        if objection is not None:
            yield (
                "idempotency",
                f"{objection}; say so with `options: {{despite_hints: true}}` in its source if you know better",
            )

    async def reconcile(self, invocation: Invocation) -> Found:
        """MCP has no way to ask."""
        return Unclear(reason=f"an MCP server cannot say whether it did {invocation.operation.name}")

    def _judge(self, invocation: Invocation) -> None:
        """By the rules of policy, as `mcp.SERVER.TOOL`. Where they want a person asked, that is the spec's part: its approval was
        given by now. Raises OperationFailed."""
        if self._rules is None:
            raise OperationFailed("tools are only described here; an open Interlock calls them")
        operation, caller = invocation.operation, invocation.caller
        facts = policy.Facts(
            capability_id=f"mcp.{operation.source.ref.replace('/', '.')}",
            connector_id="mcp",
            effect=_effect(operation.idempotency),
            runtime_class="direct",
            tenant_id=caller.tenant_id,
            actor=caller.actor,
            roles=caller.roles,
            environment=invocation.environment,
            origin="agent",
            allowed_operations=caller.narrowed(None),
        )
        verdict = self._rules.decide(facts)
        reasons = "; ".join(each.text for each in verdict.reasons if each.effect is verdict.effect)
        if verdict.effect is policy.Effect.ASK and (role := _consented(operation, self._rules)) != verdict.role:
            own = "has no approval of its own" if role is None else f"has an approval by the role {role}"
            raise OperationFailed(
                f"policy wants a person with the role {verdict.role} asked, and the operation {own}: {reasons}"
            )
        if verdict.effect in (policy.Effect.DENY, policy.Effect.SHED):
            raise OperationFailed(f"policy says {verdict.effect}, and nothing was done: {reasons}")


async def _called(session: ToolSession, invocation: Invocation, server: str, tool: Tool) -> JSON:
    """What the tool says. Raises OperationFailed, UnknownOutcome."""
    what = f"the tool {tool.name} of the MCP server {server}"
    try:
        check = None if tool.output is None else catalog.compile_schema(thawed(tool.output))
    except ValueError as error:
        raise OperationFailed(f"{what} was not called: its output schema is no JSON Schema: {error}"[:500]) from error
    try:
        answer = await session.call(tool.name, thawed(invocation.arguments), timeout_s=invocation.timeout_s)
    except UnknownOutcome as error:
        if invocation.operation.idempotency is Idempotency.UNSAFE_ONCE:
            raise
        raise OperationFailed(f"{error.message}; it may be asked for again") from error
    if answer.failed:
        raise OperationFailed(f"{what} failed: {_short(answer.output)}")
    if check is not None and not answer.structured:
        raise OperationFailed(f"{what} was called, and gave no structured answer, though it has an output schema")
    if check is not None and (problems := check(answer.output)):
        told = "; ".join(map(str, problems[:10]))
        raise OperationFailed(f"{what} was called, and its answer does not fit its own output schema: {told}")
    return answer.output


def _there(operation: Operation, tools: Iterable[Tool]) -> Tool:
    """The tool as the server has it now. Raises OperationChanged, OperationFailed."""
    server, name = _parts(operation.source)
    there = next((each for each in tools if each.name == name), None)
    check_pinned(operation, None if there is None else there.digest)
    if there is None:
        raise OperationFailed(f"the MCP server {server} has no tool {name!r}")
    if (objection := _objection(operation, there)) is not None:
        raise OperationFailed(f"{operation.name} was not called: {objection}")
    return there


def _wrong(operations: Iterable[Operation], tools: Sequence[Tool]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in operations:
        try:
            _there(each, tools)
        except InterlockError as error:
            found[each.name] = error.message
    return found


def _objection(operation: Operation, tool: Tool) -> str | None:
    """Why the spec's word on the tool does not stand against the server's."""
    if operation.idempotency is not Idempotency.PURE or not tool.destructive:
        return None
    if read_options(ToolOptions, operation.source).despite_hints:
        return None
    return f"{tool.name} is pure by the spec, and destructive by its server"


def _consented(operation: Operation, rules: policy.Policy) -> str | None:
    """Whose yes there was by now; None: nothing makes sure that there was one."""
    if operation.approval is None or operation.approval.when is not None:
        return None
    return operation.approval.role or rules.reviewer


def _effect(idempotency: Idempotency) -> str:
    return "read" if idempotency is Idempotency.PURE else "execute"


def _parts(source: Source) -> tuple[str, str]:
    server, _, name = source.ref.partition("/")
    return server, name


def _short(output: JSON) -> str:
    text = output if isinstance(output, str) else kernel.canonical(output).decode()
    return text[:2000]
