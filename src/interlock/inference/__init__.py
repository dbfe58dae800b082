"""Inference: asking models, whoever runs them.

Owns: messages, requests and answers in words of our own. Refuses: the loop of an agent (agents), providers' libraries
(adapters). Invariants: what was said is kept as it was said; an answer that was cut off is never taken for a whole one.
"""

from interlock.inference.errors import ModelForbidden, ModelRefused, ModelUnavailable, ModelUnreadable, UnknownModel
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
from interlock.inference.port import Answered, Delta, Inference, Model, Received, Sending, Told, Wire

__all__ = [
    "Answer",
    "Answered",
    "Call",
    "Delta",
    "Finish",
    "Inference",
    "Message",
    "Model",
    "ModelForbidden",
    "ModelRefused",
    "ModelUnavailable",
    "ModelUnreadable",
    "Outcome",
    "Piece",
    "Received",
    "Request",
    "Role",
    "Sending",
    "Text",
    "Thinking",
    "Told",
    "Tool",
    "UnknownModel",
    "Usage",
    "Wire",
    "said",
]
