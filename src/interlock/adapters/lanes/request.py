"""What every request over HTTP begins with: the hosts that it may go to, the secret in it, its headers; and what of an
answer's headers is kept."""

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from interlock import plane
from interlock.adapters.lanes.egress import TlsUse
from interlock.kernel import VERSION, InterlockError, Secret

Lines: TypeAlias = list[tuple[bytes, bytes]]
"""Headers as they go to the wire, where the secret is in them."""

FRAMING: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "set-cookie",
        "set-cookie2",
    }
)
"""Headers of an answer that only framed it, and cookies."""

USER_AGENT: Final = ("User-Agent", f"interlock/{VERSION}")


def check_host(intent: plane.WebIntent) -> None:
    """Raises LaneFailure if the intent's host is not one that it may reach."""
    if intent.host not in intent.allowed_hosts:
        message = f"{intent.host} is not among the hosts that this call may reach"
        raise plane.LaneFailure(plane.FailureClass.HOST_NOT_ALLOWED, message)


async def redeem(credentials: plane.CredentialResolver, intent: plane.WebIntent) -> Secret | None:
    """The intent's secret, if it needs one. Raises LaneFailure."""
    if intent.credential is None:
        return None
    return await _redeem(credentials, intent.credential, intent, intent.host)


async def tls_use(
    credentials: plane.CredentialResolver | None, intent: plane.Intent, options: plane.TlsOptions | None, host: str
) -> TlsUse | None:
    """The options with the secret that they need, if they need one. Raises LaneFailure."""
    if options is None or options.client is None:
        return options and TlsUse(options)
    if credentials is None:
        message = "the lane has nobody to redeem the client certificate's key"
        raise plane.LaneFailure(plane.FailureClass.CREDENTIAL_UNAVAILABLE, message)
    return TlsUse(options, await _redeem(credentials, options.client.ref, intent, host))


async def _redeem(
    credentials: plane.CredentialResolver, ref: plane.CredentialRef, intent: plane.Intent, host: str
) -> Secret:
    try:
        return await credentials.redeem(ref, host=host, tenant_id=intent.tenant_id, run_id=intent.run_id)
    except InterlockError as error:
        message = f"no credential: {error.message}"
        raise plane.LaneFailure(plane.FailureClass.CREDENTIAL_UNAVAILABLE, message, code=error.code) from error


def header_lines(
    intent: plane.WebIntent,
    secret: Secret | None,
    *,
    defaults: Sequence[tuple[str, str]],
    own: Iterable[tuple[str, str]] = (),
) -> Lines:
    """The request's headers: `defaults` where the intent has none of that name, the intent's, the lane's `own`, and the
    secret. Raises LaneFailure if the secret cannot stand in a header."""
    given = {name.lower() for name, _value in intent.headers}
    lines = [("Host", intent.target.host_header)]
    lines += [line for line in defaults if line[0].lower() not in given]
    lines += intent.headers
    lines += own
    if intent.credential is not None and secret is not None:
        try:
            lines.append((intent.credential.header, intent.credential.render(secret.reveal())))
        except ValueError as error:
            unfit = plane.FailureClass.CREDENTIAL_UNAVAILABLE
            raise plane.LaneFailure(unfit, str(error), code="credential_unfit") from error
    return [(name.encode("ascii"), value.encode("utf-8")) for name, value in lines]


def received_headers(raw: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    """An answer's headers as the receipt holds them."""
    received = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in raw)
    return tuple(header for header in received if header[0] not in FRAMING)
