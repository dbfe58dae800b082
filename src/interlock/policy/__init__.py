"""Policy: whether a call may happen, and every reason why.

Owns: rules, the guards that no rule can switch off, the file form of both, and the decision. Refuses: I/O, clocks,
storage, and any knowledge of how facts were found out. Invariants: the same facts under the same policy give the same
decision; every rule that matches leaves a reason; deny beats shed beats ask beats allow; what no rule matches gets the
policy's default, with a reason.
"""

from interlock.policy.decide import DEFAULT, Policy
from interlock.policy.document import MAX_BYTES, Document, parse_document
from interlock.policy.errors import InvalidPolicy, Place, Problem, RuleAstray
from interlock.policy.load import KEYS, from_document, from_policy_file
from interlock.policy.model import (
    EFFECTS,
    ORIGINS,
    RUNTIME_CLASSES,
    SANDBOXES,
    Decision,
    Effect,
    Facts,
    Reason,
)
from interlock.policy.rule import Rule
from interlock.policy.stray import TASKS, Stray, find_strays

__all__ = [
    "DEFAULT",
    "EFFECTS",
    "KEYS",
    "MAX_BYTES",
    "ORIGINS",
    "RUNTIME_CLASSES",
    "SANDBOXES",
    "TASKS",
    "Decision",
    "Document",
    "Effect",
    "Facts",
    "InvalidPolicy",
    "Place",
    "Policy",
    "Problem",
    "Reason",
    "Rule",
    "RuleAstray",
    "Stray",
    "find_strays",
    "from_document",
    "from_policy_file",
    "parse_document",
]
