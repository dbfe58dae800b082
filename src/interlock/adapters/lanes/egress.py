"""What all lanes have in common that open connections: where these may go, and whom they believe."""

import os
import ssl
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import anyio.to_thread

from interlock import plane
from interlock.adapters.lanes.tunnel import Proxy
from interlock.kernel import Secret

_MOST_CONTEXTS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """How effects get out of this process. Certificates are always verified, against the host's name. `authorities` are
    certificates in PEM that replace the system's trust store, for a company's own authority; `max_connections` is for each
    lane."""

    addresses: plane.AddressPolicy
    authorities: str | None = field(default=None, repr=False)
    proxy: Proxy | None = None
    max_connections: int = 1_000

    def __post_init__(self) -> None:
        """ValueError if the authorities cannot be read."""
        if self.authorities is not None:
            _believing(self.authorities)


@dataclass(frozen=True, slots=True)
class TlsUse:
    """An intent's options, and the private key of their client certificate, if they have one."""

    options: plane.TlsOptions
    key: Secret | None = None


_Key: TypeAlias = tuple[str | None, str, tuple[str, ...]]

_contexts: Final[dict[_Key, ssl.SSLContext]] = {}


async def tls_context(egress: Egress, use: TlsUse | None, *protocols: str) -> ssl.SSLContext:
    """A context for these, which offers these protocols. Raises LaneFailure if a client certificate and its key do not go
    together."""
    options = plane.TlsOptions() if use is None else use.options
    key = (options.authorities or egress.authorities, options.minimum_version, protocols)
    if use is not None and options.client is not None:
        assert use.key is not None
        return await anyio.to_thread.run_sync(_make_with_key, key, options.client.chain, use.key)
    found = _contexts.get(key)
    if found is None:
        # In a thread: reading the system's trust store takes longer than most answers.
        found = await anyio.to_thread.run_sync(_make, *key)
        while len(_contexts) >= _MOST_CONTEXTS:
            del _contexts[next(iter(_contexts))]
        _contexts[key] = found
    return found


def _make(authorities: str | None, minimum_version: str, protocols: tuple[str, ...]) -> ssl.SSLContext:
    context = _system() if authorities is None else _believing(authorities)
    lowest = ssl.TLSVersion.TLSv1_3 if minimum_version == "1.3" else ssl.TLSVersion.TLSv1_2
    context.minimum_version = max(context.minimum_version, lowest)
    context.options |= ssl.OP_NO_RENEGOTIATION
    if protocols:
        context.set_alpn_protocols([*protocols])
    return context


def _make_with_key(wanted: _Key, chain: str, key: Secret) -> ssl.SSLContext:
    """Never kept: it holds the key."""
    context = _make(*wanted)
    # The library takes only files: this one is in memory, and has no name.
    with open(os.memfd_create("client"), "wb") as file:
        file.write(f"{chain.rstrip()}\n{key.reveal()}\n".encode())
        file.flush()
        try:
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password="")  # or it would ask at the terminal
        except (ssl.SSLError, ValueError) as error:
            message = "the client certificate and the private key that was redeemed for it do not go together"
            unfit = plane.FailureClass.CREDENTIAL_UNAVAILABLE
            raise plane.LaneFailure(unfit, message, code="client_key_unfit") from error
    return context


def _believing(authorities: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which verifies, and reads nothing from the environment
    try:
        context.load_verify_locations(cadata=authorities)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError("the authorities are not certificates in PEM") from error
    return context


def _system() -> ssl.SSLContext:
    import httpx2  # only for the system's trust store, found without the environment

    return httpx2.create_ssl_context(trust_env=False)
