"""What goes wrong with work that is handed to workers."""

from interlock.kernel import ConfigurationError, ConflictError, Fault, InterlockError, NotFoundError, Retry


class Reject(InterlockError):
    """A handler's own word that the event cannot be handled, now or later: it goes to the dead letters at once."""

    code = "event_rejected"
    retry = Retry.NEVER
    fault = Fault.CALLER
    next_step = "`interlock dispatch show RUN` shows the event. Replay it once the handler takes it, or dismiss it."


class HandlerRaised(InterlockError):
    """A handler raised an exception. `details` say where."""

    code = "handler_raised"
    retry = Retry.LATER
    fault = Fault.OPERATOR
    next_step = (
        "Correct the handler. The event is tried again by itself; a dead letter is by `interlock runs replay RUN`."
    )


class HandlerTimedOut(InterlockError):
    """A handler took longer than it may."""

    code = "handler_timed_out"
    retry = Retry.LATER
    fault = Fault.OPERATOR
    next_step = "Make the handler quicker, or give it a longer `timeout` where it is declared."


class HandlerOutputInvalid(InterlockError):
    """What a handler returned is no JSON that can be kept."""

    code = "handler_output_invalid"
    retry = Retry.AFTER_CHANGE
    fault = Fault.OPERATOR
    next_step = "Return JSON or nothing from the handler, then replay the event: `interlock runs replay RUN`."


class WorkerStopped(InterlockError):
    """The worker was stopped while it was at work; another one goes on."""

    code = "worker_stopped"
    retry = Retry.LATER
    fault = Fault.INTERLOCK
    next_step = "Nothing is needed: the work is handed to the next worker."


class Poison(InterlockError):
    """Work whose process died several times while at it."""

    code = "poison"
    retry = Retry.AFTER_CHANGE
    fault = Fault.OPERATOR
    next_step = (
        "Look at what kills the process (memory, a crash in native code), then replay it: `interlock runs replay RUN`."
    )


class InvalidHandlers(ConfigurationError):
    """The handlers that were collected contradict each other, or are none."""

    code = "invalid_handlers"
    next_step = "Correct the functions that the message names; each handler has a name of its own."


class NoDeadLetter(ConflictError):
    """Only a dead letter is replayed or dismissed."""

    code = "no_dead_letter"
    next_step = "`interlock dispatch dead` lists them; `interlock runs show RUN` shows where this run stands."


class HappenedAlready(ConflictError):
    """The effect of a dead letter happened: what failed came after it. To replay it would do it twice."""

    code = "happened_already"
    next_step = "Look at the service, then dismiss the letter: `interlock dispatch dismiss RUN --reason TEXT`."


class NoSuchAttempt(NotFoundError):
    """The run has no attempt of this number."""

    code = "no_such_attempt"
    next_step = "`interlock runs show RUN` shows its attempts."
