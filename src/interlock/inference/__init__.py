"""Inference: asking models, whoever runs them.

Owns: messages, requests and answers in words of our own. Refuses: the loop of an agent (agents), providers' libraries
(adapters). Invariants: what was said is kept as it was said; an answer that was cut off is never taken for a whole one.
"""

from interlock.inference.messages import (
    Answer,
    Call,
    Finish,
    Message,
    Outcome,
    Piece,
    Request,
    Role,
    Text,
    Thinking,
    Tool,
    Usage,
    said,
)

__all__ = [
    "Answer",
    "Call",
    "Finish",
    "Message",
    "Outcome",
    "Piece",
    "Request",
    "Role",
    "Text",
    "Thinking",
    "Tool",
    "Usage",
    "said",
]
