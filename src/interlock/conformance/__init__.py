"""Suites for what others build upon ports of Interlock, and their reports.

Owns: the suites for lanes and for targets, the report. Refuses: to name a subject conformant without having tried; tests
that need a test runner. Invariants: every check can fail, and a broken subject in our own tests fails each; a check that
could not be made is shown as skipped, never as passed.
"""

from interlock.conformance.lane import LANE_CHECKS, check_lane
from interlock.conformance.lanes import GROUP, find_lane, lane_names
from interlock.conformance.report import COLUMNS, Finding, Report, Verdict
from interlock.conformance.subject import (
    CREDENTIAL,
    HANDLE,
    Case,
    LaneSubject,
    OpenLaneSubject,
    SubjectBroken,
    UnknownSubject,
)
from interlock.conformance.target import TARGET_CHECKS, check_target
from interlock.conformance.target_subject import OpenTargetSubject, TargetSubject
from interlock.conformance.targets import find_target, target_names

__all__ = [
    "COLUMNS",
    "CREDENTIAL",
    "GROUP",
    "HANDLE",
    "LANE_CHECKS",
    "TARGET_CHECKS",
    "Case",
    "Finding",
    "LaneSubject",
    "OpenLaneSubject",
    "OpenTargetSubject",
    "Report",
    "SubjectBroken",
    "TargetSubject",
    "UnknownSubject",
    "Verdict",
    "check_lane",
    "check_target",
    "find_lane",
    "find_target",
    "lane_names",
    "target_names",
]
