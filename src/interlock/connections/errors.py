"""What can go wrong with a connection, a credential or a lease."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from interlock import plane, sdk
from interlock.connections.installs import Reason
from interlock.connections.model import Connection
from interlock.connections.reconnecting import is_tried_again, next_step, reconnect
from interlock.kernel import (
    ConflictError,
    ConnectionError_,
    Fault,
    NotFoundError,
    Redactor,
    RequestError,
    Retry,
    VerificationError,
    no_such,
    to_rfc3339,
)

_RECONNECT = "Connect the service again: `interlock connect CONNECTOR`."


class InvalidGrant(RequestError):
    """What should become a connection is incomplete or malformed. `details.problems` lists all of it."""

    code = "invalid_grant"

    def __init__(self, connector_id: str, problems: Iterable[str]) -> None:
        found = list(problems)
        super().__init__(f"cannot connect {connector_id!r}: {'; '.join(found)}", details={"problems": found})


class ConnectionNotFound(NotFoundError):
    """No such connection in this tenant."""

    code = "connection_not_found"
    next_step = "`interlock connections list` shows the connections of this tenant."

    def __init__(self, ref: str, known: Iterable[str] = ()) -> None:
        super().__init__(no_such("connection", ref, known))


class ProbeFailed(ConnectionError_):
    """The service does not accept the credential, or could not be asked."""

    code = "probe_failed"
    next_step = "Check the token and the base address; nothing was stored."
    refused = False
    """Whether the service was asked, and said that it does not take this credential."""
    reason = Reason.PROBE_FAILED
    """What it means for an install, as in the other errors that end one."""

    @classmethod
    def refusal(cls, message: str) -> "ProbeFailed":
        """The error for a credential that the service does not take."""
        error = cls(message)
        error.refused = True
        return error


class ErrandFailed(ConnectionError_):
    """A request about a credential has no answer that can be used. `delivery` is what is known of it: it never left
    (`not_sent`), the service has said by the protocol that it did nothing (`rejected`), it was answered in a way that leads no
    further (`responded`), or nobody knows (`unknown`)."""

    code = "errand_failed"
    delivery = plane.Delivery.UNKNOWN
    reason = Reason.SERVICE_FAILED

    @classmethod
    def of(cls, receipt: plane.Receipt, host: str, redactor: Redactor) -> "ErrandFailed":
        """The error for a receipt with a failure."""
        failure = receipt.failure
        assert failure is not None
        error = cls(
            f"{host} gave no answer: {redactor.text(failure.message)}",
            next_step=failure.next_step,
            retry=failure.meaning.retry,
            fault=failure.owner,
            details={"failure_code": failure.code, "delivery": receipt.delivery.value},
        )
        error.delivery = receipt.delivery
        if failure.failure_class is plane.FailureClass.ADDRESS_REFUSED:
            error.reason = Reason.ADDRESS_REFUSED
        return error

    @classmethod
    def unsendable(cls, reason: str) -> "ErrandFailed":
        """The error for a request that cannot be made."""
        error = cls(
            f"the request cannot be sent: {reason}",
            next_step="Correct the auth profile, or what was given for it.",
            retry=Retry.AFTER_CHANGE,
            fault=Fault.OPERATOR,
            details={"delivery": plane.Delivery.NOT_SENT.value},
        )
        error.delivery = plane.Delivery.NOT_SENT
        return error


class GrantRefused(ConnectionError_):
    """A provider gave no token. `reason` is of a closed list; nothing that the provider wrote is kept."""

    code = "grant_refused"
    next_step = (
        "What the reason says: connect the service again, or have the operator look at the auth profile and its client."
    )

    def __init__(self, reason: sdk.grants.RefusalCode, detail: str = "", *, retry_after: float | None = None) -> None:
        """`detail` is a text of ours."""
        self.reason: sdk.grants.RefusalCode = reason
        self.detail = detail
        meaning = _REFUSALS[reason]
        super().__init__(
            f"{meaning}: {detail}" if detail else meaning,
            retry=Retry.LATER if reason in _PASSING else Retry.AFTER_CHANGE,
            fault=Fault.PROVIDER if reason in ("temporarily_unavailable", "unreadable_answer") else Fault.OPERATOR,
            retry_after=retry_after,
            details={"reason": reason},
        )


_REFUSALS: Final[Mapping[sdk.grants.RefusalCode, str]] = {
    "invalid_grant": "what was to become a token is wrong, used, revoked or expired",
    "invalid_client": "the provider does not know the OAuth client, or not by this secret",
    "invalid_scope": "the provider does not grant these scopes",
    "unauthorized_client": "the OAuth client may not ask in this way",
    "access_denied": "the account's owner or the provider said no",
    "expired_token": "nobody typed the code in time",
    "slow_down": "the provider is asked too often",
    "authorization_pending": "nobody has typed the code yet",
    "temporarily_unavailable": "the provider cannot answer now",
    "unsupported": "the provider does not support this way to tokens",
    "misconfigured": "the auth profile and the provider do not fit",
    "unreadable_answer": "the provider's answer holds no token where the auth profile says",
}
_PASSING: Final = frozenset({"slow_down", "authorization_pending", "temporarily_unavailable", "unreadable_answer"})


class NotRenewed(ConnectionError_):
    """The credential is still the one that it was: the connection says why."""

    code = "not_renewed"
    next_step = _RECONNECT

    def __init__(self, connection: Connection) -> None:
        because = connection.reason or "it holds nothing that new tokens are made from"
        goes_on = is_tried_again(connection)
        super().__init__(
            f"connection {connection.name!r} was not renewed: {because}",
            next_step=next_step(connection) if goes_on else reconnect(connection),
            retry=Retry.LATER if goes_on else None,
        )


class SecretUnavailable(ConnectionError_):
    """A secret is not where the connection says, or its place cannot be reached."""

    code = "secret_unavailable"
    fault = Fault.OPERATOR
    next_step = "Put the secret there, or connect the service again with another source."


class SecretExposed(ConnectionError_):
    """The file with a secret can be read or changed by others."""

    code = "secret_exposed"
    fault = Fault.OPERATOR
    retry = Retry.AFTER_CHANGE
    next_step = "Make the file yours alone (`chmod 600 FILE`), and replace the secret if others may have read it."


class NameTaken(ConflictError):
    """The name belongs to a connection of another connector."""

    code = "connection_name_taken"
    next_step = "Choose another name."


class SubjectMismatch(ConflictError):
    """The name belongs to a connection of another account at the service."""

    code = "connection_subject_mismatch"
    next_step = "Choose another name for this account, or revoke the connection first."


class ServiceMismatch(ConflictError):
    """The name belongs to a connection that leads to another address."""

    code = "connection_service_mismatch"
    next_step = "Choose another name for the service at this address, or revoke the connection first."


class ConnectionChanged(ConflictError):
    """Others kept changing the connection at the same time. Nothing was written."""

    code = "connection_changed"
    retry = Retry.LATER
    next_step = "Look at it with `interlock connections show` and try again."


class InvalidTransition(ConflictError):
    """The connection's state does not allow this step."""

    code = "invalid_connection_transition"


class AmbiguousConnection(RequestError):
    """Several connections could serve, and guessing would use the wrong account."""

    code = "ambiguous_connection"
    next_step = "Name one of them: `--connection NAME`."

    def __init__(self, connector_id: str, names: Iterable[str]) -> None:
        found = sorted(names)
        super().__init__(
            f"several connections can serve {connector_id!r}: {', '.join(found)}", details={"connections": found}
        )


class WrongConnector(RequestError):
    """The named connection belongs to another connector, which alone may use it."""

    code = "wrong_connector"
    next_step = "Name a connection of the capability's own connector: `interlock connections list`."


class NoConnection(ConnectionError_):
    """The tenant has no connection for this connector."""

    code = "no_connection"
    next_step = "Connect the service first: `interlock connect CONNECTOR`."


class MissingScopes(ConnectionError_):
    """The connection was not granted what the call needs."""

    code = "missing_scopes"
    next_step = "Grant the missing scopes at the service and connect again."

    def __init__(self, name: str, missing: Iterable[str]) -> None:
        lacking = sorted(missing)
        super().__init__(f"connection {name!r} lacks the scopes {', '.join(lacking)}", details={"missing": lacking})


class ConnectionExpired(ConnectionError_):
    """The credential's own life is over."""

    code = "connection_expired"
    next_step = _RECONNECT

    def __init__(self, connection: Connection, expired_at: datetime) -> None:
        super().__init__(
            f"the credential of connection {connection.name!r} expired at {to_rfc3339(expired_at)}",
            next_step=reconnect(connection),
        )


class ConnectionRevoked(ConnectionError_):
    """The connection was revoked and its secret is wiped."""

    code = "connection_revoked"
    next_step = _RECONNECT


class ReauthRequired(ConnectionError_):
    """The service no longer accepts the credential."""

    code = "reauth_required"
    next_step = _RECONNECT


class LeaseNotFound(ConnectionError_):
    """No such lease."""

    code = "lease_not_found"
    retry = Retry.NEVER
    fault = Fault.INTERLOCK


class LeaseExpired(ConnectionError_):
    """The lease's time is over."""

    code = "lease_expired"
    retry = Retry.LATER
    fault = Fault.INTERLOCK
    next_step = "Send the request again: a new attempt gets a new lease."


class LeaseRevoked(ConnectionError_):
    """The lease was revoked, or the credential it names was replaced."""

    code = "lease_revoked"
    retry = Retry.LATER
    next_step = "Send the request again: a new attempt gets a lease on the present credential, if there is one."


class HostNotLeased(ConnectionError_):
    """The secret was asked for on behalf of a host that the lease does not name."""

    code = "host_not_leased"
    retry = Retry.NEVER
    fault = Fault.INTERLOCK


class CredentialDamaged(VerificationError):
    """The sealed secret was altered, or moved from another row."""

    code = "credential_damaged"
    fault = Fault.OPERATOR
    next_step = _RECONNECT
