"""Inference: asking models, whoever runs them.

Owns: messages, requests and answers in words of our own; asking, as a run under policy and budgets; retries and fallbacks,
each an attempt on record. Refuses: the loop of an agent (agents), providers' libraries (adapters). Invariants: what was said is
kept as it was said; an answer that was cut off is never taken for a whole one; an answer that is on record is never asked for
again; no key of a provider reaches a row.
"""

from interlock.inference.asking import RecordedInference
from interlock.inference.endpoints import Endpoint, Feature, Models, Price, micros, unpriced
from interlock.inference.errors import (
    ModelBusy,
    ModelForbidden,
    ModelLibraryMissing,
    ModelRefused,
    ModelUnavailable,
    ModelUnpriced,
    ModelUnreadable,
    UnknownModel,
)
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
    canonical,
    said,
)
from interlock.inference.options import flaws_of, is_declarable
from interlock.inference.port import Answered, Delta, Inference, Model, Purse, Received, Sending, Told, Wire
from interlock.inference.records import ANSWERED

__all__ = [
    "ANSWERED",
    "Answer",
    "Answered",
    "Call",
    "Delta",
    "Endpoint",
    "Feature",
    "Finish",
    "Inference",
    "Message",
    "Model",
    "ModelBusy",
    "ModelForbidden",
    "ModelLibraryMissing",
    "ModelRefused",
    "ModelUnavailable",
    "ModelUnpriced",
    "ModelUnreadable",
    "Models",
    "Outcome",
    "Piece",
    "Price",
    "Purse",
    "Received",
    "RecordedInference",
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
    "canonical",
    "flaws_of",
    "is_declarable",
    "micros",
    "said",
    "unpriced",
]
