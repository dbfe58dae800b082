"""Telling dead owners from live ones without trusting anybody's clock but one's own."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from interlock.runs.model import Owner


@dataclass(slots=True)
class _Seen:
    beat: int
    heard: float
    since: float
    """When its silence began, as far as that says anything."""
    lease: float
    has_beaten: bool = False


class Watch:
    """What this process has seen of the owners' beats.

    An owner whose beat stood still for one of its leases, measured here by a clock that cannot jump, has lost its hold by
    its own reckoning, too (`Ownership.remaining` counts from before a renewal is written). Wall clocks play no part: a live
    owner whose clock fell back is left alone, and a dead one whose clock ran ahead is not waited for.
    """

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def observe(
        self, owners: Iterable[Owner], *, asked_at: float, heard_at: float, mute_until: float = -math.inf
    ) -> frozenset[str]:
        """Take in the owners as they were read between two monotonic moments, and say which of them are dead. Until
        `mute_until` the store failed this process: that others were silent meanwhile, that explains."""
        before, self._seen = self._seen, {}
        dead: set[str] = set()
        for owner in owners:
            lease = owner.lease.total_seconds()
            seen = before.get(owner.owner_id) or _Seen(beat=owner.beat, heard=heard_at, since=heard_at, lease=lease)
            if mute_until > seen.since:
                seen.since, seen.has_beaten = mute_until, False
            if seen.beat != owner.beat:
                seen = _Seen(beat=owner.beat, heard=heard_at, since=heard_at, lease=lease, has_beaten=True)
            elif asked_at - seen.since >= lease:
                dead.add(owner.owner_id)
            self._seen[owner.owner_id] = seen
        return frozenset(dead)

    def heard(self, owner_id: str) -> float | None:
        """When a beat of that owner was last new here; None if there is no such owner by now."""
        seen = self._seen.get(owner_id)
        return None if seen is None else seen.heard

    def silent_in(self, now: float) -> float | None:
        """In how many seconds the next owner will have been silent for a lease, if it does not beat; None if there is none."""
        return min(
            (ends - now for each in self._seen.values() if (ends := each.since + each.lease) > now), default=None
        )

    def undecided(self, owner_id: str, now: float) -> bool:
        """Whether the owner may be dead or alive: it has not been seen to beat, or has been silent for half of its lease, in
        which it beats more than once."""
        seen = self._seen.get(owner_id)
        return seen is not None and (not seen.has_beaten or now - seen.since > seen.lease / 2)
