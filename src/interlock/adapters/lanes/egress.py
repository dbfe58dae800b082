"""What all lanes have in common that open connections: where these may go, and whom they believe."""

import os
import ssl
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import anyio.to_thread

from interlock import plane
from interlock.adapters.lanes.tunnel import Proxy
from interlock.kernel import Secret, digest_bytes

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
class Identity:
    """Who we are under TLS, as it was redeemed for one tenant just now: certificates and their private key, in PEM."""

    tenant_id: str
    chain: Secret
    key: Secret

    def fingerprint(self) -> str:
        """The digest of the certificate itself, as evidence has it. Raises ValueError if there is none."""
        chain = self.chain.reveal()
        end = chain.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)
        return digest_bytes(ssl.PEM_cert_to_DER_cert(chain[chain.index(ssl.PEM_HEADER) : end]))

    @property
    def digest(self) -> str:
        """The same for the same certificate and key of the same tenant, and for nothing else."""
        parts = (self.tenant_id, self.chain.reveal(), self.key.reveal())
        return digest_bytes("\0".join(parts).encode())


@dataclass(frozen=True, slots=True)
class TlsUse:
    """An intent's options, and who we are, if that is shown."""

    options: plane.TlsOptions
    identity: Identity | None = None

    @property
    def digest(self) -> str:
        """What a connection must have been made for, so that it may serve this use."""
        return self.options.digest if self.identity is None else f"{self.options.digest} {self.identity.digest}"


_Key: TypeAlias = tuple[str | None, str, tuple[str, ...]]

_contexts: Final[dict[_Key, ssl.SSLContext]] = {}


async def tls_context(egress: Egress, use: TlsUse | None, *protocols: str) -> ssl.SSLContext:
    """A context for these, which offers these protocols. Raises LaneFailure if a client certificate and its key do not go
    together."""
    options = plane.TlsOptions() if use is None else use.options
    key = (options.authorities or egress.authorities, options.minimum_version, protocols)
    if use is not None and use.identity is not None:
        return await anyio.to_thread.run_sync(_make_with_identity, key, use.identity)
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


def _make_with_identity(wanted: _Key, identity: Identity) -> ssl.SSLContext:
    """Never kept: it holds the key."""
    context = _make(*wanted)
    pem = f"{identity.chain.reveal().rstrip()}\n{identity.key.reveal()}\n".encode()
    with _file(pem) as path:
        try:
            context.load_cert_chain(path, password="")  # or it would ask at the terminal
            identity.fingerprint()  # there must be one to tell
        except (ssl.SSLError, ValueError) as error:
            message = "the client certificate and the private key that were redeemed do not go together"
            unfit = plane.FailureClass.CREDENTIAL_UNAVAILABLE
            raise plane.LaneFailure(unfit, message, code="client_key_unfit") from error
    return context


@contextmanager
def _file(content: bytes) -> Generator[str]:
    """The path of a file with that content, since the library takes nothing else: where the system can, one in memory without
    a name, else one that only we can read, and that is gone afterwards."""
    if hasattr(os, "memfd_create"):
        with open(os.memfd_create("client"), "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        number, path = tempfile.mkstemp()
        try:
            with open(number, "wb") as file:
                file.write(content)
            yield path
        finally:
            os.unlink(path)


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
