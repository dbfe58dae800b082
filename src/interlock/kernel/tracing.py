"""The port of tracing: what happens, told to whoever watches, as spans of one trace. No payload and no secret is told.

Names and facts are the program's own words, ids and numbers; what callers and services wrote stays out of them.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Literal, Protocol, Self, TypeAlias

Fact: TypeAlias = str | int | bool | None
"""What is told of a span; None is not told."""

Role: TypeAlias = Literal["internal", "server", "client", "producer", "consumer"]
"""What a span is in a conversation, as OpenTelemetry's span kinds."""


class Span(Protocol):
    """Something that goes on."""

    def note(self, facts: Mapping[str, Fact]) -> None:
        """Tell more of it."""
        ...

    def fail(self, kind: str) -> None:
        """It failed, with an error of that kind: a code, a class, a status."""
        ...

    def follows(self, traceparent: str | None) -> None:
        """It has to do with what goes on elsewhere, which is not taken for its cause. What is no `traceparent` is ignored."""
        ...


class Tracing(Protocol):
    """Where spans go."""

    def span(
        self,
        name: str,
        *,
        role: Role = "internal",
        parent: str | None = None,
        facts: Mapping[str, Fact] | None = None,
    ) -> AbstractContextManager[Span]:
        """What goes on while the block lasts, within what goes on around it; or within `parent`, a `traceparent` that was kept
        with work: then what goes on around it is linked. An error that leaves the block is told by its code or class."""
        ...

    def traceparent(self) -> str | None:
        """What goes on here, in the form of W3C's Trace Context, to be kept with work or sent along; None: nothing is traced."""
        ...


class Untraced:
    """`Tracing` and `Span` where nobody watches."""

    def span(
        self,
        name: str,
        *,
        role: Role = "internal",
        parent: str | None = None,
        facts: Mapping[str, Fact] | None = None,
    ) -> "Untraced":
        return self

    def traceparent(self) -> None:
        return None

    def note(self, facts: Mapping[str, Fact]) -> None:
        pass

    def fail(self, kind: str) -> None:
        pass

    def follows(self, traceparent: str | None) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


UNTRACED: Final = Untraced()
