"""What came of the cases: for people, programs, and servers that read JUnit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from interlock.agents.evals.judging import Finding
from interlock.agents.evals.seen import Seen
from interlock.kernel import JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseReport:
    """What came of a case: what held and what did not, or the error for which no turn came to anything."""

    name: str
    findings: tuple[Finding, ...] = ()
    seen: Seen | None = None
    error: Mapping[str, JSON] | None = None

    @property
    def passed(self) -> bool:
        """Whether all that was expected held."""
        return self.error is None and all(each.held for each in self.findings)

    def to_json(self) -> dict[str, JSON]:
        """As a document."""
        seen = self.seen
        return {
            "name": self.name,
            "passed": self.passed,
            "run_id": None if seen is None else seen.run_id,
            "ended": None if seen is None else seen.ended,
            "answer": None if seen is None else seen.answer,
            "rounds": None if seen is None else seen.rounds,
            "tokens": None if seen is None else seen.tokens,
            "usd": None if seen is None else seen.usd,
            "seconds": None if seen is None else seen.seconds,
            "findings": [each.to_json() for each in self.findings],
            "error": self.error,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of a suite."""

    agent_id: str
    fingerprint: str
    model: str
    cases: Sequence[CaseReport]

    @property
    def passed(self) -> bool:
        """Whether every case did."""
        return all(each.passed for each in self.cases)

    def to_json(self) -> dict[str, JSON]:
        """As a document."""
        return {
            "contract": "interlock.agent-evals-report/v1",
            "agent": self.agent_id,
            "fingerprint": self.fingerprint,
            "model": self.model,
            "passed": sum(each.passed for each in self.cases),
            "failed": sum(not each.passed for each in self.cases),
            "cases": [each.to_json() for each in self.cases],
        }

    def to_junit(self) -> bytes:
        """As JUnit's XML."""
        errors = [each for each in self.cases if each.error is not None]
        failures = [each for each in self.cases if each.error is None and not each.passed]
        counts = {"tests": len(self.cases), "failures": len(failures), "errors": len(errors)}
        suite = ET.Element("testsuite", {"name": self.agent_id, **{key: str(n) for key, n in counts.items()}})
        for each in self.cases:
            seconds = 0.0 if each.seen is None else each.seen.seconds
            told = {"name": _clean(each.name), "classname": self.agent_id, "time": f"{seconds:.3f}"}
            case = ET.SubElement(suite, "testcase", told)
            if each.error is not None:
                message = _clean(str(each.error.get("message")))
                ET.SubElement(case, "error", {"type": str(each.error.get("code")), "message": message})
            elif not each.passed:
                wrong = [_clean(found.text) for found in each.findings if not found.held]
                failure = ET.SubElement(case, "failure", {"message": wrong[0]})
                failure.text = "\n".join(wrong)
        return ET.tostring(suite, encoding="utf-8", xml_declaration=True)


def _clean(text: str) -> str:
    """Without what XML has no place for."""
    return "".join(each if each.isprintable() or each in "\n\t" else "\N{REPLACEMENT CHARACTER}" for each in text)
