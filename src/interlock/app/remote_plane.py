"""The execution plane on another machine: the client of a node there, and what a node needs to be one."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock import plane
from interlock.app.local_plane import open_node
from interlock.app.opened import new_identity
from interlock.kernel import Clock, IdSource, SystemClock, Uuid7Ids

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from interlock.adapters import nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class RemotePlane:
    """What `open_remote_plane` opened."""

    node_id: str
    executions: "nodes.RemoteClient"
    receipt_keys: Mapping[str, str] | None
    """The node's public keys for `plane.verify_receipt`; None if none are pinned."""
    authorizer: plane.SignedAuthorizer
    clock: Clock
    ids: IdSource
    secrets: tuple[plane.ProcessSecret, ...] = ()
    """None: a node redeems them by itself."""

    async def start(self, intent: plane.Intent, *, target_class: str) -> plane.ExecutionRef:
        """Begin an execution under an authority of its own. Raises ExecutionRejected, and RequestError for what is no intent."""
        plane.check_request(intent, target_class)
        authority = self.authorizer.issue(intent.digest, audience=self.node_id, target_class=target_class)
        return await self.executions.start(intent, authority=authority, target_class=target_class)

    def identity(self, *, seconds: float) -> dict[str, Any]:
        """The fields that all intents share, for a new one that ends in so many seconds."""
        return new_identity(self.ids, self.clock, seconds=seconds)


@asynccontextmanager
async def open_remote_plane(
    url: str, *, identity: Path, egress_allow: Sequence[str] = ()
) -> AsyncGenerator[RemotePlane]:
    """Open the way to the node at an https URL, as the client whose keys lie in the folder `identity`. ValueError for
    another URL. Raises CredentialsUnusable, InvalidAllowance."""
    from interlock.adapters import nodes

    clock = SystemClock()
    keys = nodes.load_identity(identity, clock=clock)
    async with nodes.RemoteClient(
        plane.parse_base(url),
        node_id=keys.node_id,
        ssl_context=keys.ssl_context,
        addresses=plane.AddressPolicy(allow=tuple(egress_allow)),
        clock=clock,
        tokens=keys.tokens,
        receipt_keys=keys.receipt_keys,
    ) as client:
        yield RemotePlane(
            node_id=keys.node_id,
            executions=client,
            receipt_keys=keys.receipt_keys,
            authorizer=keys.authorizer,
            clock=clock,
            ids=Uuid7Ids(clock),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingNode:
    """What `open_standing_node` opened."""

    node: plane.Node
    executions: plane.Executions
    clock: Clock


@asynccontextmanager
async def open_standing_node(
    node_id: str,
    *,
    trust: Path,
    journal: Path,
    signing_key: Path | None = None,
    sandboxes: Iterable[str],
    egress_allow: Sequence[str] = (),
    sinks: Sequence[plane.EvidenceSink] = (),
) -> AsyncGenerator[StandingNode]:
    """A node that stands alone: it takes the authority of the keys in the file `trust`, and keeps a journal. What it had not
    ended when it was lost is ambiguous now. With the file `signing_key` it signs its receipts; `sinks` are given its evidence.
    Raises CredentialsUnusable, StoreError, InvalidAllowance."""
    from interlock.adapters import keys, nodes

    clock = SystemClock()
    signer = None
    if signing_key is not None:
        private = nodes.load_private_key(signing_key)
        signer = keys.Signer(nodes.key_id(private.public_key()), private)
    verifier = plane.SignatureVerifier(nodes.load_public_keys(trust), clock=clock)
    async with (
        open_node(
            node_id,
            verifier=verifier,
            clock=clock,
            egress_allow=egress_allow,
            sandboxes=sandboxes,
            signer=signer,
            sinks=sinks,
        ) as node,
        aclosing(nodes.FileJournal(journal, clock=clock)) as kept,
        plane.Executions(node, clock=clock, ids=Uuid7Ids(clock), journal=kept) as executions,
    ):
        yield StandingNode(node=node, executions=executions, clock=clock)


def make_node_credentials(folder: Path, *, node_id: str, names: Sequence[str], client: str) -> None:
    """Make keys and certificates of a node and of a client, in a new folder. Raises CredentialsExist."""
    from interlock.adapters import nodes

    nodes.make_credentials(folder, node_id=node_id, names=names, client=client, clock=SystemClock())


def load_receipt_keys(file: Path) -> Mapping[str, str]:
    """The public keys of nodes that sign receipts, for `plane.verify_receipt`. Raises CredentialsUnusable."""
    from interlock.adapters import nodes

    return nodes.load_receipt_keys(file)


def load_token_keys(file: Path) -> "dict[str, Ed25519PublicKey]":
    """The public keys of clients that sign their requests, by key id. Raises CredentialsUnusable."""
    from interlock.adapters import nodes

    return nodes.load_public_keys(file)
