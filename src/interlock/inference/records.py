"""What goes on record of asking a model: what was asked by its digest and its counts, and what happened on the way.

An answer is kept whole; the conversation that led to it is not kept again with each question, so that a record grows by what
is said and not by its square.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, cast

from interlock import runs
from interlock.inference.endpoints import Endpoint, Feature
from interlock.inference.messages import Answer, Request
from interlock.inference.port import Answered
from interlock.kernel import JSON, canonical, digest_bytes

PREFIX: Final = "inference."
"""What the names of these runs begin with: `inference.openai`."""

ANSWERED: Final = "inference.answered"
"""The event that tells of an answer, with its usage and its cost."""


def asked(request: Request, text: bytes) -> dict[str, JSON]:
    """A request, whose canonical JSON is `text`, as a run's input."""
    return {
        "contract": request.contract,
        "model": request.model,
        "request_digest": digest_bytes(text),
        "request_bytes": len(text),
        "messages": len(request.messages),
        "tools": len(request.tools),
        "result": request.result is not None,
        "params": cast("JSON", dict(request.params)),
    }


def compatible(endpoint: Endpoint, missing: Sequence[Feature]) -> runs.Entry:
    """Whether the model has what the request needs."""
    return "inference.compatibility_evaluated", {
        "model": endpoint.ref,
        "compatible": not missing,
        "missing": [each.value for each in missing],
    }


def resolved(endpoint: Endpoint) -> runs.Entry:
    """Who is asked, and where."""
    return "inference.target_resolved", {
        "model": endpoint.ref,
        "provider": endpoint.provider,
        "kind": endpoint.kind,
        "host": endpoint.host,
    }


def refused(endpoint: Endpoint, reasons: Sequence[str]) -> runs.Entry:
    """Policy does not let a model be asked in another one's place."""
    return "inference.fallback_refused", {"model": endpoint.ref, "reasons": list(reasons)}


def opened(status: int) -> runs.Entry:
    """The model's answer begins to come."""
    return "inference.stream_opened", {"status": status}


@dataclass(slots=True)
class Tally:
    """How much of a stream has come."""

    pieces: int = 0
    bytes: int = 0

    def checkpoint(self) -> runs.Entry:
        """It is still coming."""
        return "inference.stream_checkpoint", {"pieces": self.pieces, "bytes": self.bytes}

    def closed(self) -> runs.Entry:
        """It has come to its end, or is broken off."""
        return "inference.stream_closed", {"pieces": self.pieces, "bytes": self.bytes}


def answered(endpoint: Endpoint, answer: Answer, cost: Decimal | None) -> runs.Entry:
    """What came of it; what was said is the run's output."""
    return ANSWERED, {
        "model": endpoint.ref,
        "answered_by": answer.model,
        "response_id": answer.response_id,
        "finish": answer.finish.value,
        "usage": cast("JSON", answer.usage.model_dump(mode="json")),
        "cost_usd": None if cost is None else str(cost),
    }


def output(answer: Answer, cost: Decimal | None) -> bytes:
    """The answer as it is kept."""
    whole = {"answer": answer.model_dump(mode="json"), "cost_usd": None if cost is None else str(cost)}
    return canonical(cast("JSON", whole))


def read(run_id: str, kept: JSON) -> Answered:
    """The answer that was kept."""
    told = cast("Mapping[str, JSON]", kept)
    cost = told["cost_usd"]
    return Answered(
        run_id=run_id,
        answer=Answer.model_validate(told["answer"], strict=False),
        cost=None if cost is None else Decimal(str(cost)),
    )
