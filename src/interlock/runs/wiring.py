"""What the room needs from outside, put together by `app`."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from interlock import approvals, budgets, catalog, connections, plane, policy, sdk
from interlock.kernel import JSON, UNTRACED, Backoff, Clock, Counts, IdSource, Store, Tracing
from interlock.runs.editing import Edits
from interlock.runs.handed import Handed
from interlock.runs.journal import Journal
from interlock.runs.ledger import Ledger
from interlock.runs.model import Run
from interlock.runs.ownership import Ownership
from interlock.runs.pressure import Pressure
from interlock.runs.revalidation import Validators
from interlock.runs.scripts import Actions
from interlock.runs.signing import Signer, SigningKeys
from interlock.runs.straying import Straying


class Blobs(Protocol):
    """Where large artifacts go, under their digest."""

    async def put(self, key: str, content: bytes) -> None:
        """Keep the content. Raises StoreError."""
        ...

    async def get(self, key: str) -> bytes:
        """The content. Raises StoreError."""
        ...


class HandlerHost(Protocol):
    """Where a connector's Python code runs: in this process (trusted), or in a child process."""

    async def call(self, capability: catalog.Capability, value: Mapping[str, JSON], http: sdk.Http) -> JSON:
        """Run the capability's handler. Raises what the handler raised if that is an InterlockError, else HandlerFailed."""
        ...


class OfferedTargets(Protocol):
    """The targets beside the node's own, which installed packages offer."""

    @property
    def classes(self) -> frozenset[str]:
        """The target classes that they may come to have."""
        ...

    async def ready(self, target_class: str) -> None:
        """See to it that a target of that class is on the node, if one is offered and works. Never raises; quick if it is."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`inline_bytes`: larger artifacts go to the blob store. `retry_wait`: the longest pause in seconds between the attempts
    of a direct call. `backoff` spaces them."""

    inline_bytes: int = 65_536
    retry_wait: float = 5.0
    backoff: Backoff = Backoff()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """Every collaborator of the room."""

    store: Store
    ledger: Ledger
    catalog: catalog.Catalog
    connections: connections.Connections
    policy: policy.Policy
    straying: Straying
    approvals: approvals.Approvals
    budgets: budgets.Budgets
    node: plane.Node
    authorizer: plane.Authorizer
    signing: SigningKeys
    blobs: Blobs
    validators: Validators
    handlers: HandlerHost
    actions: Actions
    offered: OfferedTargets
    ownership: Ownership
    handed: Handed
    edits: Edits
    pressure: Pressure
    sweep: Callable[[datetime], Awaitable[int]]
    """Removes rows that are over, as of that moment; says how many."""
    clock: Clock
    ids: IdSource
    limits: Limits = Limits()
    counts: Counts = field(default_factory=Counts)
    tracing: Tracing = UNTRACED
    trace_to: frozenset[str] = frozenset()
    """Services, as `host:port`, whose requests say which trace they belong to."""

    @property
    def signer(self) -> Signer:
        """What a run that begins now is signed with when it ends."""
        return self.signing.current

    def journal(self, run: Run) -> Journal:
        """The pen of that run."""
        return Journal(run, store=self.store, ledger=self.ledger, signer=self.signer, ids=self.ids)
