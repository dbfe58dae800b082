"""Runs that have left the ledger: the packets they left as, and the chain that is drawn over them.

An archive is a file of packets, one below the other, each compressed by itself, so that the file only ever grows and any of
them can be read alone. Of each run that went, a line stays in the ledger that says where its packet lies, and its digest. These
digests form one chain for each tenant, over all its archives; what an archive came to is signed when it is closed, in the ledger
and at the end of the file: nobody takes a packet out, puts one in or changes one unseen.
"""

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol
from urllib.parse import quote

from interlock.kernel import JSON, Tx, canonical, digest_bytes, to_rfc3339
from interlock.runs import signing
from interlock.runs.model import Archived, Run
from interlock.runs.packet import Material

CONTRACT: Final = "interlock.archive/v1"

_LEVEL: Final = 6
_LONGEST_NAME: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A file of packets. `after` and `head` are the chain before its first run and after its last; `size` are the bytes that
    belong to it. While it is open, the process that writes it holds it until `claimed_until`."""

    archive_id: str
    tenant_id: str
    number: int
    folder: str
    name: str
    runs: int
    size: int
    after: str
    head: str
    opened_at: datetime
    claimed_until: datetime
    closed_at: datetime | None = None
    seal_json: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Runs that may leave, out of those that were looked at, and the ids of those whose row cannot be read; the next look begins
    after `last`, if there is more."""

    runs: Sequence[Run]
    unreadable: Sequence[str]
    last: tuple[datetime, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many runs would leave, and from when they are."""

    runs: int
    oldest: datetime | None
    newest: datetime | None


class Archives(Protocol):
    """Where the ledger says what was archived."""

    def list_tenants(self, tx: Tx) -> Sequence[str]:
        """Every tenant that has runs."""
        ...

    def plan(self, tx: Tx, tenant_id: str, *, before: datetime, now: datetime) -> Plan:
        """How many runs may leave."""
        ...

    def list_over(
        self, tx: Tx, tenant_id: str, *, before: datetime, now: datetime, after: tuple[datetime, str] | None
    ) -> Page:
        """Runs that ended before that moment, oldest first: those that nobody can go on with, whose idempotency keys hold no
        more, that no open run asked for, and of which everybody was told."""
        ...

    def gather(self, tx: Tx, tenant_id: str, chosen: Sequence[Run]) -> Sequence[Material]:
        """All records of these runs, in their order."""
        ...

    def find_open(self, tx: Tx, tenant_id: str) -> Archive | None:
        """The archive of the tenant that is being written, if one is."""
        ...

    def begin(self, tx: Tx, archive: Archive) -> Archive | None:
        """Note a new archive, with its number and its place in the chain. None: another one is open."""
        ...

    def replace(self, tx: Tx, before: Archive, after: Archive) -> bool:
        """Whether the archive was still as `before`, and is now as `after`."""
        ...

    def take(self, tx: Tx, tenant_id: str, entries: Sequence[Archived]) -> bool:
        """Let what stays of runs take the place of their rows. False: one is gone, or is no run that may leave."""
        ...

    def drop(self, tx: Tx, archive: Archive) -> None:
        """Forget an archive that nothing came into."""
        ...

    def find(self, tx: Tx, tenant_id: str, archive_id: str) -> Archive | None:
        """One archive."""
        ...

    def list_archives(self, tx: Tx, tenant_id: str, *, cursor: str | None, limit: int) -> Sequence[Archive]:
        """Archives, newest first; go on with `cursor` = the last one's id."""
        ...


class Bundles(Protocol):
    """Where archives lie. `name` is a path below the folder. All methods raise StoreError."""

    async def append(self, folder: str, name: str, start: int, content: bytes) -> None:
        """Have the file end with that content from `start` on, for good, whatever it held there. It has at least `start`
        bytes; at 0 it is made."""
        ...

    async def read(self, folder: str, name: str, start: int, size: int) -> bytes:
        """A piece of the file."""
        ...

    async def remove(self, folder: str, name: str) -> None:
        """Have no such file."""
        ...


def genesis(tenant_id: str) -> str:
    """The chain before a tenant's first archived run."""
    return digest_bytes(canonical({"contract": CONTRACT, "tenant_id": tenant_id}))


def extend(head: str, run_id: str, digest: str) -> str:
    """The chain after one more run."""
    return digest_bytes(f"{head}\n{run_id}\n{digest}".encode())


def name_of(tenant_id: str, archive_id: str) -> str:
    """Where an archive lies below its folder; tenants share none."""
    folder = quote(tenant_id, safe="")
    if len(folder) > _LONGEST_NAME:
        folder = digest_bytes(tenant_id.encode()).removeprefix("sha256:")
    return f"tenant-{folder}/{archive_id}.jsonl.gz"


def pack(document: bytes) -> bytes:
    """A packet or a seal as it lies in an archive."""
    return gzip.compress(document + b"\n", _LEVEL, mtime=0)


def unpack(data: bytes, *, limit: int) -> bytes | None:
    """What `pack` was given; None if it is something else or longer than `limit`."""
    opened = zlib.decompressobj(wbits=31)
    try:
        content = opened.decompress(data, limit + 1)
    except zlib.error:
        return None
    whole = opened.eof and not opened.unused_data and content.endswith(b"\n")
    return content[:-1] if whole and len(content) <= limit + 1 else None


def add(archive: Archive, packets: Sequence[tuple[Run, bytes]]) -> tuple[Archive, list[Archived], bytes]:
    """The archive with these packets at its end, what stays of the runs, and the bytes to append."""
    entries: list[Archived] = []
    pieces: list[bytes] = []
    head, end = archive.head, archive.size
    for run, packet in packets:
        piece, digest = pack(packet), digest_bytes(packet)
        head = extend(head, run.run_id, digest)
        entries.append(
            Archived(
                run_id=run.run_id,
                tenant_id=run.tenant_id,
                archive_id=archive.archive_id,
                start=end,
                size=len(piece),
                digest=digest,
                created_at=run.created_at,
            )
        )
        pieces.append(piece)
        end += len(piece)
    return replace(archive, runs=archive.runs + len(entries), size=end, head=head), entries, b"".join(pieces)


def seal(archive: Archive, signer: signing.Signer, *, public_key: str, at: datetime) -> Archive:
    """The archive, closed: nothing comes into it any more, and what it came to is signed. The signer's public key comes with it,
    as keys do with packets: it may be newer than all of these."""
    statement: dict[str, JSON] = {
        "after": archive.after,
        "archive_id": archive.archive_id,
        "closed_at": to_rfc3339(at),
        "contract": CONTRACT,
        "head": archive.head,
        "key_id": signer.key_id,
        "number": archive.number,
        "public_key": public_key,
        "runs": archive.runs,
        "tenant_id": archive.tenant_id,
    }
    signed = canonical({**statement, "signature": signer.sign(canonical(statement))})
    return replace(archive, closed_at=at, seal_json=signed.decode())
