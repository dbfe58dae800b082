"""How a check is written and run: it returns what it saw, or raises `Broken` or `Skipped`; whatever else it raises is a
failure, too."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar, cast

import anyio

from interlock.conformance.report import Finding, Verdict
from interlock.kernel import is_interruption

B = TypeVar("B")

PATIENCE: Final = 120.0
"""Seconds that one check may take."""


class Broken(Exception):
    """The promise is not kept; the message says what was seen."""


class Skipped(Exception):
    """It could not be checked; the message says why."""


@dataclass(frozen=True, slots=True)
class Check(Generic[B]):
    """One promise, and how to see whether it is kept."""

    check_id: str
    title: str
    look: Callable[[B], Awaitable[str]]

    async def run(self, bench: B) -> Finding:
        """See."""
        verdict, detail = Verdict.FAILED, f"it did not end within {PATIENCE:g} seconds"
        with anyio.move_on_after(PATIENCE):
            try:
                verdict, detail = Verdict.PASSED, await self.look(bench)
            except BaseException as error:
                if is_interruption(error):
                    raise
                verdict, detail = _told(error)
        return Finding(check_id=self.check_id, title=self.title, verdict=verdict, detail=detail)


def _told(error: BaseException) -> tuple[Verdict, str]:
    while isinstance(error, BaseExceptionGroup):  # the first is as good as any
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    if isinstance(error, Skipped):
        return Verdict.SKIPPED, str(error)
    text = str(error) if isinstance(error, Broken) else f"{type(error).__name__}: {error}"
    return Verdict.FAILED, " ".join(text.split())[:500]


def expect(kept: object, otherwise: str) -> None:
    """Raises Broken with that message unless it is so."""
    if not kept:
        raise Broken(otherwise)


def chosen(checks: Iterable[Check[B]], only: Iterable[str] | None) -> list[Check[B]]:
    """The checks of these ids, or all. Raises ValueError for an id that there is not."""
    known = {check.check_id: check for check in checks}
    names = list(known if only is None else only)
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"there is no check {', '.join(unknown)}")
    return [known[name] for name in names]
