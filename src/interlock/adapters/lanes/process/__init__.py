"""The process lane: commands, by pipes or on a pseudo-terminal, with all their descendants in one hand."""

from interlock.adapters.lanes.process.lane import ProcessLane

__all__ = ["ProcessLane"]
