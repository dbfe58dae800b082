"""Uvicorn around a node's endpoint or around pages: the listening socket, TLS, and an end in good order."""

import ssl
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import uvicorn
from anyio.abc import TaskStatus
from cryptography import x509
from cryptography.x509.oid import NameOID

from interlock.kernel import ConfigurationError
from interlock.server.doorstep import Doorstep, listening
from interlock.server.endpoint import NodeEndpoint
from interlock.server.gate import MAX_HEAD, Door
from interlock.server.wire import Wire

App = TypeVar("App", bound=Door)

PING_SECONDS: Final = 10.0
"""How often a silent client is asked whether it is there, and how long it may take to say so."""

MAX_MESSAGE: Final = 1_024
"""Bytes of a WebSocket message from a client: they only acknowledge."""

END_SECONDS: Final = 20.0
"""How long executions may take to end when the node does, with what follows."""


class CannotServe(ConfigurationError):
    """The node cannot listen there, or its certificates cannot be used."""

    code = "cannot_serve"
    next_step = (
        "Check the address, and that the files hold a certificate, its key and the authorities of clients (PEM)."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The node's certificate and key, and which clients' certificates it trusts: authorities, or single certificates.
    Without `client_ca` no client shows one."""

    cert: Path
    key: Path
    client_ca: Path | None = None
    client_must_show: bool = True
    oldest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3

    def context(self) -> ssl.SSLContext:
        """For servers. Raises CannotServe."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = self.oldest
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self.cert, self.key)
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
                context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # so that a single certificate can be trusted
                context.verify_mode = ssl.CERT_REQUIRED if self.client_must_show else ssl.CERT_OPTIONAL
        except OSError as error:
            raise CannotServe(f"{self.cert}, {self.key}, {self.client_ca}: {error}") from error
        return context

    def listed(self) -> list[x509.Certificate]:
        """The certificates in `client_ca`. Raises CannotServe."""
        if self.client_ca is None:
            return []
        try:
            return x509.load_pem_x509_certificates(self.client_ca.read_bytes())
        except (OSError, ValueError) as error:
            raise CannotServe(f"{self.client_ca}: {error}") from error

    def names(self) -> frozenset[str]:
        """By which the node may be spoken to: what stands in its certificate. Raises CannotServe."""
        certificate = self._certificate()
        try:
            alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound as error:
            raise CannotServe(f"{self.cert} names no host (subject alternative names)") from error
        hosts = alternatives.get_values_for_type(x509.DNSName)
        return frozenset({*map(str.lower, hosts), *map(str, alternatives.get_values_for_type(x509.IPAddress))})

    def common_name(self) -> str | None:
        """The common name in the certificate, for a node that was given no other. Raises CannotServe."""
        found = self._certificate().subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(found[0].value) if found else None

    def _certificate(self) -> x509.Certificate:
        try:
            return x509.load_pem_x509_certificate(self.cert.read_bytes())
        except (OSError, ValueError) as error:
            raise CannotServe(f"{self.cert}: {error}") from error


class Server(uvicorn.Server):
    """Uvicorn with an application in it. Signals are left to whoever runs it."""

    def __init__(self, app: Door, *, context: ssl.SSLContext | None = None, ping: float = PING_SECONDS) -> None:
        self._ready, self._answer = anyio.Event(), app.answer
        super().__init__(
            uvicorn.Config(
                app,
                http=Wire,
                ws="websockets-sansio",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                log_level="critical",  # who speaks no HTTP shall not fill the log
                access_log=False,
                proxy_headers=False,
                server_header=False,
                ssl_context_factory=None if context is None else lambda _config, _default: context,
                ws_max_size=MAX_MESSAGE,
                ws_ping_interval=ping,
                ws_ping_timeout=ping,
                ws_per_message_deflate=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=5,
                h11_max_incomplete_event_size=MAX_HEAD,
            )
        )

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.servers[0].sockets[0].getsockname()[1]

    async def startup(self, sockets: list[Any] | None = None) -> None:
        doorsteps = [each for each in sockets or () if isinstance(each, Doorstep)]

        def shaken(number: int) -> None:
            for each in doorsteps:
                each.shaken(number)

        self.lifespan.state |= {"shaken": shaken, "answer": self._answer}
        await super().startup(sockets)
        self._ready.set()

    async def run_until_told(self, doorsteps: Sequence[Doorstep], *, task_status: TaskStatus[None]) -> None:
        """Serve until `should_exit`."""
        async with anyio.create_task_group() as group:

            async def serve() -> None:
                with anyio.CancelScope(shield=True):  # cancelled half-way, it would leave its sockets open
                    await self.serve([*doorsteps])

            group.start_soon(serve)
            await self._ready.wait()
            task_status.started()


def listen(host: str, port: int) -> list[Doorstep]:
    """Where a server may then be run. Raises CannotServe."""
    try:
        return listening(host, port)
    except OSError as error:
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        message = f"nothing can listen on {place}: {(error.strerror or str(error)).lower()}"
        raise CannotServe(message, next_step="Choose an address of this machine and a free port.") from error


@asynccontextmanager
async def serve_pages(
    make: Callable[[int], App], *, host: str, port: int, tls: Tls | None = None
) -> AsyncGenerator[App]:
    """Serve what is made for the port that was found, inside the block. Raises CannotServe."""
    context = None if tls is None else tls.context()
    doorsteps = listen(host, port)
    pages = make(doorsteps[0].getsockname()[1])
    server = Server(pages, context=context)
    async with anyio.create_task_group() as group:
        await group.start(server.run_until_told, doorsteps)
        try:
            yield pages
        finally:
            pages.close()
            server.should_exit = True


@asynccontextmanager
async def serve_node(endpoint: NodeEndpoint, tls: Tls, *, host: str, port: int) -> AsyncGenerator[Server]:
    """Serve inside the block. At its end, readers read what there is, and then the connections are closed."""
    server = Server(endpoint.app, context=tls.context())
    async with anyio.create_task_group() as group:
        await group.start(server.run_until_told, listen(host, port))
        try:
            yield server
        finally:
            with anyio.move_on_after(END_SECONDS, shield=True):
                await endpoint.close()
            server.should_exit = True
