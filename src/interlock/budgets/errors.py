"""What can be wrong with budgets."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from interlock.kernel import JSON, ConfigurationError

Path: TypeAlias = tuple[str | int, ...]
Flaw: TypeAlias = tuple[Path, str, str | None]
"""Where, what is wrong there, and the nearest right word."""


class InvalidBudget(ConfigurationError):
    """The budgets cannot be used. Names every problem at once; `details["problems"]` has them for programs."""

    code = "invalid_budget"
    next_step = "Correct the budgets at the places that the message names; nothing was loaded."

    def __init__(self, flaws: Sequence[Flaw], locate: Callable[[Path], object]) -> None:
        """The flaws' paths begin at the top of the file; `locate` says where that is in it."""
        self.flaws = tuple(flaws)
        lines: list[str] = []
        problems: list[JSON] = []
        for path, text, suggestion in flaws:
            where = str(locate(path))
            dotted = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
            hint = f"; did you mean {suggestion!r}?" if suggestion else ""
            lines.append(f"  {where}: {dotted}: {text}{hint}")
            problems.append({"where": where, "path": dotted, "problem": text, "suggestion": suggestion})
        super().__init__("the budgets are not valid:\n" + "\n".join(lines), details={"problems": problems})
