"""`interlock node`: nodes, which carry out executions for clients elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import streams
from interlock.cli.frame import command, group
from interlock.cli.placing import Identity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from interlock import app, plane, server
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper

Trust = Annotated[Path | None, typer.Option(metavar="FILE", help="Public keys whose authority counts (Ed25519, PEM).")]
Evidence = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Where it keeps the evidence of all that it does.")
]
NodeId = Annotated[str | None, typer.Option(metavar="ID", help="What it is called, if not as in its certificate.")]
SigningKey = Annotated[Path | None, typer.Option(metavar="FILE", help="What it signs receipts with (Ed25519, PEM).")]


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    node = group(tree, "node", "Nodes: where executions are carried out.")
    command(node, "describe")(describe)
    command(node, "init")(init)
    command(node, "serve")(serve)


async def describe(
    desk: "Desk",
    url: Annotated[str | None, typer.Argument(metavar="URL", help="https://HOST:PORT of a node elsewhere.")] = None,
    identity: Identity = None,
) -> "Answer":
    """Show a node: its contracts, its lanes, and its targets as they were probed.

    Without a URL it is the node of this process.

    Example:
      interlock node describe --json
    """
    from interlock import app
    from interlock.cli.desk import Answer
    from interlock.cli.placing import open_node

    if url is None:
        allow = desk.settings().execution.egress_allow
        async with app.open_local_plane(egress_allow=allow, sandboxes=None) as local:
            node = local.node.describe()
    else:
        async with open_node(desk, url, identity) as remote:
            node = await remote.executions.describe()

    return Answer(document=node.record(), show=lambda paper: _show(paper, node))


def init(
    desk: "Desk",
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder for them.")],
    name: Annotated[
        list[str], typer.Option(metavar="HOST", help="A host name or address by which the node is reached.")
    ],
    node_id: Annotated[str, typer.Option(metavar="ID", help="What the node is called.")] = "node",
    client: Annotated[str, typer.Option(metavar="NAME", help="What the client is called.")] = "client",
) -> "Answer":
    """Make the keys of a node and of one client.

    FOLDER/node goes to the machine of the node, FOLDER/client stays with whoever uses it. The authority that signs both
    certificates is thrown away, so that nobody can add to them.

    Example:
      interlock node init keys --name build.example.com --name 10.0.0.7
    """
    from interlock import app
    from interlock.cli.desk import Answer

    del desk
    for each in name:
        _check_host(each)
    app.make_node_credentials(folder, node_id=node_id, names=name, client=client)

    def show(paper: "Paper") -> None:
        paper.fields([("node", str(folder / "node")), ("client", str(folder / "client"))])
        paper.line(f"Start it: `interlock node serve --keys {folder / 'node'}`")

    return Answer(
        document={"node_id": node_id, "node": str(folder / "node"), "client": str(folder / "client")}, show=show
    )


async def serve(
    desk: "Desk",
    *,
    bind: Annotated[str, typer.Option(metavar="ADDRESS:PORT", help="Where to listen.")] = "127.0.0.1:8443",
    keys: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The node's folder of `interlock node init`.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="The node's certificate (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its key (PEM).")] = None,
    client_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Authorities of clients, or their certificates (PEM).")
    ] = None,
    token_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Public keys of clients that sign their requests (PEM).")
    ] = None,
    trust: Trust = None,
    signing_key: SigningKey = None,
    journal: Annotated[Path | None, typer.Option(metavar="FILE", help="Where it writes down what it accepts.")] = None,
    evidence: Evidence = None,
    sandbox: Annotated[list[str] | None, typer.Option(metavar="CLASS", help="Offer targets of this class.")] = None,
    node_id: NodeId = None,
) -> None:
    """Carry out executions for clients elsewhere, until SIGTERM or Ctrl-C.

    Clients show a certificate or sign their requests; each intent needs an authority signed by a key of --trust. Without
    --sandbox commands are not taken. What it accepted and did not end when it was lost is ambiguous after the next start.

    Example:
      interlock node serve --keys keys/node --bind 0.0.0.0:8443 --sandbox local-landlock
    """
    from interlock import app, server
    from interlock.cli.errors import Usage

    paths = _Paths(keys)
    tls = server.Tls(
        cert=paths.find(tls_cert, "cert.pem", "--tls-cert"),
        key=paths.find(tls_key, "key.pem", "--tls-key"),
        client_ca=paths.find_optional(client_ca, "client-ca.pem"),
        client_must_show=token_key is None,
    )
    if tls.client_ca is None and token_key is None:
        raise Usage("nobody could use the node: give --client-ca or --token-key")
    _check_sandboxes(sandbox or ())
    async with (
        app.open_evidence(evidence) as sinks,
        app.open_standing_node(
            node_id or tls.common_name() or "node",
            trust=paths.find(trust, "trust.pem", "--trust"),
            journal=paths.find(journal, "journal.jsonl", "--journal"),
            signing_key=paths.find_optional(signing_key, "receipts.pem"),
            sandboxes=sandbox or (),
            egress_allow=desk.settings().execution.egress_allow,
            sinks=sinks,
        ) as standing,
    ):
        token_keys = {} if token_key is None else app.load_token_keys(token_key)
        await _run(desk, standing, tls, token_keys, *parse_bind(bind))


async def _run(
    desk: "Desk",
    standing: "app.StandingNode",
    tls: "server.Tls",
    token_keys: "dict[str, Ed25519PublicKey]",
    host: str,
    port: int,
) -> None:
    """Serve until a signal comes."""
    import signal

    import anyio

    from interlock import server

    node_id = standing.node.node_id
    async with anyio.create_task_group() as tasks:
        endpoint = server.NodeEndpoint(
            standing.node,
            standing.executions,
            clients=server.Clients(node_id, listed=tls.listed(), token_keys=token_keys, clock=standing.clock),
            tasks=tasks,
            clock=standing.clock,
            hosts=tls.names() | {host},
        )
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with server.serve_node(endpoint, tls, host=host, port=port) as serving:
                _announce(desk, node_id, f"https://{f'[{host}]' if ':' in host else host}:{serving.port}")
                await anext(aiter(signals))
        tasks.cancel_scope.cancel()


def _announce(desk: "Desk", node_id: str, url: str) -> None:
    import json

    line = json.dumps({"node_id": node_id, "url": url}) if desk.options.as_json else f"{node_id} {url}"
    out = streams.answers()
    out.write(f"{line}\n")
    out.flush()


class _Paths:
    """The files of a node: as they were named, else in its folder."""

    def __init__(self, folder: Path | None) -> None:
        from interlock.cli.errors import Usage

        if folder is not None and not folder.is_dir():
            raise Usage(f"--keys {folder}: there is no such folder; `interlock node init` makes one")
        self._folder = folder

    def find(self, given: Path | None, name: str, option: str) -> Path:
        from interlock.cli.errors import Usage

        if given is not None:
            return given
        if self._folder is None:
            raise Usage(f"{option} is missing, or --keys with the folder that `interlock node init` has made")
        return self._folder / name

    def find_optional(self, given: Path | None, name: str) -> Path | None:
        if given is not None or self._folder is None:
            return given
        return self._folder / name if (self._folder / name).exists() else None


def _check_sandboxes(classes: "Iterable[str]") -> None:
    from interlock import plane
    from interlock.cli.errors import Usage

    known = plane.CLASSES.keys() - plane.PLACED
    for each in classes:
        if each not in known:
            raise Usage(f"there is no sandbox {each[:60]!r}; known: {', '.join(sorted(known))}")


def _check_host(name: str) -> None:
    from interlock import plane
    from interlock.cli.errors import Usage

    try:
        is_host = plane.parse_url(f"https://{f'[{name}]' if ':' in name else name.lower()}/").target == "/"
    except ValueError:
        is_host = False
    if not is_host:
        raise Usage(f"--name {name[:80]!r} is no host name and no address")


def parse_bind(bind: str) -> tuple[str, int]:
    """The host and the port to listen at. Raises Usage."""
    from interlock.cli.errors import Usage

    host, _, port = bind.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal() and int(port) < 65536):
        raise Usage(f"--bind {bind[:80]!r}: write ADDRESS:PORT, such as 0.0.0.0:8443; port 0 takes a free one")
    return host.strip("[]"), int(port)


def _show(paper: "Paper", node: "plane.NodeDescriptor") -> None:
    paper.fields([("node", node.node_id), ("version", node.version), ("contracts", str(len(node.contracts)))])
    paper.table(("lane", "carries"), [(lane.lane_id, " ".join(lane.carries)) for lane in node.lanes])
    paper.line("")
    rows = [
        (each.target_id, each.lane_id, paper.state(each.health), each.reason or each.attestation.target_class)
        for each in node.targets
    ]
    paper.table(("target", "lane", "health", "class, or why it takes no work"), rows)
