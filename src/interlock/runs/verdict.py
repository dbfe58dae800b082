"""What a verification found."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from interlock.kernel import JSON


class Status(StrEnum):
    """The answer in one word."""

    VERIFIED = "verified"
    INTACT_SIGNER_UNKNOWN = "intact_signer_unknown"
    WRONG_SIGNER = "wrong_signer"
    ALTERED = "altered"
    MALFORMED = "malformed"
    NEWER_VERSION = "newer_version"


class Problem(NamedTuple):
    """One thing that is wrong: which part of the packet (`event 5 (send.settled)`, `send snd_…`, `seal`), and what."""

    where: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer. What it says of the run is the packet's own word unless `status` is `verified`.

    `ended` is False for a packet of a run that was open at its export: then only the seal is signed, and the run may have
    gone on since. `signers` are the key ids that signed, whoever holds them.
    """

    status: Status
    problems: tuple[Problem, ...] = ()
    run_id: str | None = None
    tenant_id: str | None = None
    state: str | None = None
    ended: bool = False
    events: int = 0
    exported_at: str | None = None
    signers: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the packet is proven, by keys that the reader trusts."""
        return self.status is Status.VERIFIED

    def to_json(self) -> dict[str, JSON]:
        """For programs."""
        return {
            "status": self.status.value,
            "problems": [problem._asdict() for problem in self.problems],
            "run_id": self.run_id,
            "tenant_id": self.tenant_id,
            "state": self.state,
            "ended": self.ended,
            "events": self.events,
            "exported_at": self.exported_at,
            "signers": list(self.signers),
        }
