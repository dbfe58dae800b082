"""Approvals: a person's consent to one precisely described call.

Owns: the binding of a consent, its life, and who may give it. Refuses: to know what a call does, to validate an edited
input, to run anything. Invariants: an approval covers exactly its binding; it is spent once, by compare-and-set, and given
back only to the run that asked for it, with the proof that nothing left; the reviewer has the role and, unless the
installation says otherwise, is not the requester; what is denied, expired or cancelled stays so.
"""

from interlock.approvals.approvals import Approvals
from interlock.approvals.errors import (
    AlreadyDecided,
    AlreadySpent,
    ApprovalDenied,
    ApprovalExpired,
    ApprovalNotFound,
    BindingMismatch,
    InvalidEdit,
    NotApproved,
    RoleMissing,
    SelfReview,
)
from interlock.approvals.model import ALLOWED, Approval, Binding, State
from interlock.approvals.records import Query, Records

__all__ = [
    "ALLOWED",
    "AlreadyDecided",
    "AlreadySpent",
    "Approval",
    "ApprovalDenied",
    "ApprovalExpired",
    "ApprovalNotFound",
    "Approvals",
    "Binding",
    "BindingMismatch",
    "InvalidEdit",
    "NotApproved",
    "Query",
    "Records",
    "RoleMissing",
    "SelfReview",
    "State",
]
