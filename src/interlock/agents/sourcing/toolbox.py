"""MCP servers as agents see them: what one offers, as it was written down, and conversations with it."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Protocol

from pydantic import Field

from interlock import kernel
from interlock.agents.operations import Idempotency
from interlock.agents.terms import Object, Part, Reference
from interlock.kernel import JSON, Caller

MAX_TOOLS: Final = 1000


class Tool(Part):
    """A tool, as its server tells of it. `read_only`, `idempotent` and `destructive` are the server's word, which whoever keeps
    the list believes or changes."""

    name: Reference
    description: Annotated[str, Field(max_length=8000)] = ""
    input: Object
    output: Object | None = None
    read_only: bool = False
    idempotent: bool = False
    destructive: bool = False

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
    """What a tool said: `output`, or with `failed` what it failed with; `structured`: as a value, which its output schema is
    about."""

    output: JSON
    failed: bool = False
    structured: bool = False


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

    def presence(self, server: str) -> Literal["required", "optional"] | None:
        """Whether turns may begin without it; None: that is found out when it is asked."""
        ...

    def begins_within(self, server: str) -> float:
        """Seconds that its beginning may take."""
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
