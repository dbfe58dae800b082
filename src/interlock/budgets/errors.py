"""What can be wrong with budgets."""

from collections.abc import Sequence

from interlock.kernel import JSON, ConfigurationError


class InvalidBudget(ConfigurationError):
    """The budgets cannot be used. Names every problem at once; `details["problems"]` has them for programs."""

    code = "invalid_budget"
    next_step = "Correct the budgets at the places that the message names; nothing was loaded."

    def __init__(self, problems: Sequence[dict[str, JSON]]) -> None:
        """A problem has `where`, `path`, `problem` and `suggestion`."""
        lines: list[str] = []
        for item in problems:
            hint = f"; did you mean {item['suggestion']!r}?" if item["suggestion"] else ""
            lines.append(f"  {item['where']}: {item['path']}: {item['problem']}{hint}")
        super().__init__("the budgets are not valid:\n" + "\n".join(lines), details={"problems": list(problems)})
