"""How one execution of the plane came out at the command line, and how long it may take."""

from typing import TYPE_CHECKING, Self, cast

from interlock.cli import streams

if TYPE_CHECKING:
    from interlock import plane
    from interlock.kernel import InterlockError

_ENDED = frozenset({"exit_nonzero", "killed_by_signal"})


class Ending:
    """How an execution came out: a receipt unless nobody told of its end, and an error unless there was an answer. Around
    the opening of a place it takes it as what came of it that the effect failed, or whatever else went wrong once it was
    under way, and in any case keeps the receipt in its file if there is one."""

    def __init__(self, receipt_file: str | None, *, seconds: float) -> None:
        """`seconds`: how long all of it may take, from now on."""
        import anyio

        self.seconds = seconds
        self.ends = anyio.current_time() + seconds
        self.receipt: plane.Receipt | None = None
        self.under_way = False
        self._receipt_file = receipt_file
        self._error: InterlockError | None = None

    @property
    def error(self) -> "InterlockError | None":
        """Why there is no answer, or not all of it. How a command ends by itself is an answer."""
        from interlock import plane

        failure = None if self.receipt is None else self.receipt.failure
        if self._error is not None or failure is None or failure.failure_class in _ENDED:
            return self._error
        if failure.failure_class is plane.FailureClass.TOTAL_TIMEOUT:
            return self.late()
        if failure.failure_class is plane.FailureClass.DEADLINE_PASSED:
            return self.late(f": {failure.message}")
        error = plane.EffectFailed.of(failure)
        if failure.code == "client_key_unfit":
            error.next_step = "Name with --key the private key of the certificate in --cert (PEM, without a password)."
        return error

    @property
    def left(self) -> float:
        """Seconds."""
        import anyio

        return max(0.001, self.ends - anyio.current_time())

    @property
    def left_ms(self) -> int:
        """As an intent takes it."""
        return max(1, int(self.left * 1000))

    def late(self, why: str = "") -> "plane.EffectFailed":
        """The error for an end of the time."""
        from interlock import plane

        message = f"not done within {self.seconds:g} seconds{why}"
        error = plane.EffectFailed.of(plane.Failure.of(plane.FailureClass.TOTAL_TIMEOUT, message))
        error.next_step = "Give it longer with --timeout, or find out what it waits for."
        return error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        from interlock import plane
        from interlock.cli import files
        from interlock.cli.errors import FileRefused, OutputLost, first_of
        from interlock.cli.text import json_text

        if self.receipt is not None and self._receipt_file is not None:
            try:
                files.write(self._receipt_file, (json_text(self.receipt.record()) + "\n").encode(), "receipt")
            except FileRefused as refused:  # after the deed, so it is no fault of how the command was called
                step = "Make room where the receipt goes; do not repeat the command, which was carried out."
                self._error = OutputLost(refused.message, next_step=step)
        one = first_of(cast("ExceptionGroup[Exception]", error)) if isinstance(error, ExceptionGroup) else error
        if isinstance(one, Exception) and (self.under_way or isinstance(one, plane.EffectFailed)):
            self._error = _told(one) or self._error
        return self._error is not None and (error is None or isinstance(error, Exception))


def _told(error: Exception) -> "InterlockError | None":
    """What an exception says of an execution; None if it says nothing of it."""
    from interlock.cli.errors import OutputLost, Usage, known

    match error:
        case BrokenPipeError() | Usage():
            return None
        case streams.Unwritten():
            step = "Make room where the output goes; the command was ended, and what it had done until then is done."
            return OutputLost.by(error.error, next_step=step)
        case _:
            return known(error)
