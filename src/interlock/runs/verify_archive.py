"""Checks archives offline: every packet in them, the chain that is drawn over these, and the seals; and names what is wrong.

A piece of an archive that is damaged keeps no other from being checked: each is compressed by itself.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple

from interlock.kernel import JSON, InvalidJson, JsonLimits, canonical, digest_bytes, parse_json
from interlock.runs import signing, verify
from interlock.runs.archive import CONTRACT, extend, genesis
from interlock.runs.envelope import MAX_BYTES, unpack
from interlock.runs.records import as_list, as_object
from interlock.runs.verdict import Problem, Status, Verdict

MOST_NAMED: Final = 100
"""Of packets that are not as they should be, in one archive."""

MOST_KEYS: Final = 1_000
"""Of those that packets bring along: what more there are, nobody's seal is held against."""

MOST_TRIES: Final = 8
"""Of beginnings within what damaged pieces seem to be. Damage hides where a piece ends, so the next one may begin there; but what
somebody made up may be full of beginnings, each of which leads far."""

CHUNK: Final = 4_096
"""So much of an archive is opened at once."""

_BEGINNING: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00"
"""Of each piece: gzip, no name, no time."""

_SEAL_LIMITS: Final = JsonLimits(max_bytes=65_536, max_depth=4, max_nodes=100)
_WORST_FIRST: Final = (
    Status.ALTERED,
    Status.MALFORMED,
    Status.NEWER_VERSION,
    Status.WRONG_SIGNER,
    Status.INTACT_SIGNER_UNKNOWN,
    Status.VERIFIED,
)


class Failed(NamedTuple):
    """A packet that is not proven: which one of the archive, from 1 on."""

    number: int
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveVerdict:
    """The answer for one archive. `problems` are its own; of its `packets` so many are `unproven`, without keys that the reader
    trusts all of them. `failed` are the first that are `amiss`: not proven by these keys or, without such, not intact. What it
    says of itself stands in its seal."""

    status: Status
    problems: tuple[Problem, ...] = ()
    packets: int = 0
    unproven: int = 0
    amiss: int = 0
    failed: tuple[Failed, ...] = ()
    archive_id: str | None = None
    tenant_id: str | None = None
    number: int | None = None
    after: str | None = None
    head: str | None = None

    @property
    def ok(self) -> bool:
        """Whether all of it is proven, by keys that the reader trusts."""
        return self.status is Status.VERIFIED

    def to_json(self) -> dict[str, JSON]:
        """For programs."""
        return {
            "status": self.status.value,
            "problems": [problem._asdict() for problem in self.problems],
            "packets": self.packets,
            "unproven": self.unproven,
            "amiss": self.amiss,
            "failed": [{"packet": each.number, **each.verdict.to_json()} for each in self.failed],
            "archive_id": self.archive_id,
            "tenant_id": self.tenant_id,
            "number": self.number,
        }


def verify_archive(
    data: bytes,
    *,
    trust: signing.Trust | None = None,
    told: Callable[[int], object] | None = None,
    most_bytes: int = MAX_BYTES,
) -> ArchiveVerdict:
    """Check an archive. Pure and offline; never raises for what the bytes are. `told` hears how many packets were looked at.

    With `trust`, only its keys count; without, an archive that is whole is `intact_signer_unknown`. A packet is opened up to
    `most_bytes`.
    """
    found, pieces = _Found(trust), _pieces(data, most_bytes)
    if not data:
        return found.judged(None)
    last = next(pieces)
    for following in pieces:
        found.take(last)
        last = following
        if told is not None:
            told(found.packets)
    if (seal := _seal(last)) is None:
        found.take(last)
    return found.judged(seal)


def gaps(archives: Iterable[tuple[str, ArchiveVerdict]]) -> list[Problem]:
    """What is wrong between archives, each with the name of its file: the next one of a tenant goes on where the one before
    ended, and none is missing in between."""
    chains: dict[str, list[tuple[int, str, ArchiveVerdict]]] = {}
    for name, each in archives:
        if each.tenant_id is not None and each.number is not None:
            chains.setdefault(each.tenant_id, []).append((each.number, name, each))
    problems: list[Problem] = []
    for tenant_id in sorted(chains):
        ordered = sorted(chains[tenant_id], key=lambda each: each[:2])
        for (number, _, before), (following, name, after) in pairwise(ordered):
            if following > number + 1:
                problems.append(
                    Problem(name, f"before it, {following - number - 1} archives of {tenant_id} are missing")
                )
            elif following == number:
                problems.append(Problem(name, f"there is another archive {number} of {tenant_id}"))
            elif after.after != before.head:
                problems.append(Problem(name, f"it does not go on where archive {number} of {tenant_id} ended"))
    return problems


class _Found:
    """What was seen of an archive so far."""

    def __init__(self, trust: signing.Trust | None) -> None:
        self._trust = trust
        self._seen: list[tuple[str, str]] = []
        self._tenants: set[str | None] = set()
        self._keys: dict[str, str] = {} if trust is None else dict(trust.keys)
        self._statuses: set[Status] = set()
        self._failed: list[Failed] = []
        self._unproven = self._amiss = 0
        self.packets = 0

    def take(self, content: bytes | None) -> None:
        """One piece, as a packet."""
        self.packets += 1
        if content is None:
            broken = Problem("packet", "its bytes are damaged")
            verdict = Verdict(status=Status.MALFORMED, problems=(broken,))
        else:
            verdict = verify.verify(content, trust=self._trust)
            self._seen.append((verdict.run_id or "", digest_bytes(content)))
            self._tenants.add(verdict.tenant_id)
            if self._trust is None and not self._keys.keys() >= set(verdict.signers):
                self._learn(content)
        self._statuses.add(verdict.status)
        enough = Status.INTACT_SIGNER_UNKNOWN if self._trust is None else Status.VERIFIED
        self._unproven += verdict.status is not Status.VERIFIED
        if verdict.status is not enough:
            self._amiss += 1
            if len(self._failed) < MOST_NAMED:
                self._failed.append(Failed(self.packets, verdict))

    def _learn(self, content: bytes) -> None:
        """The keys that a packet brings along."""
        opened = unpack(content)
        if isinstance(opened, Verdict):
            return
        for each in map(as_object, as_list(opened.records.get("keys"))):
            if len(self._keys) < MOST_KEYS:
                self._keys.setdefault(str(each.get("key_id")), str(each.get("public_key")))

    def judged(self, seal: Mapping[str, Any] | None) -> ArchiveVerdict:
        """The verdict on all of it."""
        if self._trust is None and seal is not None and (public_key := _text(seal.get("public_key"))) is not None:
            self._keys.setdefault(str(seal.get("key_id")), public_key)
        problems = list(self._unlike(seal)) if seal is not None else []
        statuses = {*self._statuses, *([Status.ALTERED] if problems else [])}
        if seal is None:
            problems.append(Problem("seal", "there is none: the archive is still being written, or it was cut off"))
            statuses.add(Status.MALFORMED)
        elif (key_id := str(seal.get("key_id"))) not in self._keys:
            unknown = "whose key neither it nor a packet brings along: `--trust FILE` with that key checks it"
            strange = unknown if self._trust is None else "which is not among the keys that you trust"
            problems.append(Problem("seal", f"it was signed by {key_id[:60]}, {strange}"))
            statuses.add(Status.WRONG_SIGNER)
        elif self._trust is None:
            statuses.add(Status.INTACT_SIGNER_UNKNOWN)
        said, number = seal or {}, (seal or {}).get("number")
        return ArchiveVerdict(
            status=next((each for each in _WORST_FIRST if each in statuses), Status.VERIFIED),
            problems=tuple(problems),
            packets=self.packets,
            unproven=self._unproven,
            amiss=self._amiss,
            failed=tuple(self._failed),
            number=number if isinstance(number, int) else None,
            **{name: _text(said.get(name)) for name in ("archive_id", "tenant_id", "after", "head")},
        )

    def _unlike(self, seal: Mapping[str, Any]) -> Iterator[Problem]:
        """Where the archive is not what was sealed."""
        key_id = str(seal.get("key_id"))
        public_key = self._keys.get(key_id)
        statement = canonical({name: value for name, value in seal.items() if name != "signature"})
        if public_key is not None and not signing.is_signed(statement, str(seal.get("signature")), public_key):
            yield Problem("seal", f"its signature by {key_id[:60]} does not fit: it was changed")
        tenant_id = str(seal.get("tenant_id"))
        if self._tenants - {tenant_id, None}:
            yield Problem("archive", f"it has packets of others than {tenant_id[:60]}")
        if seal.get("number") == 1 and seal.get("after") != genesis(tenant_id):
            yield Problem("seal", "it is the first one of its tenant, and does not begin the chain")
        if self.packets != seal.get("runs"):
            yield Problem("archive", f"it has {self.packets} packets, and {_counted(seal.get('runs'), self.packets)}")
        elif len(self._seen) == self.packets and self._head(seal) != seal.get("head"):
            yield Problem("chain", "it ends otherwise than it was sealed: a packet was changed, exchanged or moved")

    def _head(self, seal: Mapping[str, Any]) -> str:
        head = str(seal.get("after"))
        for run_id, digest in self._seen:
            head = extend(head, run_id, digest)
        return head


def _pieces(data: bytes, limit: int) -> Iterator[bytes | None]:
    """What was compressed, piece by piece; None for one that is damaged."""
    view, start, reached, tries = memoryview(data), 0, 0, 0
    while 0 <= start < len(data):
        content, end = _opened(view, start, limit)
        yield content
        if content is not None:
            start = end
            continue
        tries = tries + 1 if start < reached else 0
        reached = max(reached, end)
        start = data.find(_BEGINNING, start + 1 if tries < MOST_TRIES else reached)


def _opened(view: memoryview, start: int, limit: int) -> tuple[bytes | None, int]:
    """The piece that begins there, and where it ends, or how far it was looked at if it is damaged."""
    opened = zlib.decompressobj(wbits=31)
    parts: list[bytes] = []
    size, end = 0, start
    while not opened.eof and end < len(view):
        chunk = view[end : end + CHUNK]
        end += len(chunk)
        try:
            parts.append(opened.decompress(chunk, limit + 1 - size))
        except zlib.error:
            return None, end
        size += len(parts[-1])
        if opened.unconsumed_tail or size > limit:
            return None, end
    content = b"".join(parts)
    whole = opened.eof and content.endswith(b"\n")
    return (content[:-1] if whole else None), end - len(opened.unused_data)


def _seal(content: bytes | None) -> Mapping[str, Any] | None:
    """The seal, if the piece is one."""
    try:
        found = None if content is None else parse_json(content, limits=_SEAL_LIMITS, what="seal", unique=True)
    except InvalidJson:
        return None
    return found if isinstance(found, dict) and found.get("contract") == CONTRACT else None


def _counted(sealed: object, found: int) -> str:
    said = f"{sealed} were sealed"
    if not isinstance(sealed, int) or sealed < found:
        return said
    missing = "1 is missing" if sealed == found + 1 else f"{sealed - found} are missing"
    return (
        f"{said}: {missing}, and nothing in the file tells where. Where the store is, `interlock review export RUN` tells whether"
        " a run's packet is still there"
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
