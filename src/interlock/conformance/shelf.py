"""What can be put to the test by its name: ours, and what installed packages offer."""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import EntryPoint
from typing import Generic, TypeVar

from interlock.conformance.subject import SubjectBroken, UnknownSubject
from interlock.kernel import entry_points, is_interruption

S = TypeVar("S")


class Shelf(Generic[S]):
    """The subjects of one kind (`lane`, `target`, `verifier`). An entry point of `group` names what opens one, as those
    in `ours` do: a function without arguments that returns an asynchronous context manager."""

    def __init__(self, kind: str, ours: Mapping[str, Callable[[], AbstractAsyncContextManager[S]]]) -> None:
        self.kind = kind
        self.group = f"interlock.conformance.{kind}s"
        self._ours = ours

    def names(self, *, entries: Iterable[EntryPoint] | None = None) -> tuple[str, ...]:
        """Ours and those of installed packages, sorted. Nothing is loaded. `entries` replaces what is installed."""
        return tuple(sorted({*self._ours, *(entry.name for entry in self._installed(entries))}))

    def find(
        self, name: str, *, entries: Iterable[EntryPoint] | None = None
    ) -> Callable[[], AbstractAsyncContextManager[S]]:
        """The subject of that name; ours comes first. Raises UnknownSubject, and SubjectBroken when it is opened."""
        if name in self._ours:
            return self._ours[name]
        entry = next((entry for entry in self._installed(entries) if entry.name == name), None)
        if entry is None:
            known = ", ".join(self.names(entries=entries))
            raise UnknownSubject(f"there is no {self.kind} {name[:60]!r} to test; known: {known}")
        return partial(self._open, entry)

    def _installed(self, entries: Iterable[EntryPoint] | None) -> list[EntryPoint]:
        return sorted(entry_points(group=self.group) if entries is None else entries, key=lambda each: each.name)

    @asynccontextmanager
    async def _open(self, entry: EntryPoint) -> AsyncGenerator[S]:
        async with AsyncExitStack() as stack:
            try:
                subject: S = await stack.enter_async_context(entry.load()())
            except BaseException as error:
                if is_interruption(error):
                    raise
                problem = f"the entry point {entry.name} ({entry.value}): {type(error).__name__}: {error}"
                raise SubjectBroken(problem[:500]) from error
            yield subject
