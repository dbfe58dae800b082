"""Bridges: what other frameworks call an agent or a tool, made of ours, and ours made of theirs.

Owns: the translations, and the report of what does not translate; a memory in the shape of LangGraph's store
(`bridges.langgraph`, which needs the extra). Refuses: running anything; meaning of its own. Invariants: what was lost or assumed
on the way is told; no secret crosses; what a foreign document leaves open is read in the safe sense.
"""

from interlock.bridges.errors import ForeignSpec
from interlock.bridges.open_agent_spec import from_open_agent_spec, to_open_agent_spec
from interlock.bridges.report import Fate, Note, Report

__all__ = ["Fate", "ForeignSpec", "Note", "Report", "from_open_agent_spec", "to_open_agent_spec"]
