"""What can be wrong with a policy."""

from collections.abc import Sequence
from dataclasses import dataclass

from interlock.kernel import JSON, ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place in a file; lines and columns count from 1 and are None where only the file is known."""

    source: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.source, self.line, self.column) if part is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong: where in the policy, what, the nearest right word, and where in the file."""

    path: tuple[str | int, ...]
    text: str
    suggestion: str | None = None
    place: Place | None = None

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        dotted = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path).lstrip(".")
        hint = f"; did you mean {self.suggestion!r}?" if self.suggestion else ""
        return f"{where}{dotted}: {self.text}{hint}" if dotted else f"{where}{self.text}{hint}"

    def to_json(self) -> dict[str, JSON]:
        """The problem for programs; paths are JSON arrays."""
        return {
            "path": list(self.path),
            "source": self.place.source if self.place else None,
            "line": self.place.line if self.place else None,
            "column": self.place.column if self.place else None,
            "problem": self.text,
            "suggestion": self.suggestion,
        }


class InvalidPolicy(ConfigurationError):
    """The policy cannot be used. Names every problem at once; `details["problems"]` has them for programs."""

    code = "invalid_policy"
    next_step = "Correct the policy at the places that the message names; nothing was loaded."

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(
            "the policy is not valid:\n" + "\n".join(f"  {problem}" for problem in problems),
            details={"problems": [problem.to_json() for problem in problems]},
        )
        self.problems = tuple(problems)


class RuleAstray(InvalidPolicy):
    """A rule that denies, sheds or asks names what is not there, and nearly what is: it would let through what it was
    probably meant for, so the calls of that connector are refused."""

    code = "rule_astray"
    next_step = (
        "Correct the name; or, if the rule is there before what it names, give it `ahead = true`. Nothing was sent."
    )
