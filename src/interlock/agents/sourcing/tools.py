"""Tools of MCP servers as operations. What a server offers is written down once, read by a person, and held against the server
before each call: a spec is made of what was written, and what became another is not asked."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Protocol

from pydantic import Field

from interlock import kernel, policy
from interlock.agents.errors import OperationFailed
from interlock.agents.operations import Idempotency, Operation, Source
from interlock.agents.sources import Described, Found, Held, Invocation, Unclear
from interlock.agents.sourcing.options import check_pinned, read_options
from interlock.agents.terms import Object, Part, Reference, thawed
from interlock.kernel import JSON, Caller, UnknownOutcome

MCP: Final = "mcp"
"""The kind of the operations that are tools of an MCP server; their reference is SERVER/TOOL."""

MAX_TOOLS: Final = 1000


class Tool(Part):
    """A tool, as its server tells of it. `read_only` and `idempotent` are the server's word, which whoever keeps the list
    believes or changes."""

    name: Reference
    description: Annotated[str, Field(max_length=8000)] = ""
    input: Object
    output: Object | None = None
    read_only: bool = False
    idempotent: bool = False

    @property
    def idempotency(self) -> Idempotency:
        """What a second call means."""
        if self.read_only:
            return Idempotency.PURE
        return Idempotency.IDEMPOTENT if self.idempotent else Idempotency.UNSAFE_ONCE

    @property
    def digest(self) -> str:
        """Of what a call depends on, and what a model is told."""
        told = self.model_dump(mode="json", include={"name", "description", "input", "output"})
        return kernel.digest(told)


class Toolbox(Part):
    """All that a server offered when it was asked: a file that a person reads, and keeps beside the settings."""

    contract: Literal["interlock.toolbox/v1"]
    server: str
    tools: Annotated[tuple[Tool, ...], Field(max_length=MAX_TOOLS)] = ()

    def find(self, name: str) -> Tool | None:
        """The tool of that name."""
        return next((each for each in self.tools if each.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a tool said: `output`, or with `failed` what it failed with."""

    output: JSON
    failed: bool = False


class ToolSession(Protocol):
    """A conversation with a server."""

    async def list_tools(self) -> tuple[Tool, ...]:
        """What it offers now. Raises OperationFailed."""
        ...

    async def call(self, name: str, arguments: Mapping[str, Any], *, timeout_s: float) -> Answered:
        """Have a tool do its work. Raises OperationFailed if it was not asked or refused, UnknownOutcome if there is no
        answer."""
        ...


class ToolServers(Protocol):
    """The servers that the operator has."""

    @property
    def names(self) -> Iterable[str]:
        """What they are called."""
        ...

    def read(self, server: str) -> Toolbox | None:
        """What was written down of a server; None if there is none of that name. Raises an error of the tree if that cannot be
        read."""
        ...

    def open(
        self, server: str, *, caller: Caller, run_id: str, seconds: float
    ) -> AbstractAsyncContextManager[ToolSession]:
        """A conversation with a server, which ends with the block. Raises OperationFailed."""
        ...


class ToolOptions(Part):
    """A tool has none."""


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
        opening = self._servers.open(
            server, caller=invocation.caller, run_id=invocation.turn_id, seconds=invocation.timeout_s
        )
        async with opening as session:
            there = next((each for each in await session.list_tools() if each.name == name), None)
            check_pinned(operation, None if there is None else there.digest)
            if there is None:
                raise OperationFailed(f"the MCP server {server} has no tool {name!r}")
            try:
                answer = await session.call(name, thawed(invocation.arguments), timeout_s=invocation.timeout_s)
            except UnknownOutcome as error:
                if operation.idempotency is Idempotency.UNSAFE_ONCE:
                    raise
                raise OperationFailed(f"{error.message}; it may be asked for again") from error
        if answer.failed:
            raise OperationFailed(f"the tool {name} of the MCP server {server} failed: {_short(answer.output)}")
        return answer.output

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
        if verdict.effect is policy.Effect.ASK and not _was_asked(operation):
            raise OperationFailed(
                f"policy wants a person asked, and the operation has no approval of its own: {reasons}"
            )
        if verdict.effect in (policy.Effect.DENY, policy.Effect.SHED):
            raise OperationFailed(f"policy says {verdict.effect}, and nothing was done: {reasons}")


def _was_asked(operation: Operation) -> bool:
    """Whether nothing of it is done without a person's yes."""
    return operation.approval is not None and operation.approval.when is None


def _effect(idempotency: Idempotency) -> str:
    return "read" if idempotency is Idempotency.PURE else "execute"


def _parts(source: Source) -> tuple[str, str]:
    server, _, name = source.ref.partition("/")
    return server, name


def _short(output: JSON) -> str:
    text = output if isinstance(output, str) else kernel.canonical(output).decode()
    return text[:2000]
