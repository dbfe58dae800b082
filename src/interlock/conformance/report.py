"""What a suite found: one verdict for each of its checks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal, cast

from pydantic import BaseModel

from interlock.kernel import JSON, VERSION

COLUMNS: Final = ("check", "verdict", "what holds, or what does not")


class Verdict(StrEnum):
    """How a check ended. `skipped` says nothing for or against what was checked."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class FindingRecord(BaseModel):
    """A finding as JSON."""

    id: str
    title: str
    verdict: Verdict
    detail: str


class ReportRecord(BaseModel):
    """A report as JSON: `interlock.conformance-report/v1`. `provider` and `levels` are there where a memory provider was tried:
    who it is (`interlock.memory-provider/v1`; None if it could not be opened), and how many checks of each level ended how."""

    report: Literal["interlock.conformance-report/v1"]
    kind: Literal["lane", "target", "verifier", "memory"]
    subject: str
    interlock: str
    passed: bool
    counts: Mapping[Verdict, int]
    checks: Sequence[FindingRecord]
    provider: Mapping[str, Any] | None = None
    levels: Mapping[Literal["core", "search", "temporal", "lifecycle"], Mapping[Verdict, int]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check of one subject. `title` is what must hold; `detail` is what was seen, or why it was skipped."""

    check_id: str
    title: str
    verdict: Verdict
    detail: str

    def record(self) -> dict[str, JSON]:
        """As JSON."""
        return {"id": self.check_id, "title": self.title, "verdict": self.verdict.value, "detail": self.detail}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All findings on one subject, in the order of the suite. `kind` is `lane`, `target`, `verifier` or `memory`. `facts`
    are what else the suite tells of its subject."""

    kind: str
    subject: str
    findings: tuple[Finding, ...]
    facts: Mapping[str, JSON] = field(default_factory=dict[str, JSON])

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(finding.verdict is not Verdict.FAILED for finding in self.findings)

    def finding(self, check_id: str) -> Finding:
        """The finding of that check. Raises KeyError."""
        return {each.check_id: each for each in self.findings}[check_id]

    def count(self, verdict: Verdict) -> int:
        """How many checks ended so."""
        return sum(finding.verdict is verdict for finding in self.findings)

    def record(self) -> dict[str, JSON]:
        """As JSON, for a program or an archive."""
        return {
            "report": "interlock.conformance-report/v1",
            "kind": self.kind,
            "subject": self.subject,
            "interlock": VERSION,
            "passed": self.passed,
            "counts": {verdict.value: self.count(verdict) for verdict in Verdict},
            **self.facts,
            "checks": [finding.record() for finding in self.findings],
        }

    @property
    def levels(self) -> Sequence[tuple[str, str]]:
        """Where a suite has levels: each, and whether it is kept."""
        levels = cast("Mapping[str, Mapping[str, int]]", self.facts.get("levels", {}))
        return [(level, _kept(counts)) for level, counts in levels.items()]

    def rows(self) -> Sequence[tuple[str, Verdict, str]]:
        """As a table, under `COLUMNS`."""
        return [
            (each.check_id, each.verdict, each.title if each.verdict is Verdict.PASSED else each.detail)
            for each in self.findings
        ]


def _kept(counts: Mapping[str, int]) -> str:
    if counts[Verdict.FAILED]:
        return "not kept"
    if not counts[Verdict.PASSED]:
        return "not tried"
    skipped = counts[Verdict.SKIPPED]
    return (
        f"kept as far as it is offered: {counts[Verdict.PASSED]} of {counts[Verdict.PASSED] + skipped}"
        if skipped
        else "kept"
    )
