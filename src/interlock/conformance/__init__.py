"""Suites for what others build upon ports of Interlock, and their reports.

Owns: the suites for lanes, targets and verifiers, the trial of memory providers by their kit's cases, the report. Refuses: to
name a subject conformant without having tried; tests that need a test runner. Invariants: every check can fail, and a broken
subject in our own tests fails each; a check that could not be made is shown as skipped, never as passed.
"""

from interlock.conformance.lane import LANE_CHECKS, check_lane
from interlock.conformance.lanes import LANES
from interlock.conformance.memories import check_memory
from interlock.conformance.report import COLUMNS, Finding, FindingRecord, Report, ReportRecord, Verdict
from interlock.conformance.shelf import Shelf
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
from interlock.conformance.targets import TARGETS
from interlock.conformance.verifier import ATTESTATION_CHECKS, AUTHORITY_CHECKS, check_verifier
from interlock.conformance.verifier_subject import (
    AttestationSubject,
    AuthorityIssuer,
    AuthoritySubject,
    OpenVerifierSubject,
    VerifierSubject,
)
from interlock.conformance.verifiers import VERIFIERS

__all__ = [
    "ATTESTATION_CHECKS",
    "AUTHORITY_CHECKS",
    "COLUMNS",
    "CREDENTIAL",
    "HANDLE",
    "LANES",
    "LANE_CHECKS",
    "TARGETS",
    "TARGET_CHECKS",
    "VERIFIERS",
    "AttestationSubject",
    "AuthorityIssuer",
    "AuthoritySubject",
    "Case",
    "Finding",
    "FindingRecord",
    "LaneSubject",
    "OpenLaneSubject",
    "OpenTargetSubject",
    "OpenVerifierSubject",
    "Report",
    "ReportRecord",
    "Shelf",
    "SubjectBroken",
    "TargetSubject",
    "UnknownSubject",
    "Verdict",
    "VerifierSubject",
    "check_lane",
    "check_memory",
    "check_target",
    "check_verifier",
]
