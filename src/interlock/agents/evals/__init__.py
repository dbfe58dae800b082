"""Evals: cases in which an agent is asked something, what is expected of it, and a report of what came of it.

Owns: cases and expectations, read from a document with its lines; what holds a turn against them, purely; the report and its
forms. Refuses: taking turns (whoever runs the cases does). Invariants: a case is judged by what its turn's journal says; an
expectation that cannot be judged has not held.
"""

from interlock.agents.evals.cases import CONTRACT, LIMITS, Case, Expectation, Suite, read_suite
from interlock.agents.evals.grading import Grade, grading, read_grade
from interlock.agents.evals.judging import Finding, judge
from interlock.agents.evals.report import CaseReport, Report
from interlock.agents.evals.seen import Called, Seen, seen

__all__ = [
    "CONTRACT",
    "LIMITS",
    "Called",
    "Case",
    "CaseReport",
    "Expectation",
    "Finding",
    "Grade",
    "Report",
    "Seen",
    "Suite",
    "grading",
    "judge",
    "read_grade",
    "read_suite",
    "seen",
]
