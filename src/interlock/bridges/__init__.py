"""Bridges: what other frameworks call an agent or a tool, made of ours, and ours made of theirs.

Owns: the translations, and the report of what does not translate; capabilities as function tools of OpenAI's APIs and, by
extras, as tools of LangChain and Pydantic AI (`bridges.langchain`, `bridges.pydantic_ai`); a memory in the shape of
LangGraph's store (`bridges.langgraph`). Refuses: meaning of its own, and ways round policy: a call of a tool is a run as any
other. Invariants: what was lost or assumed on the way is told; no secret crosses; what a foreign document leaves open is read
in the safe sense; what came of a call is a value that a model can read.
"""

from interlock.bridges.capability_tools import CapabilityTools, Told, Tool
from interlock.bridges.errors import ForeignSpec, NoSuchTools
from interlock.bridges.open_agent_spec import from_open_agent_spec, to_open_agent_spec
from interlock.bridges.openai import answer_openai, openai_tools
from interlock.bridges.report import Fate, Note, Report

__all__ = [
    "CapabilityTools",
    "Fate",
    "ForeignSpec",
    "NoSuchTools",
    "Note",
    "Report",
    "Told",
    "Tool",
    "answer_openai",
    "from_open_agent_spec",
    "openai_tools",
    "to_open_agent_spec",
]
