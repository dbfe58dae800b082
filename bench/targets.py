"""What each ratio should be. A figure that a measurement corrected has its reason beside it."""

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Target:
    """`least`: at least so many times the baseline's rate. `most`: at most so many times its time. `under`: at most so
    many microseconds, whatever a baseline takes. `corrected` says from what, and why."""

    sense: Literal["least", "most", "under"]
    figure: float
    corrected: str | None = None

    def met(self, value: float) -> bool:
        """Whether the value is there."""
        return value >= self.figure if self.sense == "least" else value <= self.figure

    def __str__(self) -> str:
        unit = " µs" if self.sense == "under" else ""
        return f"{'≥' if self.sense == 'least' else '≤'} {self.figure:g}{unit}"


TARGETS: Final[dict[str, Target]] = {
    "ledger-sqlite-1": Target("least", 0.35),
    "ledger-sqlite-16": Target("least", 1.3),
    "ledger-sqlite-64": Target("least", 1.7),
    "ledger-postgres-1": Target("least", 0.42),
    "ledger-postgres-16": Target("least", 0.5),
    "ledger-postgres-64": Target("least", 0.9),
    "call-sqlite-1": Target("least", 0.35),
    "call-sqlite-64": Target("least", 0.5),
    "call-postgres-1": Target("least", 0.35),
    "call-postgres-64": Target("least", 0.5),
    "lane-http": Target("most", 1.6),
    "lane-process": Target("most", 1.2),
    "lane-bubblewrap": Target("under", 15_000),
    "plane-admission": Target("under", 150),
    "start-import": Target("most", 25),
    "start-help": Target("most", 15),
    "packet-build": Target("most", 2),
    "packet-verify": Target(
        "most",
        2,
        "the baseline was SHA-256 alone; a verifier must also read every event (to follow the chain and to compare the "
        "records with what the events say), and parsing the JSON alone takes longer than hashing it, so the baseline is "
        "SHA-256 and one JSON parse of the same bytes",
    ),
}
