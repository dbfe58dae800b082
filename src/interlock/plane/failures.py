"""The closed taxonomy of what can go wrong: who acts, whether a retry helps, and what it says about the effect."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from interlock.kernel import Fault, Retry
from interlock.plane.contract import Contract, Name


class FailureClass(StrEnum):
    """What went wrong. An HTTP status is not among them: an answer is an answer."""

    AUTHORITY_DENIED = "authority_denied"
    TARGET_UNAVAILABLE = "target_unavailable"
    LANE_UNAVAILABLE = "lane_unavailable"
    ATTACH_REFUSED = "attach_refused"
    DEADLINE_PASSED = "deadline_passed"
    HOST_NOT_ALLOWED = "host_not_allowed"
    REQUEST_TOO_LARGE = "request_too_large"
    CREDENTIAL_UNAVAILABLE = "credential_unavailable"
    ADDRESS_REFUSED = "address_refused"
    DNS_FAILED = "dns_failed"
    CONNECT_FAILED = "connect_failed"
    CONNECT_TIMEOUT = "connect_timeout"
    TLS_FAILED = "tls_failed"
    IDENTITY_REFUSED = "identity_refused"
    LOGIN_REFUSED = "login_refused"
    WRITE_FAILED = "write_failed"
    WRITE_TIMEOUT = "write_timeout"
    READ_FAILED = "read_failed"
    READ_TIMEOUT = "read_timeout"
    TOTAL_TIMEOUT = "total_timeout"
    RESPONSE_TOO_LARGE = "response_too_large"
    PROTOCOL_ERROR = "protocol_error"
    REDIRECT_REFUSED = "redirect_refused"
    SANDBOX_UNENFORCEABLE = "sandbox_unenforceable"
    LAUNCH_FAILED = "launch_failed"
    EXIT_NONZERO = "exit_nonzero"
    KILLED_BY_SIGNAL = "killed_by_signal"
    OUTPUT_TOO_LARGE = "output_too_large"
    NODE_LOST = "node_lost"
    STATUS_REFUSED = "status_refused"
    CONTENT_TYPE_REFUSED = "content_type_refused"
    SUBPROTOCOL_REFUSED = "subprotocol_refused"
    FRAMING_FAILED = "framing_failed"
    IDLE_TIMEOUT = "idle_timeout"
    PEER_LOST = "peer_lost"
    CLOSE_TIMEOUT = "close_timeout"
    SCRIPT_INVALID = "script_invalid"
    SCRIPT_FAILED = "script_failed"
    SCRIPT_LIMIT = "script_limit"
    SCRIPT_DENIED = "script_denied"
    SCRIPT_HELD = "script_held"
    SCENARIO_UNMATCHED = "scenario_unmatched"
    EVIDENCE_UNWRITABLE = "evidence_unwritable"
    CANCELLED = "cancelled"
    LANE_FAILED = "lane_failed"


Effect = Literal["none", "unknown", "depends"]
"""What a failure says about the effect: nothing happened; it may have; or the receipt's delivery tells."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What follows from a failure class."""

    owner: Fault
    retry: Retry
    effect: Effect
    next_step: str


_SERVICE: Final = "Try again later; if it stays so, look at the service's own status."
_NETWORK: Final = "Check that the address is right and that this machine reaches it, then try again."
_LIMITS: Final = "Raise the limit of the operation, or ask for less at once."

MEANINGS: Final[dict[FailureClass, Meaning]] = {
    FailureClass.AUTHORITY_DENIED: Meaning(
        Fault.INTERLOCK, Retry.AFTER_CHANGE, "none", "Have the call decided anew; an authority serves one execution."
    ),
    FailureClass.TARGET_UNAVAILABLE: Meaning(
        Fault.OPERATOR, Retry.LATER, "none", "Look at the targets of this node and their attestations."
    ),
    FailureClass.LANE_UNAVAILABLE: Meaning(
        Fault.OPERATOR, Retry.LATER, "none", "Look at the lanes of this node and their load."
    ),
    FailureClass.ATTACH_REFUSED: Meaning(
        Fault.CALLER, Retry.AFTER_CHANGE, "none", "Ask for a grant that fits this target, session and credential."
    ),
    FailureClass.DEADLINE_PASSED: Meaning(Fault.CALLER, Retry.AFTER_CHANGE, "none", "Give the call a later deadline."),
    FailureClass.HOST_NOT_ALLOWED: Meaning(
        Fault.OPERATOR, Retry.AFTER_CHANGE, "none", "Bind the lease to this host if the call is meant to go there."
    ),
    FailureClass.REQUEST_TOO_LARGE: Meaning(Fault.CALLER, Retry.AFTER_CHANGE, "none", "Send less at once."),
    FailureClass.CREDENTIAL_UNAVAILABLE: Meaning(
        Fault.OPERATOR,
        Retry.LATER,
        "none",
        "Look at where the secret comes from: a connection (`interlock connections list`), or what the message names.",
    ),
    FailureClass.ADDRESS_REFUSED: Meaning(
        Fault.OPERATOR,
        Retry.AFTER_CHANGE,
        "none",
        "If the address is meant, add its host:port to `egress_allow` under [execution] in interlock.toml, or to "
        "INTERLOCK_EXECUTION__EGRESS_ALLOW, which is a JSON list.",
    ),
    FailureClass.DNS_FAILED: Meaning(Fault.OPERATOR, Retry.LATER, "none", _NETWORK),
    FailureClass.CONNECT_FAILED: Meaning(Fault.PROVIDER, Retry.LATER, "none", _NETWORK),
    FailureClass.CONNECT_TIMEOUT: Meaning(Fault.PROVIDER, Retry.LATER, "none", _NETWORK),
    FailureClass.TLS_FAILED: Meaning(
        Fault.PROVIDER,
        Retry.AFTER_CHANGE,
        "none",
        "Check the service's certificate and the trust store; nothing was sent.",
    ),
    FailureClass.IDENTITY_REFUSED: Meaning(
        Fault.OPERATOR,
        Retry.AFTER_CHANGE,
        "none",
        "Find out why the far side is not the one that is pinned, before anything is pinned anew; nothing was sent.",
    ),
    FailureClass.LOGIN_REFUSED: Meaning(
        Fault.OPERATOR,
        Retry.AFTER_CHANGE,
        "none",
        "Check the user, and the key or the token, that the far side is to let in.",
    ),
    FailureClass.WRITE_FAILED: Meaning(Fault.PROVIDER, Retry.LATER, "depends", _SERVICE),
    FailureClass.WRITE_TIMEOUT: Meaning(Fault.PROVIDER, Retry.LATER, "unknown", _SERVICE),
    FailureClass.READ_FAILED: Meaning(Fault.PROVIDER, Retry.LATER, "unknown", _SERVICE),
    FailureClass.READ_TIMEOUT: Meaning(Fault.PROVIDER, Retry.LATER, "unknown", _SERVICE),
    FailureClass.TOTAL_TIMEOUT: Meaning(Fault.PROVIDER, Retry.LATER, "depends", _SERVICE),
    FailureClass.RESPONSE_TOO_LARGE: Meaning(Fault.PROVIDER, Retry.AFTER_CHANGE, "unknown", _LIMITS),
    FailureClass.PROTOCOL_ERROR: Meaning(Fault.PROVIDER, Retry.AFTER_CHANGE, "depends", _SERVICE),
    FailureClass.REDIRECT_REFUSED: Meaning(
        Fault.PROVIDER,
        Retry.AFTER_CHANGE,
        "depends",
        "Set the connection's address to the one that the service redirects to.",
    ),
    FailureClass.SANDBOX_UNENFORCEABLE: Meaning(
        Fault.OPERATOR,
        Retry.AFTER_CHANGE,
        "none",
        "Choose a target class that enforces what the profile demands: `interlock plane targets --probe`.",
    ),
    FailureClass.LAUNCH_FAILED: Meaning(
        Fault.CALLER,
        Retry.AFTER_CHANGE,
        "none",
        "Check the command, its working folder and its limits, and in a sandbox that it may read itself and its libraries; "
        "it never ran.",
    ),
    FailureClass.EXIT_NONZERO: Meaning(
        Fault.PROVIDER, Retry.AFTER_CHANGE, "depends", "Read what the command said on stderr, and its exit code."
    ),
    FailureClass.KILLED_BY_SIGNAL: Meaning(
        Fault.PROVIDER,
        Retry.AFTER_CHANGE,
        "depends",
        "Look at the signal: a limit, a crash, or somebody who ended the command.",
    ),
    FailureClass.OUTPUT_TOO_LARGE: Meaning(Fault.PROVIDER, Retry.AFTER_CHANGE, "unknown", _LIMITS),
    FailureClass.NODE_LOST: Meaning(
        Fault.OPERATOR,
        Retry.NEVER,
        "depends",
        "The node went away in the middle; find out what happened before you ask again.",
    ),
    FailureClass.STATUS_REFUSED: Meaning(
        Fault.PROVIDER,
        Retry.AFTER_CHANGE,
        "depends",
        "Look at the status and the body of the answer: a 429 or 5xx may pass by itself, others ask for a change.",
    ),
    FailureClass.CONTENT_TYPE_REFUSED: Meaning(
        Fault.PROVIDER, Retry.AFTER_CHANGE, "depends", "Check that the URL is one that answers with a stream."
    ),
    FailureClass.SUBPROTOCOL_REFUSED: Meaning(
        Fault.PROVIDER, Retry.AFTER_CHANGE, "depends", "Offer a subprotocol that the service speaks."
    ),
    FailureClass.FRAMING_FAILED: Meaning(Fault.PROVIDER, Retry.AFTER_CHANGE, "depends", _SERVICE),
    FailureClass.IDLE_TIMEOUT: Meaning(Fault.PROVIDER, Retry.LATER, "unknown", _SERVICE),
    FailureClass.PEER_LOST: Meaning(Fault.PROVIDER, Retry.LATER, "unknown", _SERVICE),
    FailureClass.CLOSE_TIMEOUT: Meaning(Fault.PROVIDER, Retry.LATER, "depends", _SERVICE),
    FailureClass.SCRIPT_INVALID: Meaning(
        Fault.CALLER, Retry.AFTER_CHANGE, "none", "Correct the script or its declarations; it never ran."
    ),
    FailureClass.SCRIPT_FAILED: Meaning(
        Fault.CALLER, Retry.AFTER_CHANGE, "depends", "Correct the script; its output says what happened."
    ),
    FailureClass.SCRIPT_LIMIT: Meaning(
        Fault.CALLER, Retry.AFTER_CHANGE, "depends", "Raise that limit of the intent, or have the script do less."
    ),
    FailureClass.SCRIPT_DENIED: Meaning(
        Fault.CALLER,
        Retry.AFTER_CHANGE,
        "depends",
        "Declare the action and have it allowed, or let the script do without; the evidence names what was refused.",
    ),
    FailureClass.SCRIPT_HELD: Meaning(
        Fault.CALLER,
        Retry.AFTER_CHANGE,
        "depends",
        "Have the action approved, then run the script again: what was answered before is not done twice.",
    ),
    FailureClass.SCENARIO_UNMATCHED: Meaning(
        Fault.CALLER, Retry.AFTER_CHANGE, "none", "Add a rule to the scenario that answers this intent."
    ),
    FailureClass.EVIDENCE_UNWRITABLE: Meaning(
        Fault.OPERATOR, Retry.LATER, "none", "Make the evidence sink writable again; nothing runs without evidence."
    ),
    FailureClass.CANCELLED: Meaning(Fault.CALLER, Retry.LATER, "depends", "Ask again if the call is still wanted."),
    FailureClass.LANE_FAILED: Meaning(
        Fault.INTERLOCK, Retry.AFTER_CHANGE, "depends", "Report this with the run id and the log of this process."
    ),
}


class Failure(Contract):
    """Why an execution brought no answer. `code` is finer than the class; the message holds no secret."""

    failure_class: FailureClass
    code: Name
    message: str

    @classmethod
    def of(cls, failure_class: FailureClass, message: str, *, code: str | None = None) -> "Failure":
        """A failure whose code is its class, unless a finer one is given."""
        return cls(failure_class=failure_class, code=code or failure_class.value, message=message)

    @property
    def meaning(self) -> Meaning:
        """What follows from the class."""
        return MEANINGS[self.failure_class]

    @property
    def retry(self) -> Retry:
        """Whether a retry helps: what the class says; but a further attempt has an authority of its own, where the time of this
        one ran out on the way."""
        return Retry.LATER if self.code == "authority_expired" else self.meaning.retry

    @property
    def owner(self) -> Fault:
        """Who has to act."""
        return self.meaning.owner

    @property
    def effect(self) -> Effect:
        """What the class says about the effect."""
        return self.meaning.effect

    @property
    def next_step(self) -> str:
        """What to do."""
        return self.meaning.next_step
