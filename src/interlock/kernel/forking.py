"""What is opened belongs to the process that opened it. A fork copies the object, and not the threads that serve it."""

import os

from interlock.kernel.errors import RequestError, Retry


class Forked(RequestError):
    """What was opened was used in a child that the process forked afterwards. The threads that serve it are not there, so it
    would wait for ever."""

    code = "forked"
    retry = Retry.NEVER
    next_step = "Open another one in the child, or start the child by `spawn` and not by `fork`."


class OpenedHere:
    """Remembers the process that opened something; `what` names it in messages."""

    __slots__ = ("_pid", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._pid = os.getpid()

    @property
    def is_elsewhere(self) -> bool:
        """Whether this process is a forked child of the one that opened it."""
        return os.getpid() != self._pid

    def check(self) -> None:
        """Raises Forked in a forked child."""
        if self.is_elsewhere:
            raise Forked(
                f"{self._what} was opened by process {self._pid}, from which this one ({os.getpid()}) was forked; "
                "the threads that serve it are only there"
            )
