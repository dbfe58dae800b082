"""The script lane: a program in an interpreter that can do nothing but compute and ask for its declared actions."""

from interlock.adapters.lanes.script.lane import ScriptLane

__all__ = ["ScriptLane"]
