"""Fixtures of nodes that are reached over the network: keys, a node on loopback, clients of it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from fix_plane import NODE_ID
from interlock import plane, server
from interlock.adapters import nodes
from interlock.kernel import Backoff, Clock, SystemClock

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
            clients=server.Clients(node.node_id, token_keys=token_keys or {}, clock=clock),
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
    }
    return nodes.RemoteClient(plane.parse_base(url), **fields | options)
