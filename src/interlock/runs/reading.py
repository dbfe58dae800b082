"""What the ledger holds, for people and programs: always within one tenant, always in pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from interlock import approvals, catalog, connections, sdk
from interlock.kernel import (
    JSON,
    Caller,
    Clock,
    ConnectionError_,
    Redactor,
    RequestError,
    Store,
    Tx,
    UnknownOutcome,
    digest_bytes,
    is_id,
    read_json,
)
from interlock.runs import packet, signing
from interlock.runs.errors import (
    ArtifactDamaged,
    ArtifactNotFound,
    GivenUp,
    RunArchived,
    RunCancelled,
    RunFailed,
    RunNotFound,
)
from interlock.runs.ledger import Ledger, RunFilter
from interlock.runs.model import Archived, Artifact, Attempt, Decision, Event, Listed, Run, Send, State
from interlock.runs.request import Outcome
from interlock.runs.stepping import keys_of
from interlock.runs.wiring import Blobs

MAX_PAGE = 1000
_POLL = 0.05
RECOVERED_WITHIN = timedelta(seconds=60)
"""How long a run is waited for that another process may have to take over first."""

GIVEN_UP = "given_up"
"""Why a run is cancelled of which nobody found out whether it happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One run with everything that hangs on it; events are read in pages by `list_events`."""

    run: Run
    attempts: Sequence[Attempt]
    sends: Sequence[Send]
    decisions: Sequence[Decision]
    artifacts: Sequence[Artifact]
    approvals: Sequence[approvals.Approval]


class Reading:
    """Reads runs and what belongs to them. Another tenant's run is answered exactly as one that is not there."""

    def __init__(
        self,
        *,
        store: Store,
        ledger: Ledger,
        blobs: Blobs,
        approvals: approvals.Approvals,
        connections: connections.Connections,
        catalog: catalog.Catalog,
        keys: signing.SigningKeys,
        clock: Clock,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._blobs = blobs
        self._approvals = approvals
        self._connections = connections
        self._catalog = catalog
        self._keys = keys
        self._clock = clock

    async def fetch(self, caller: Caller, run_id: str) -> Run:
        """One run, if the caller may see it. Raises RunNotFound."""
        try:
            run = await self._store.read(lambda tx: self._fetch(tx, caller.tenant_id, run_id))
        except RunNotFound:
            gone = await self.find_archived(caller, run_id)
            if gone is None:
                raise
            raise _archived(gone) from None
        if not caller.sees(run.capability, run.connection_id):
            raise _not_there(caller.tenant_id, run_id)
        return run

    async def find_archived(self, caller: Caller, run_id: str) -> Archived | None:
        """What stays of a run that was archived. Who does not see all runs sees none of these: what they were about is said
        in their packets alone."""
        if caller.is_limited or not is_id(run_id, "run"):
            return None
        return await self._store.read(lambda tx: self._ledger.find_archived(tx, caller.tenant_id, run_id))

    def _fetch(self, tx: Tx, tenant_id: str, run_id: str) -> Run:
        # What no id can be is not asked for: a database may refuse such text.
        run = self._ledger.find_run(tx, tenant_id, run_id) if is_id(run_id, "run") else None
        if run is None:
            raise _not_there(tenant_id, run_id)
        return run

    async def without_secrets(self, caller: Caller, run: Run, text: str) -> str:
        """The text as it may go on the run's record: with the secrets of its connection taken out. Raises StoreError."""
        if not text or run.connection_id is None or run.connector_id is None:
            return text
        try:
            resolved = await self._connections.resolve(
                caller, connector_id=run.connector_id, scopes=frozenset(), connection=run.connection_id
            )
            return Redactor(await self._connections.secrets_of(resolved)).text(text)
        except (ConnectionError_, connections.CredentialDamaged):
            return text  # it serves no more, and what it held cannot be read

    async def list_runs(self, query: RunFilter) -> Sequence[Listed]:
        """Runs, newest first; go on with `cursor` = the last run id. Raises RequestError for a cursor that is none."""
        if query.cursor is not None and not is_id(query.cursor, "run"):
            raise RequestError("the cursor is not a run id: send back the one from the last page")

        def read(tx: Tx) -> Sequence[Listed]:
            if query.cursor is not None and not self._is_known(tx, query.tenant_id, query.cursor):
                raise RequestError("the cursor is no run of this tenant: send back the one from the last page")
            return self._ledger.list_runs(tx, query)

        return await self._store.read(read)

    def _is_known(self, tx: Tx, tenant_id: str, run_id: str) -> bool:
        ledger = self._ledger
        return ledger.find_run(tx, tenant_id, run_id) is not None or (
            ledger.find_archived(tx, tenant_id, run_id) is not None
        )

    async def fetch_history(self, caller: Caller, run_id: str) -> History:
        """One run with its rows. Raises RunNotFound."""
        return await self.history(caller.tenant_id, (await self.fetch(caller, run_id)).run_id)

    async def history(self, tenant_id: str, run_id: str) -> History:
        """As `fetch_history`, for recovery, which works for every tenant."""
        ledger = self._ledger

        def read(tx: Tx) -> History:
            return History(
                run=(run := self._fetch(tx, tenant_id, run_id)),
                attempts=ledger.list_attempts(tx, tenant_id, run_id),
                sends=ledger.list_sends(tx, tenant_id, run_id),
                decisions=ledger.list_decisions(tx, tenant_id, run_id),
                artifacts=ledger.list_artifacts(tx, tenant_id, run_id),
                approvals=self._approvals_of(tx, run),
            )

        return await self._store.read(read)

    def _approvals_of(self, tx: Tx, run: Run) -> Sequence[approvals.Approval]:
        """Those that were requested for the run, and the one that it spent although another run had asked for it."""
        own = self._approvals.list_for_run(tx, tenant_id=run.tenant_id, run_id=run.run_id)
        if run.approval_id is None or any(each.approval_id == run.approval_id for each in own):
            return own
        spent = self._approvals.find_in(tx, tenant_id=run.tenant_id, approval_id=run.approval_id)
        return own if spent is None else [*own, spent]

    async def list_events(
        self, caller: Caller, run_id: str, *, after_seq: int = 0, limit: int = MAX_PAGE
    ) -> Sequence[Event]:
        """A run's events in order, at most MAX_PAGE at once. Raises RunNotFound."""
        await self.fetch(caller, run_id)
        return await self._store.read(
            lambda tx: self._ledger.list_events(
                tx, caller.tenant_id, run_id, after_seq=after_seq, limit=min(limit, MAX_PAGE)
            )
        )

    async def events_after(self, run: Run, seq: int) -> Sequence[Event]:
        """A page of the run's events after a sequence number."""
        return await self._store.read(
            lambda tx: self._ledger.list_events(tx, run.tenant_id, run.run_id, after_seq=seq, limit=MAX_PAGE)
        )

    async def fetch_artifact(self, caller: Caller, artifact_id: str) -> tuple[Artifact, bytes]:
        """An artifact and its content, compared with its digest. Raises ArtifactNotFound, ArtifactDamaged, StoreError."""
        artifact = None
        if is_id(artifact_id, "art"):
            artifact = await self._store.read(lambda tx: self._ledger.find_artifact(tx, caller.tenant_id, artifact_id))
        if artifact is None or (caller.is_limited and not await self._sees(caller, artifact.run_id)):
            raise ArtifactNotFound(f"there is no artifact {artifact_id[:60]!r} in tenant {caller.tenant_id!r}")
        return artifact, await self.content(artifact)

    async def _sees(self, caller: Caller, run_id: str) -> bool:
        try:
            return bool(await self.fetch(caller, run_id))
        except RunNotFound:
            return False

    async def content(self, artifact: Artifact) -> bytes:
        """An artifact's content. Raises ArtifactDamaged, StoreError."""
        content = artifact.content
        if content is None:
            content = await self._blobs.get(artifact.blob_key or artifact.digest)
        if digest_bytes(content) != artifact.digest:
            raise ArtifactDamaged(f"the content of {artifact.artifact_id} is not what its digest says")
        return content

    async def find_step(self, caller: Caller, capability: str, key: str) -> Run | None:
        """The last run that a step has come to, as `take_step` asks for it under that key, once nobody is at it any more."""

        def find(tx: Tx) -> str | None:
            last = None
            for each in keys_of(key):
                found = self._ledger.find_key(tx, caller.tenant_id, capability, each, self._clock.now())
                if found is None:
                    break
                last = found
            return last

        run_id = await self._store.read(find)
        return None if run_id is None else await self.settled(caller, await self.fetch(caller, run_id))

    async def settled(self, caller: Caller, run: Run, *, within: timedelta = RECOVERED_WITHIN) -> Run:
        """How a run stands that somebody is at, once nobody is; or as it stands after that time."""
        give_up = self._clock.now() + within
        while run.state in (State.ACCEPTED, State.RUNNING) and self._clock.now() < give_up:
            await self._clock.sleep(_POLL)
            run = await self.fetch(caller, run.run_id)
        return run

    async def outcome(self, run: Run, *, decisions: Sequence[Decision] | None = None) -> Outcome:
        """How a run stands, as a value; its `decisions` need not be read if they are at hand. Raises what it failed with,
        UnknownOutcome if nobody knows (GivenUp if nobody will find out), or RunCancelled."""
        if run.state is State.CANCELLED and run.reason == GIVEN_UP:
            raise GivenUp(
                f"{run.capability} was given up in {run.run_id}; nobody knows whether it happened",
                details={"effect": "unknown", "cause": run.error},
                run_id=run.run_id,
            )
        if await self._asked_too_long(run):
            raise RunCancelled(f"{run.run_id} was not approved in time: {run.approval_id} expired", run_id=run.run_id)
        if run.state is State.CANCELLED:
            raise RunCancelled(f"{run.run_id} was cancelled: {run.reason or 'no reason given'}", run_id=run.run_id)
        error = cast("Mapping[str, JSON]", run.error or {})
        if run.state is State.WAITING:
            raise _unknown(run, error)
        if run.state in (State.FAILED, State.DEAD):
            raise RunFailed(error, run_id=run.run_id)
        output: JSON = None
        if run.state is State.COMPLETED:
            artifacts = await self._store.read(lambda tx: self._ledger.list_artifacts(tx, run.tenant_id, run.run_id))
            last = next((each for each in reversed(artifacts) if each.name == "output"), None)
            output = None if last is None else await self._ordered(run, read_json(await self.content(last)))
        if decisions is None:
            decisions = await self._store.read(lambda tx: self._ledger.list_decisions(tx, run.tenant_id, run.run_id))
        return Outcome(
            run_id=run.run_id,
            state=run.state,
            capability=run.capability,
            output=output,
            reasons=(*await self._refusal(run), *reasons(decisions)),
            approval_id=run.approval_id,
        )

    async def _ordered(self, run: Run, output: JSON) -> JSON:
        """An output as the first answer had it."""
        known = await self._catalog.find_for(run.tenant_id, run.capability)
        return output if known is None else sdk.ordered(known.operation.output_schema, output)

    async def _asked_too_long(self, run: Run) -> bool:
        """Whether a held run's approval has expired. It can go on no more, though it ends only when recovery comes by."""
        approval_id = run.approval_id
        if run.state is not State.HELD or approval_id is None:
            return False
        found = await self._store.read(
            lambda tx: self._approvals.find_in(tx, tenant_id=run.tenant_id, approval_id=approval_id)
        )
        return found is not None and found.state is approvals.State.EXPIRED

    async def _refusal(self, run: Run) -> tuple[str, ...]:
        """What the reviewer said who refused, if one did."""
        approval_id = run.approval_id
        if run.state is not State.DENIED or approval_id is None:
            return ()
        found = await self._store.read(
            lambda tx: self._approvals.find_in(tx, tenant_id=run.tenant_id, approval_id=approval_id)
        )
        refused = found is not None and found.state is approvals.State.DENIED
        return (f"{found.reviewer} said no: {found.reason}",) if found is not None and refused else ()

    async def admitted_input_digest(self, run: Run) -> str:
        """The digest of the input as it was asked for; a reviewer may have edited the run's since."""
        if run.approval_id is None:
            return run.input_digest
        first = await self._store.read(lambda tx: self._ledger.list_events(tx, run.tenant_id, run.run_id, limit=1))
        body = cast("Mapping[str, Mapping[str, str]]", read_json(first[0].body.encode()))
        return body["data"]["input_digest"]

    async def export(self, caller: Caller, run_id: str) -> bytes:
        """The run's review packet, signed. Raises RunNotFound, LedgerDamaged."""
        run = await self.fetch(caller, run_id)
        connection = None
        if run.connection_id is not None:
            connection = await self._connections.fetch_connection(caller, run.connection_id)
        capability = await self._catalog.find_for(run.tenant_id, run.capability)

        def read(tx: Tx) -> packet.Material:
            current = self._ledger.find_run(tx, caller.tenant_id, run_id) or run
            known = self._approvals_of(tx, current)
            return packet.read(
                self._ledger,
                tx,
                current,
                approvals=known,
                connection=connection,
                capability=None if capability is None else capability.to_json(),
            )

        material = await self._store.read(read)
        public = await self._keys.public_keys()  # after the rows: what signed them is there by now
        return packet.build(material, signer=self._keys.current, keys=public, at=self._clock.now())


def _archived(gone: Archived) -> RunArchived:
    where = {"archive_id": gone.archive_id, "start": gone.start, "size": gone.size, "digest": gone.digest}
    return RunArchived(
        f"{gone.run_id} was archived: its packet is in {gone.archive_id}", run_id=gone.run_id, details=where
    )


def _not_there(tenant_id: str, run_id: str) -> RunNotFound:
    return RunNotFound(f"there is no run {run_id[:60]!r} in tenant {tenant_id!r}")


def _unknown(run: Run, recorded: Mapping[str, JSON]) -> UnknownOutcome:
    """What a waiting run's caller is told. `details.cause` is the error that left the outcome open."""
    message = str(recorded.get("message", "its outcome is unknown"))
    if recorded.get("code") != UnknownOutcome.code:
        message = f"{run.capability} may or may not have happened: {message}"
        return UnknownOutcome(message, run_id=run.run_id, details={"cause": dict(recorded)})
    details = cast("Mapping[str, JSON]", recorded.get("details") or {})
    return UnknownOutcome(message, next_step=str(recorded["next_step"]), run_id=run.run_id, details=details)


def reasons(decisions: Sequence[Decision]) -> tuple[str, ...]:
    """The texts of the latest decision's reasons."""
    if not decisions or not isinstance(decisions[-1].reasons, Sequence):
        return ()
    stated = cast("Sequence[Mapping[str, JSON]]", decisions[-1].reasons)
    return tuple(str(reason["text"]) for reason in stated)
