"""Fixtures of nodes that are reached over the network: keys, a node on loopback, clients of it."""

import asyncio
import itertools
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import anyio
import anyio.lowlevel
import pytest

from fix_plane import NODE_ID, EchoLane, Intents
from interlock import plane, server
from interlock.adapters import nodes
from interlock.adapters.keys import Signer
from interlock.kernel import Backoff, Clock, SystemClock, Uuid7Ids

QUICK = Backoff(base=0.01, cap=0.05).delay


@pytest.fixture(scope="session")
def node_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders `node` and `client`."""
    folder = tmp_path_factory.mktemp("keys") / "of the node"
    nodes.make_credentials(folder, node_id=NODE_ID, names=["127.0.0.1", "localhost"], client="ann", clock=SystemClock())
    return folder


def tls_of(keys: Path, **fields: Any) -> server.Tls:
    folder = keys / "node"
    files: dict[str, Any] = {
        "cert": folder / "cert.pem",
        "key": folder / "key.pem",
        "client_ca": folder / "client-ca.pem",
    }
    return server.Tls(**{**files, **fields})


def signer_of(keys: Path) -> Signer:
    """What the node signs receipts with."""
    private = nodes.load_private_key(keys / "node" / "receipts.pem")
    return Signer(nodes.key_id(private.public_key()), private)


@asynccontextmanager
async def served(
    node: plane.Node,
    executions: plane.Executions,
    keys: Path,
    clock: Clock,
    *,
    tls: server.Tls | None = None,
    token_keys: dict[str, Any] | None = None,
    port: int = 0,
    **options: Any,
) -> AsyncGenerator[str]:
    """Serve on loopback; the URL."""
    tls = tls or tls_of(keys)
    async with anyio.create_task_group() as tasks:
        endpoint = server.NodeEndpoint(
            node,
            executions,
            clients=server.Clients(node.node_id, listed=tls.listed(), token_keys=token_keys or {}, clock=clock),
            tasks=tasks,
            clock=SystemClock(),
            hosts=tls.names(),
            **options,
        )
        async with server.serve_node(endpoint, tls, host="127.0.0.1", port=port) as serving:
            yield f"https://127.0.0.1:{serving.port}"
        tasks.cancel_scope.cancel()


def dialled(url: str, keys: Path, **options: Any) -> nodes.RemoteClient:
    """A client of the node there."""
    identity = nodes.load_identity(keys / "client", clock=SystemClock())
    fields: dict[str, Any] = {
        "node_id": identity.node_id,
        "ssl_context": identity.ssl_context,
        "addresses": plane.AddressPolicy(allow=["127.0.0.0/8"]),
        "clock": SystemClock(),
        "delay": QUICK,
        "patience": 10.0,
        "receipt_keys": identity.receipt_keys,
    }
    return nodes.RemoteClient(plane.parse_base(url), **fields | options)


class Ahead(SystemClock):
    """A clock that a test can put ahead."""

    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@dataclass
class Yard:
    """A node on loopback with signed authority, its only lane, and whatever a test needs of it."""

    keys: Path
    clock: Ahead
    lane: EchoLane
    intents: Intents
    node: plane.Node
    executions: plane.Executions
    identity: nodes.ClientIdentity
    url: str = ""

    def intent(self, url: str = "/echo", **fields: Any) -> plane.HttpIntent:
        number = next(_NUMBERS)
        later = self.intents.clock.now() + timedelta(hours=1)
        named = {"intent_id": f"snd_{number}", "deadline_at": later, **fields}
        return self.intents.http(url=f"https://api.acme.dev{url}", **named)

    def authority(self, intent: plane.Intent, **fields: Any) -> plane.AuthorityDecision:
        wanted: dict[str, Any] = {"audience": NODE_ID, "target_class": plane.LOCAL_HTTP, **fields}
        return self.identity.authorizer.issue(intent.digest, **wanted)

    async def start(self, client: plane.Client, intent: plane.Intent | None = None) -> plane.ExecutionRef:
        intent = intent or self.intent()
        return await client.start(intent, authority=self.authority(intent), target_class=plane.LOCAL_HTTP)


_NUMBERS = itertools.count(1)


@asynccontextmanager
async def yard(keys: Path, **options: Any) -> AsyncGenerator[Yard]:
    """Serve a node that echoes."""
    clock, lane, intents = Ahead(), EchoLane(), Intents()
    intents.clock = clock  # pyright: ignore[reportAttributeAccessIssue] - what is signed elsewhere goes by real time
    node = plane.Node(
        NODE_ID,
        lanes=[lane],
        targets=[plane.LocalTarget("here", target_class=plane.LOCAL_HTTP, lane_id="echo", clock=clock)],
        verifier=plane.SignatureVerifier(nodes.load_public_keys(keys / "node" / "trust.pem"), clock=clock),
        clock=clock,
        signer=signer_of(keys),
    )
    identity = nodes.load_identity(keys / "client", clock=clock)
    async with plane.Executions(node, clock=clock, ids=Uuid7Ids(clock)) as executions:
        made = Yard(keys, clock, lane, intents, node, executions, identity)
        async with served(node, executions, keys, clock, **options) as made.url:
            yield made


class Cutter:
    """A TCP relay that can lose the link: what is under way is lost, and for a while nothing gets through."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._pairs: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.refusing = False
        self.cut_after: int | None = None
        """Bytes from the node after which the link is lost, once."""
        self.hold_answers = False
        """Take what the node says, and pass nothing on."""
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await anyio.lowlevel.checkpoint()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def cut(self) -> None:
        for writer in list(self._pairs):
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refusing:
            writer.transport.abort()
            return
        near, far = await asyncio.open_connection("127.0.0.1", self.target)
        self._pairs |= {writer, far}
        try:
            async with anyio.create_task_group() as both:
                both.start_soon(self._pump, reader, far, False)
                both.start_soon(self._pump, near, writer, True)
        finally:
            self._pairs -= {writer, far}
            for each in (writer, far):
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, down: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                if down and self.cut_after is not None:
                    self.cut_after -= len(data)
                    if self.cut_after <= 0:
                        self.cut_after = None
                        break
                if down and self.hold_answers:
                    continue
                writer.write(data)
                await writer.drain()
        self.cut_pair(writer)

    def cut_pair(self, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()
