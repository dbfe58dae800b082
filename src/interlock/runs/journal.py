"""The pen of one run: turns what happened into changes that the ledger compares and sets."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import anyio

from interlock import connections
from interlock.kernel import JSON, IdSource, Store, Tx
from interlock.runs import chain, entries, signing, transitions
from interlock.runs.entries import Entry
from interlock.runs.errors import RunNotFound, StaleRun
from interlock.runs.ledger import AttemptEnd, Change, Ledger, SendEnd
from interlock.runs.model import Artifact, Attempt, Decision, Run, Send, State

CANCEL_REQUESTED = "run.cancel_requested"
"""The event by which another process asks the run's owner to stop before its next send."""

READ_REQUESTED = "run.read_requested"
"""The event by which a person asks to find out what happened: from then on the run is read about, and sends no more."""

AGAIN_REQUESTED = "run.again_requested"
"""The event by which a person has a script run again."""

SETTLED = "run.settled"
"""The event by which a person says what became of the run's writes so far."""

REBUILDS = 5
"""How often a change is built again when another hand (a cancel request) has written to the same run in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """The rows that one change carries. At most one of each of the first five."""

    attempt: Attempt | None = None
    attempt_end: AttemptEnd | None = None
    send: Send | None = None
    send_end: SendEnd | None = None
    lease: connections.Lease | None = None
    decisions: tuple[Decision, ...] = ()
    artifacts: tuple[Artifact, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Where a change takes the run. None keeps what is there."""

    state: State | None = None
    reason: str | None = None
    error: JSON = None
    approval_id: str | None = None
    input_json: str | None = None
    input_digest: str | None = None
    fence: int | None = None
    manifest_digest: str | None = None
    connector_version: str | None = None


@dataclass(frozen=True, slots=True)
class Also:
    """What another room writes with a change. `fn` writes the items of many changes, which then share a transaction."""

    fn: Callable[[Tx, Sequence[Any]], object]
    item: object


@dataclass(frozen=True, slots=True)
class _Both:
    """Writes changes, and what goes with them. Equal for one ledger and one function, so that those who wait come together."""

    ledger: Ledger
    fn: Callable[[Tx, Sequence[Any]], object]

    def __call__(self, tx: Tx, items: Sequence[tuple[Change, object]]) -> Sequence[Run]:
        """Raises StaleRun if one of the runs has moved on; then each is written by itself."""
        self.fn(tx, [item for _, item in items])
        changes = [change for change, _ in items]
        for change, written in zip(changes, self.ledger.apply_all_in(tx, changes), strict=True):
            if not written:
                run = change.before
                raise StaleRun(f"run {run.run_id} went on without this change", run_id=run.run_id)
        return [change.after for change in changes]


class Journal:
    """Writes one run's history. `run` is the run as last committed."""

    def __init__(self, run: Run, *, store: Store, ledger: Ledger, signer: signing.Signer, ids: IdSource) -> None:
        self.run = run
        self._store = store
        self._ledger = ledger
        self._signer = signer
        self._ids = ids
        self.cancel_requested = False

    def draft(self, entries_: Iterable[Entry], *, move: Move, records: Records, at: datetime) -> Change:
        """The change, unwritten. A change of state writes its own `run.<state>` event, after the others; the start of
        an attempt says by itself that the run is running. Raises IllegalTransition."""
        before = self.run
        state = move.state or before.state
        transitions.check(before.state, state, moves=move.state is not None)
        after = before.moved(
            state=state,
            reason=move.reason,
            error=move.error,
            approval_id=move.approval_id or before.approval_id,
            input_json=move.input_json or before.input_json,
            input_digest=move.input_digest or before.input_digest,
            manifest_digest=move.manifest_digest or before.manifest_digest,
            connector_version=move.connector_version or before.connector_version,
            fence=before.fence if move.fence is None else move.fence,
            attempt_count=before.attempt_count + (records.attempt is not None),
            updated_at=at,
            finished_at=at if state in transitions.FINAL else None,
        )
        written = list(entries_)
        if move.state is not None and move.state is not State.RUNNING:
            written.append(entries.run_moved(after))
        return self._sealed(before, after, written, records, at)

    def _sealed(self, before: Run, after: Run, written: list[Entry], records: Records, at: datetime) -> Change:
        # Of a send the end was known before; on record it stands at the moment of its event, by which a packet is judged.
        send_end = None if records.send_end is None else replace(records.send_end, finished_at=at)
        extension = chain.append(before, written, ids=self._ids, at=at)
        return Change(
            before=before,
            after=sealed(after, extension, self._signer),
            events=extension.events,
            attempt=records.attempt,
            attempt_end=records.attempt_end,
            send=records.send,
            send_end=send_end,
            decisions=records.decisions,
            artifacts=records.artifacts,
            lease=records.lease,
        )

    async def write(
        self,
        entries_: Sequence[Entry] | Callable[[], Sequence[Entry]],
        *,
        at: datetime,
        move: Move | Callable[[], Move] | None = None,
        records: Records | None = None,
        beside: Callable[[Tx], object] | Also | None = None,
    ) -> None:
        """Commit a change; under a shield, for what happened must be saved even when nobody waits for it any more.

        `beside` writes other rooms' rows in the same transaction, before the run's own; entries and a move that are given as
        functions are drawn after it, but before an `Also`, which is written once for all changes that come together. Raises
        StaleRun if another worker has taken the run.
        """
        with anyio.CancelScope(shield=True):
            for _ in range(REBUILDS):

                def draw() -> Change:
                    told = entries_() if callable(entries_) else entries_
                    moved = move() if callable(move) else move
                    return self.draft(told, move=moved or self._still(), records=records or Records(), at=at)

                try:
                    self.run = await self._apply(draw, beside)
                except StaleRun:
                    await self._catch_up()
                else:
                    return
            raise StaleRun(f"{self.run.run_id} is being written by too many hands", run_id=self.run.run_id)

    def _still(self) -> Move:
        return Move(reason=self.run.reason, error=self.run.error)

    async def _apply(self, draw: Callable[[], Change], beside: Callable[[Tx], object] | Also | None) -> Run:
        if isinstance(beside, Also):
            return await self._store.write_together(_Both(self._ledger, beside.fn), (draw(), beside.item))
        if beside is None:
            change = draw()
            try:
                await self._ledger.apply(change)
            except StaleRun:
                if not await self._stands(change):
                    raise
            return change.after

        def both(tx: Tx) -> Run:
            beside(tx)
            change = draw()
            self._ledger.apply_in(tx, change)
            return change.after

        return await self._store.write(both)

    async def _stands(self, change: Change) -> bool:
        """Whether the change is there after all: its commit's answer was lost, and it was applied a second time."""
        run = change.after
        now = await self._store.read(lambda tx: self._ledger.find_run(tx, run.tenant_id, run.run_id))
        return now is not None and now.head_hash == run.head_hash

    async def _catch_up(self) -> None:
        """Read the run again. Somebody else's note is fine, the change is then drawn anew; somebody else's fence means
        that the run is theirs."""
        mine = self.run
        now = await self._store.read(lambda tx: self._ledger.find_run(tx, mine.tenant_id, mine.run_id))
        if now is None:
            raise RunNotFound(f"run {mine.run_id} is gone from the ledger", run_id=mine.run_id)
        if now.fence != mine.fence or now.state != mine.state:
            raise StaleRun(
                f"{mine.run_id} went on without this process: fence {now.fence}, state {now.state}",
                details={"ended_here": now.fence == mine.fence and now.state in transitions.FINAL},
                run_id=mine.run_id,
            )
        notes = await self._store.read(
            lambda tx: self._ledger.list_events(tx, mine.tenant_id, mine.run_id, after_seq=mine.head_seq)
        )
        self.cancel_requested = self.cancel_requested or any(note.type == CANCEL_REQUESTED for note in notes)
        self.run = now


def sealed(run: Run, head: chain.Extension, signer: signing.Signer) -> Run:
    """The run with this head, which is signed if the run has ended, and without a signature if it has not."""
    signature = key_id = None
    if run.state in transitions.FINAL:
        key_id = signer.key_id
        signature = signing.sign_head(
            signer,
            tenant_id=run.tenant_id,
            run_id=run.run_id,
            head_seq=head.head_seq,
            head_hash=head.head_hash,
            state=run.state,
        )
    return run.moved(head_seq=head.head_seq, head_hash=head.head_hash, signature=signature, signing_key_id=key_id)
