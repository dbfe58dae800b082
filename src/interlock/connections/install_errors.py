"""What can go wrong while an account is connected."""

from interlock.connections.installs import Reason
from interlock.kernel import JSON, ConfigurationError, ConflictError, ConnectionError_, NotFoundError, RequestError


class InstallNotFound(NotFoundError):
    """No such install: the link, the state or the id belongs to none, or to another tenant's."""

    code = "install_not_found"
    next_step = "Begin again: `interlock connect CONNECTOR`."


class InstallEnded(ConflictError):
    """The install has been completed, was cancelled, has failed or has expired."""

    code = "install_ended"
    next_step = "Begin again: `interlock connect CONNECTOR`."


class InstallUsed(ConflictError):
    """The install is past this step: its link, its callback and its answer count once."""

    code = "install_used"
    next_step = "Finish it where it was begun, or begin again: `interlock connect CONNECTOR`."


class CallbackRefused(RequestError):
    """The callback is not the one that the install awaits: from another browser, or at another address."""

    code = "callback_refused"
    next_step = "Go back to the browser in which you began, or begin again: `interlock connect CONNECTOR`."


class InstallUnsupported(RequestError):
    """The auth profile is not connected by an install."""

    code = "install_unsupported"
    next_step = "`interlock connectors show CONNECTOR` says how each of its profiles is connected."


class OAuthClientMissing(ConfigurationError):
    """A service is connected by a client of ours that it knows, and the settings have none."""

    code = "oauth_client_missing"
    next_step = (
        "Register Interlock at the service, with http://127.0.0.1/oauth/callback to come back to, and write what it gives under "
        "[oauth.CONNECTOR] in interlock.toml: `client_id`, and where its secret or key is."
    )

    def __init__(self, connector_id: str) -> None:
        told = f"{connector_id} has to know our client, and there is no [oauth.{connector_id}] in the settings"
        super().__init__(told, next_step=type(self).next_step.replace("CONNECTOR", connector_id))


class InstallFailed(ConnectionError_):
    """The service did not give a credential, or gave one that cannot be used. `details.reason` says why, in one word."""

    code = "install_failed"
    next_step = "Look at `details.reason`, and begin again: `interlock connect CONNECTOR`."

    def __init__(self, connector_id: str, reason: Reason, detail: str = "", *, issuer: str | None = None) -> None:
        """`detail` is a text of ours, for the operator; `issuer` who the service says gives its tokens, where that is what is
        wrong."""
        details: dict[str, JSON] = {"reason": reason.value}
        if reason is Reason.UNCONFIRMED_ISSUER and issuer is not None:
            detail, details = issuer, {**details, "issuer": issuer}
        told = f"{connector_id} was not connected: {reason.told}"
        super().__init__(
            f"{told}: {detail}" if detail else told, next_step=reason.next_step(connector_id), details=details
        )
        self.reason, self.issuer = reason, issuer
