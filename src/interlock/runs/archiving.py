"""Has runs that ended long ago leave the ledger as signed packets, a few at a time.

For each few: their packets are written at the end of the archive and are on disk, then one transaction puts a line in the place
of their rows and moves the archive's end. What lies behind that end belongs to nobody and is written over. So whoever is killed
loses nothing and leaves nothing twice: the runs are still in the ledger, or they are in the archive.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeAlias

import anyio
from anyio import to_thread

from interlock.kernel import Caller, StoreError, Tx, digest_bytes
from interlock.runs import archive, packet
from interlock.runs.archive import Archive, Archives, Bundles, Page, Plan
from interlock.runs.envelope import MAX_BYTES
from interlock.runs.errors import ArchiveBusy, ArchiveDamaged
from interlock.runs.model import Archived, Run
from interlock.runs.packet import Material
from interlock.runs.wiring import Wiring

MOST_RUNS: Final = 200
"""Runs in one transaction."""

MOST_EVENTS: Final = 10_000
"""Events of the runs in one transaction; a run with more goes by itself."""

MOST_BYTES: Final = 64 * 1024 * 1024
"""An archive that is as large gets nothing more; the next one begins."""

CLAIM: Final = timedelta(minutes=2)
"""For how long the others leave an archive to a process from which they hear nothing."""

MOST_NAMED: Final = 20
"""Of runs that cannot be read."""

EVERY: Final = 3600.0
"""Seconds between two looks at what is over."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What has left so far: so many runs, in so many bytes, in these archives. `unreadable` counts runs that stay, since rows of
    theirs are damaged; `stays` are the first of them."""

    runs: int = 0
    size: int = 0
    archives: tuple[Archive, ...] = ()
    unreadable: int = 0
    stays: tuple[str, ...] = ()


Told: TypeAlias = Callable[[Done], object]


class Archiving:
    """Archives runs of one tenant or of all, and finds what was archived."""

    def __init__(self, wiring: Wiring, records: Archives, bundles: Bundles) -> None:
        self._wiring = wiring
        self._records = records
        self._bundles = bundles

    async def plan(self, tenant_id: str, *, before: datetime) -> Plan:
        """How many runs `archive` would take away. Raises StoreError."""
        now = self._wiring.clock.now()
        return await self._wiring.store.read(lambda tx: self._records.plan(tx, tenant_id, before=before, now=now))

    async def archive(
        self, tenant_id: str, *, before: datetime, folder: str, told: Told | None = None, gently: bool = False
    ) -> Done:
        """Have this tenant's runs that ended before that moment leave for archives in the folder. `told` hears of every step;
        `gently` rests after each for as long as it took. What was done stays done, whatever happens next; a run that cannot be
        read stays where it is.

        Raises ArchiveBusy if another process is at it, StoreError if the store or the folder fails.
        """
        await self._finish_others(tenant_id)
        writing = _Writing(self._wiring, self._records, self._bundles, tenant_id, folder)
        monotonic = self._wiring.clock.monotonic
        try:
            last: tuple[datetime, str] | None = None
            while True:
                page = await self._look(tenant_id, before, last)
                for run_id in page.unreadable:
                    writing.leave(run_id, "its row is damaged")
                for chosen in _portions(page.runs):
                    began = monotonic()
                    if packets := await self._readable(tenant_id, chosen, writing):
                        await writing.add(packets)
                    if told is not None:
                        told(writing.done)
                    if gently:
                        await self._wiring.clock.sleep(monotonic() - began)
                if page.last is None:
                    break
                last = page.last
            await writing.close()
        finally:
            await writing.let_go()
        return writing.done

    async def keep(self, *, after: timedelta, folder: str) -> None:
        """For ever, have what ended so long ago leave, of every tenant."""
        while True:
            try:
                for tenant_id in await self._wiring.store.read(self._records.list_tenants):
                    await self._archive_alone(tenant_id, after, folder)
            except Exception as error:  # noqa: BLE001 - the host's work must not end with this
                _log.warning("old runs will be archived later: %s", error)
            await self._wiring.clock.sleep(EVERY)

    async def _archive_alone(self, tenant_id: str, after: timedelta, folder: str) -> None:
        """Another tenant's trouble is its own."""
        before = self._wiring.clock.now() - after
        try:
            done = await self.archive(tenant_id, before=before, folder=folder, gently=True)
        except ArchiveBusy:
            return
        except Exception as error:  # noqa: BLE001 - a run that cannot be read, say: other tenants' can
            _log.warning("runs of %r will be archived later: %s", tenant_id, error)
            return
        if done.unreadable:
            _log.warning("%d runs of %r cannot be read, and stay", done.unreadable, tenant_id)
        if done.runs:
            _log.info("%d runs of %s were archived in %d bytes", done.runs, tenant_id, done.size)

    async def packet(self, gone: Archived) -> bytes:
        """The packet of a run that left. Raises ArchiveDamaged, StoreError."""
        found = await self.fetch(gone)
        data = await self._bundles.read(found.folder, found.name, gone.start, gone.size)
        content = await to_thread.run_sync(lambda: archive.unpack(data, limit=MAX_BYTES))
        if content is None or digest_bytes(content) != gone.digest:
            raise ArchiveDamaged(
                f"{found.folder}/{found.name} does not have the packet of {gone.run_id} at byte {gone.start}",
                run_id=gone.run_id,
            )
        return content

    async def fetch(self, gone: Archived) -> Archive:
        """The archive that a run left for. Raises StoreError."""
        found = await self._wiring.store.read(lambda tx: self._records.find(tx, gone.tenant_id, gone.archive_id))
        assert found is not None, gone
        return found

    async def list_archives(self, tenant_id: str, *, cursor: str | None = None, limit: int = 50) -> Sequence[Archive]:
        """A tenant's archives, newest first; go on with `cursor` = the last one's id."""
        return await self._wiring.store.read(
            lambda tx: self._records.list_archives(tx, tenant_id, cursor=cursor, limit=limit)
        )

    async def _finish_others(self, tenant_id: str) -> None:
        """Close what a process left that is gone. Raises ArchiveBusy if it is not."""
        now = self._wiring.clock.now()
        left = await self._wiring.store.read(lambda tx: self._records.find_open(tx, tenant_id))
        if left is None:
            return
        mine = replace(left, claimed_until=now + CLAIM)
        if left.claimed_until > now or not await self._wiring.store.write(
            lambda tx: self._records.replace(tx, left, mine)
        ):
            raise ArchiveBusy(f"another process is archiving runs of {tenant_id!r}, and holds {left.archive_id}")
        await _close(self._wiring, self._records, self._bundles, mine)

    async def _look(self, tenant_id: str, before: datetime, last: tuple[datetime, str] | None) -> Page:
        now = self._wiring.clock.now()
        return await self._wiring.store.read(
            lambda tx: self._records.list_over(tx, tenant_id, before=before, now=now, after=last)
        )

    async def _readable(self, tenant_id: str, chosen: Sequence[Run], writing: "_Writing") -> list[tuple[Run, bytes]]:
        """The packets of those that can be read, found by halves: nearly always it is all of them."""
        try:
            return await self._packets(tenant_id, chosen)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - a damaged row, say: other runs are to leave all the same
            if len(chosen) == 1:
                writing.leave(chosen[0].run_id, error)
                return []
        middle = len(chosen) // 2
        halves = [await self._readable(tenant_id, half, writing) for half in (chosen[:middle], chosen[middle:])]
        return [*halves[0], *halves[1]]

    async def _packets(self, tenant_id: str, chosen: Sequence[Run]) -> list[tuple[Run, bytes]]:
        """A packet for each, as `review export` makes them."""
        wiring = self._wiring
        found = await wiring.store.read(lambda tx: self._records.gather(tx, tenant_id, chosen))
        used = frozenset(run.connection_id for run in chosen if run.connection_id is not None)
        caller = Caller(tenant_id=tenant_id, actor="interlock:archive", connections=used)
        listed = await wiring.connections.list_connections(caller, limit=len(used)) if used else ()
        known = {each.connection_id: each for each in listed}
        said = {name: await wiring.catalog.find_for(tenant_id, name) for name in {run.capability for run in chosen}}
        public = await wiring.signing.public_keys()  # after the rows: what signed them is there by now
        signer, at = wiring.signer, wiring.clock.now()

        def build(material: Material) -> bytes:
            run, capability = material.run, said[material.run.capability]
            whole = replace(
                material,
                connection=known.get(run.connection_id or ""),
                capability=None if capability is None else capability.to_json(),
            )
            return packet.build(whole, signer=signer, keys=public, at=at)

        # In a thread: some hundred of them take so long that others would notice.
        return await to_thread.run_sync(lambda: [(each.run, build(each)) for each in found])


class _Writing:
    """One pass over a tenant's runs: the archive that it writes, once it has something to write."""

    def __init__(self, wiring: Wiring, records: Archives, bundles: Bundles, tenant_id: str, folder: str) -> None:
        self._wiring = wiring
        self._records = records
        self._bundles = bundles
        self._tenant_id = tenant_id
        self._folder = folder
        self._archive: Archive | None = None
        self.done = Done()

    async def add(self, packets: Sequence[tuple[Run, bytes]]) -> None:
        """Have these runs leave. Raises ArchiveBusy, StoreError."""
        before = self._archive or await self._begin()
        now = self._wiring.clock.now()
        if now >= before.claimed_until:
            raise _lost(before)
        after, entries, content = await to_thread.run_sync(lambda: archive.add(before, packets))
        after = replace(after, claimed_until=now + CLAIM)
        await self._bundles.append(before.folder, before.name, before.size, content)

        def commit(tx: Tx) -> None:
            if not self._records.replace(tx, before, after) or not self._records.take(tx, self._tenant_id, entries):
                raise _lost(before)

        try:
            await self._wiring.store.write(commit)
        except ArchiveBusy:
            await self._mend(before)
            raise
        self._archive = after
        self._count(after, len(entries), len(content))
        if after.size >= MOST_BYTES:
            await self.close()

    def leave(self, run_id: str, why: object) -> None:
        """Have a run stay that cannot be read."""
        _log.warning("%s cannot be archived: %s", run_id, why)
        done = self.done
        self.done = replace(done, unreadable=done.unreadable + 1, stays=(*done.stays, run_id)[:MOST_NAMED])

    async def close(self) -> None:
        """Sign the archive, if there is one. Raises StoreError."""
        if self._archive is not None:
            closed = await _close(self._wiring, self._records, self._bundles, self._archive)
            self._archive = None
            self._count(closed, 0, 0)

    async def let_go(self) -> None:
        """If it is not closed, others need not wait until the claim on it lapses."""
        left = self._archive
        if left is None:
            return
        with anyio.CancelScope(shield=True), suppress(StoreError):
            given = replace(left, claimed_until=self._wiring.clock.now())
            await self._wiring.store.write(lambda tx: self._records.replace(tx, left, given))

    async def _begin(self) -> Archive:
        now, archive_id = self._wiring.clock.now(), self._wiring.ids.new("arc")
        offered = Archive(
            archive_id=archive_id,
            tenant_id=self._tenant_id,
            number=0,
            folder=self._folder,
            name=archive.name_of(self._tenant_id, archive_id),
            runs=0,
            size=0,
            after="",
            head="",
            opened_at=now,
            claimed_until=now + CLAIM,
        )
        self._archive = await self._wiring.store.write(lambda tx: self._records.begin(tx, offered))
        if self._archive is None:
            raise ArchiveBusy(f"another process has begun to archive runs of {self._tenant_id!r}")
        return self._archive

    async def _mend(self, before: Archive) -> None:
        """Somebody took this process for dead and closed its archive: what it wrote behind the end goes, and the seal comes
        back."""
        self._archive = None
        now = await self._wiring.store.read(lambda tx: self._records.find(tx, before.tenant_id, before.archive_id))
        if now is None:
            await self._bundles.remove(before.folder, before.name)
        elif now.seal_json is not None:
            await self._bundles.append(now.folder, now.name, now.size, archive.pack(now.seal_json.encode()))

    def _count(self, now: Archive, runs: int, size: int) -> None:
        others = tuple(each for each in self.done.archives if each.archive_id != now.archive_id)
        done = self.done
        self.done = replace(done, runs=done.runs + runs, size=done.size + size, archives=(*others, now))


async def _close(wiring: Wiring, records: Archives, bundles: Bundles, left: Archive) -> Archive:
    """Seal an archive that this process holds, or forget it if it is empty. Raises ArchiveBusy, StoreError."""
    if not left.runs:
        await bundles.remove(left.folder, left.name)
        await wiring.store.write(lambda tx: records.drop(tx, left))
        return left
    signer = wiring.signer
    public = await wiring.signing.public_keys()
    closed = archive.seal(left, signer, public_key=public[signer.key_id], at=wiring.clock.now())
    assert closed.seal_json is not None
    try:
        await bundles.append(closed.folder, closed.name, closed.size, archive.pack(closed.seal_json.encode()))
    except StoreError as error:
        # Perhaps on a disk of another machine. The ledger has the seal, too.
        _log.warning("%s is closed without its seal at the end: %s", closed.archive_id, error)
    if not await wiring.store.write(lambda tx: records.replace(tx, left, closed)):
        raise _lost(left)
    return closed


def _lost(left: Archive) -> ArchiveBusy:
    return ArchiveBusy(f"another process has taken over {left.archive_id} of {left.tenant_id!r} from this one")


def _portions(found: Sequence[Run]) -> Iterator[Sequence[Run]]:
    """As many as go in one transaction."""
    portion: list[Run] = []
    events = 0
    for run in found:
        if portion and (len(portion) == MOST_RUNS or events + run.head_seq > MOST_EVENTS):
            yield portion
            portion, events = [], 0
        portion.append(run)
        events += run.head_seq
    if portion:
        yield portion
