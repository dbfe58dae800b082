"""A turn of an agent, as a machine of pure data: what happened in, what is to be done out."""

from interlock.agents.turns.events import (
    Answered,
    AnyEvent,
    Began,
    Decided,
    Judged,
    Judgement,
    Performed,
    Stopped,
    Verdict,
)
from interlock.agents.turns.intents import AnyIntent, Ask, Boundary, Consent, End, Judge, Perform
from interlock.agents.turns.plan import Plan
from interlock.agents.turns.reading import ARGUMENTS, MAX_CALLS, kept
from interlock.agents.turns.state import Conclusion, Failure, Phase, Standing, State, Step
from interlock.agents.turns.step import MAX_OUTCOME, step

__all__ = [
    "ARGUMENTS",
    "MAX_CALLS",
    "MAX_OUTCOME",
    "Answered",
    "AnyEvent",
    "AnyIntent",
    "Ask",
    "Began",
    "Boundary",
    "Conclusion",
    "Consent",
    "Decided",
    "End",
    "Failure",
    "Judge",
    "Judged",
    "Judgement",
    "Perform",
    "Performed",
    "Phase",
    "Plan",
    "Standing",
    "State",
    "Step",
    "Stopped",
    "Verdict",
    "kept",
    "step",
]
