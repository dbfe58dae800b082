"""Conversations of many turns: what each turn left, who has the next one, and what of it all a model is told again.

Owns: sessions, what ended turns said in them, summaries, windows. Refuses: running turns. Invariants: of a session at most one
turn is open at a time; what a turn said is kept once; no call is ever told without its outcome; a summary speaks for nobody but
the user's side; the same place in a session is always told in the same words.
"""

from interlock.agents.sessions.compacting import Compaction, request, summed_up
from interlock.agents.sessions.errors import (
    AgentChanged,
    InvalidSession,
    SessionBusy,
    SessionFull,
    SessionNotFound,
    SessionWentOn,
)
from interlock.agents.sessions.keeping import MAX_SAID, NEVER_KNOWN, bounded, settled
from interlock.agents.sessions.model import MAX_TURNS, Exchange, Fate, Place, Session, Size, Summary
from interlock.agents.sessions.records import Query, Records
from interlock.agents.sessions.sessions import Sessions
from interlock.agents.sessions.turning import check_agent
from interlock.agents.sessions.windowing import SUMMED_UP, Window, groups, tokens, window

__all__ = [
    "MAX_SAID",
    "MAX_TURNS",
    "NEVER_KNOWN",
    "SUMMED_UP",
    "AgentChanged",
    "Compaction",
    "Exchange",
    "Fate",
    "InvalidSession",
    "Place",
    "Query",
    "Records",
    "Session",
    "SessionBusy",
    "SessionFull",
    "SessionNotFound",
    "SessionWentOn",
    "Sessions",
    "Size",
    "Summary",
    "Window",
    "bounded",
    "check_agent",
    "groups",
    "request",
    "settled",
    "summed_up",
    "tokens",
    "window",
]
