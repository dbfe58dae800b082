"""What can be wrong with a session.

RequestError
├── InvalidSession         invalid_session
├── NotFoundError
│   └── SessionNotFound    session_not_found
└── ConflictError
    ├── SessionBusy        session_busy
    ├── SessionFull        session_full
    ├── SessionWentOn      session_went_on
    └── AgentChanged       agent_changed
"""

from interlock.kernel import ConflictError, NotFoundError, RequestError, Retry, no_such


class InvalidSession(RequestError):
    """What is asked of a session cannot be meant."""

    code = "invalid_session"
    next_step = "Correct what the message names: `interlock agent sessions show SESSION` tells what there is."


class SessionNotFound(NotFoundError):
    """No such session in this tenant, or none that the caller may see."""

    code = "session_not_found"
    next_step = "`interlock agent sessions list` shows the sessions of this tenant."

    def __init__(self, session_id: str) -> None:
        super().__init__(no_such("session", session_id, ()))


class SessionBusy(ConflictError):
    """Another turn of the session is not over: one is at work on it, or waits for a person. `details` names its run."""

    code = "session_busy"
    retry = Retry.LATER
    next_step = "Wait until that turn has ended (`interlock runs show RUN`), or cancel it: `interlock runs cancel RUN`."


class SessionWentOn(ConflictError):
    """A turn that ended in a dead letter is not tried again once its session has gone on without it: what it was told is not
    the conversation any more."""

    code = "session_went_on"
    next_step = "Say it again in a new turn, and end the dead letter: `interlock dispatch dismiss RUN --reason TEXT`."


class SessionFull(ConflictError):
    """The session has as many turns as one may have."""

    code = "session_full"
    next_step = "Go on in another session; `interlock agent sessions fork` takes along what was said."


class AgentChanged(ConflictError):
    """The agent is not the one that the session's last turn was of: its spec has another fingerprint."""

    code = "agent_changed"
    next_step = (
        "Look at what changed (`interlock agent diff`; another `--model` is a change, too), and `--accept` that the session goes "
        "on with it."
    )
