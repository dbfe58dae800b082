"""Agents: an immutable spec, plain data that says all that a run of it depends on, and the turns that are taken by it.

Owns: the spec and its parts, its two spellings (Python, a YAML or JSON document), its invariants and its fingerprint, the
registry in which its names are looked up, and the turn as a machine of pure data (`turns`). Refuses: clients, credentials and
processes; code that a document names by itself; time and chance. Invariants: the same agent has the same fingerprint however it
is written; a document of a spec is read as that spec; all problems are told at once; what nobody can tell to have been done is
never left to a model alone; nothing of a batch is done while a person has to be asked about any of it.
"""

from interlock.agents import evals, harness, sessions, snapshots, turns
from interlock.agents.assembling import REGISTRY_REF, Defaults, asking, assemble
from interlock.agents.comparing import Difference, compare
from interlock.agents.controls import Control, Controls, Limits, Match, OperationControl
from interlock.agents.declaring import agent, control, operation
from interlock.agents.documents import read_spec, schema, write_document, write_spec
from interlock.agents.errors import (
    AgentNotFound,
    InvalidContext,
    InvalidOptions,
    InvalidSpec,
    OperationChanged,
    OperationFailed,
    OperationUnclear,
    TurnFailed,
    TurnNotResumable,
    UnexpectedEvent,
    UnreadableJournal,
)
from interlock.agents.functions import FUNCTION, Functions, Marked
from interlock.agents.judging import CONTROL_TIMEOUT_S, Judging
from interlock.agents.operations import NO_INPUT, Consent, Idempotency, Operation, Source
from interlock.agents.registry import Registry
from interlock.agents.rulings import Check, ControlInput, Ruling, Surroundings, allow, block, error, interrupt
from interlock.agents.shapes import Shape, shape
from interlock.agents.sources import (
    Described,
    Found,
    Happened,
    Held,
    Invocation,
    Looking,
    NotHappened,
    Objecting,
    OperationSource,
    Unclear,
    source,
)
from interlock.agents.sourcing.capabilities import Asking, Capabilities
from interlock.agents.sourcing.flows import Workflow
from interlock.agents.sourcing.options import without_annotations
from interlock.agents.sourcing.remembering import Remembering, scope_of
from interlock.agents.sourcing.subagents import Subagents
from interlock.agents.sourcing.toolbox import MAX_TOOLS, Tool, Toolbox, ToolServers, ToolSession
from interlock.agents.sourcing.toolbox import Answered as ToolAnswered
from interlock.agents.sourcing.tools import McpTools
from interlock.agents.sourcing.workflows import Workflows
from interlock.agents.spec import (
    CONTRACT,
    Capture,
    Conversation,
    Generation,
    Inject,
    Memory,
    Params,
    Result,
    Runtime,
    Scope,
    Spec,
)
from interlock.agents.terms import LIMITS

__all__ = [
    "CONTRACT",
    "CONTROL_TIMEOUT_S",
    "FUNCTION",
    "LIMITS",
    "MAX_TOOLS",
    "NO_INPUT",
    "REGISTRY_REF",
    "AgentNotFound",
    "Asking",
    "Capabilities",
    "Capture",
    "Check",
    "Consent",
    "Control",
    "ControlInput",
    "Controls",
    "Conversation",
    "Defaults",
    "Described",
    "Difference",
    "Found",
    "Functions",
    "Generation",
    "Happened",
    "Held",
    "Idempotency",
    "Inject",
    "InvalidContext",
    "InvalidOptions",
    "InvalidSpec",
    "Invocation",
    "Judging",
    "Limits",
    "Looking",
    "Marked",
    "Match",
    "McpTools",
    "Memory",
    "NotHappened",
    "Objecting",
    "Operation",
    "OperationChanged",
    "OperationControl",
    "OperationFailed",
    "OperationSource",
    "OperationUnclear",
    "Params",
    "Registry",
    "Remembering",
    "Result",
    "Ruling",
    "Runtime",
    "Scope",
    "Shape",
    "Source",
    "Spec",
    "Subagents",
    "Surroundings",
    "Tool",
    "ToolAnswered",
    "ToolServers",
    "ToolSession",
    "Toolbox",
    "TurnFailed",
    "TurnNotResumable",
    "Unclear",
    "UnexpectedEvent",
    "UnreadableJournal",
    "Workflow",
    "Workflows",
    "agent",
    "allow",
    "asking",
    "assemble",
    "block",
    "compare",
    "control",
    "error",
    "evals",
    "harness",
    "interrupt",
    "operation",
    "read_spec",
    "schema",
    "scope_of",
    "sessions",
    "shape",
    "snapshots",
    "source",
    "turns",
    "without_annotations",
    "write_document",
    "write_spec",
]
