"""What all lanes have in common that open connections: where these may go, and whom they believe."""

import ssl
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import anyio.to_thread

from interlock import plane
from interlock.adapters.lanes.tunnel import Proxy

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


_Key: TypeAlias = tuple[str | None, tuple[str, ...]]

_contexts: Final[dict[_Key, ssl.SSLContext]] = {}


async def tls_context(authorities: str | None, *protocols: str) -> ssl.SSLContext:
    """A context that believes these authorities, or the system's, and offers these protocols."""
    key = (authorities, protocols)
    found = _contexts.get(key)
    if found is None:
        # In a thread: reading the system's trust store takes longer than most answers.
        found = await anyio.to_thread.run_sync(_make, *key)
        while len(_contexts) >= _MOST_CONTEXTS:
            del _contexts[next(iter(_contexts))]
        _contexts[key] = found
    return found


def _make(authorities: str | None, protocols: tuple[str, ...]) -> ssl.SSLContext:
    context = _system() if authorities is None else _believing(authorities)
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    context.options |= ssl.OP_NO_RENEGOTIATION
    if protocols:
        context.set_alpn_protocols([*protocols])
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
