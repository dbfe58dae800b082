"""What the story is written on: a terminal, a plain stream, or a document for programs. And what checks it."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TypeVar

from interlock.cli.paper import Ink, Paper
from interlock.kernel import JSON, InternalError

T = TypeVar("T")


class StoryBroken(InternalError):
    """Something in the demo is not as it claims."""

    code = "demo_claim_failed"
    next_step = "Report this with what the demo printed; its store is still there: `interlock runs list`."


def claim(what: str, seen: T, expected: T) -> T:
    """What was seen, if it is what is claimed. Raises StoryBroken."""
    if seen != expected:
        raise StoryBroken(f"{what}: expected {expected!r}, saw {seen!r}")
    return seen


@dataclass
class Step:
    """One step: what is done, the command that does the same, and what was seen."""

    step: int
    title: str
    command: str
    seen: list[str] = field(default_factory=list[str])
    facts: dict[str, JSON] = field(default_factory=dict[str, JSON])

    def to_json(self) -> dict[str, JSON]:
        """For programs."""
        return asdict(self)


class Page:
    """Takes the story step by step. Without paper it only keeps it, as `steps`."""

    def __init__(self, paper: Paper | None) -> None:
        self._paper = paper
        self.steps: list[Step] = []

    def step(self, title: str, command: str) -> None:
        """What is done now, in plain words, and the command that does the same."""
        self.steps.append(Step(len(self.steps) + 1, title, command))
        self._line(Ink(f"{len(self.steps):>2}", "strong"), Ink(title, "strong"))
        self._line("  ", Ink(f"$ {command}", "code"))

    def saw(self, text: str, *, refused: bool = False, **facts: JSON) -> None:
        """What came of it. `facts` are for programs; a refusal is shown as one."""
        self.steps[-1].seen.append(text)
        self.steps[-1].facts.update(facts)
        self._line("  ", Ink("✘", "bad") if refused else Ink("✔", "good"), text)

    def words(self, *lines: str) -> None:
        """Around the steps."""
        for line in lines:
            self._line(line)

    def tips(self, tips: Mapping[str, str]) -> None:
        """Commands to try, and what for."""
        width = max(map(len, tips))
        for command, about in tips.items():
            self._line("  ", Ink(command.ljust(width), "code"), Ink(about, "faint"))

    @contextmanager
    def waiting(self, text: str) -> Generator[None]:
        """A sign of life on a terminal while something takes its time."""
        if self._paper is None or self._paper.plain:
            yield
            return
        with self._paper.console().status(text):
            yield

    def _line(self, *parts: Ink | str) -> None:
        if self._paper is not None:
            self._paper.line(*parts)
