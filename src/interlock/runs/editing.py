"""The port by which a reviewer's edit of what a turn wants is checked."""

from typing import Protocol

from interlock import approvals
from interlock.kernel import JSON
from interlock.runs.model import Run


class Edits(Protocol):
    """Knows what a turn may be told to do instead: this room does not know what agents can do."""

    def check(self, run: Run, approval: approvals.Approval, edit: dict[str, JSON]) -> None:
        """Raises approvals.InvalidEdit if the call that the approval is about cannot be made with that input."""
        ...
