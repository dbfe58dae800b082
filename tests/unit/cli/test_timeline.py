"""Every event that runs write has a sentence."""

import ast
import re

import pytest

import sources
from interlock import runs
from interlock.agents.harness import guest_journal, journal
from interlock.cli import timeline


def written() -> set[str]:
    """The types of events that appear in the source of the room."""
    found: set[str] = set()
    for module in sources.MODULES:
        if module.room in ("runs", "inference"):
            texts = [node.value for node in ast.walk(module.tree) if isinstance(node, ast.Constant)]
            found |= {text for text in texts if isinstance(text, str) and re.fullmatch(
                r"(run|policy|approval|attempt|lease|send|artifact|reconcile|inference)\.[a-z_]+", text)}  # fmt: skip
    turns = {f"turn.{kind}" for kind in journal.KINDS}
    guests = {guest_journal.ENDED} | {f"{guest_journal.PREFIX}{kind}" for kind in guest_journal.KINDS}
    return found | {f"run.{state}" for state in runs.State} | turns | guests


@pytest.mark.parametrize("kind", sorted(written()))
def test_every_type_is_known(kind: str):
    assert kind in timeline.TYPES


def test_what_is_not_known_is_named():
    assert timeline.meaning("run.strange", {}) == "run.strange"


def test_an_event_that_lacks_what_it_should_say_is_named():
    assert timeline.meaning("send.settled", {}) == "send.settled"


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("send.settled", {"delivery": "not_sent"}, "not_sent: no byte left: proven"),
        ("run.failed", {"error": {"message": "it broke"}, "reason": "x"}, "failed: it broke"),
        ("run.denied", {"error": None, "reason": "rule"}, "denied: rule"),
        ("reconcile.concluded", {"verdict": "absent"}, "read: it did not happen"),
        ("approval.denied", {"approval_id": "apr_1", "reviewer": "a", "requester": "b", "reason": "no"},
         "apr_1 denied by a: no"),
        ("approval.expired", {"approval_id": "apr_1", "reviewer": None, "requester": "b"}, "apr_1 expired"),
        ("approval.expired", {"approval_id": "apr_1", "reviewer": "a", "requester": "b"},
         "apr_1, which a had given, expired"),
        ("inference.compatibility_evaluated", {"model": "local:m", "compatible": False, "missing": ["tools", "stream"]},
         "local:m lacks what the question needs: tools, stream"),
        ("inference.stream_checkpoint", {"pieces": 3, "bytes": 2048000},
         "the answer is still coming: 2,000 KiB in 3 pieces"),
        ("inference.answered", {"model": "local:m", "answered_by": None, "finish": "stop", "cost_usd": "0.01",
          "usage": {"input_tokens": 7, "output_tokens": 2}},
         "local:m has answered (stop): 7 tokens in, 2 out, 0.01 USD"),
        ("turn.intended", {"kind": "ask", "again": False}, "the model is about to be asked"),
        ("turn.intended", {"kind": "perform", "again": True, "operation": "pay", "call_id": "c1", "idempotency": "dedupe"},
         "pay (c1) is about to be done, which is dedupe, perhaps not for the first time"),
        ("turn.judged", {"judgements": [{"call_id": "c1", "verdict": "block", "control": "late", "reason": "closed"}]},
         "late blocks c1: closed"),
        ("turn.performed", {"call_id": "c1", "failed": True, "text": "it raised"}, "c1 failed: it raised"),
        ("turn.performed", {"kept": {"artifact_id": "art_1"}}, "kept in art_1"),
        ("turn.decided", {"call_id": None, "approved": False, "reason": "no", "arguments": None},
         "a person says no to what is said: no"),
        ("step.intended", {"kind": "tool", "again": False, "name": "pay", "call_id": "c1", "idempotency": "dedupe"},
         "pay (c1) is about to be done, which is dedupe"),
        ("step.intended", {"kind": "model", "again": True, "name": "m", "call_id": None, "idempotency": "idempotent"},
         "the model is about to be asked, perhaps not for the first time"),
        ("step.done", {"kind": "tool", "result": "3"}, "it came to: 3"),
        ("step.settled", {"by": "me", "seen": "not_happened", "note": "saw it"}, "me saw that it not happened (saw it)"),
        ("guest.ended", {"failure": "cancelled", "models": 2, "tools": 1},
         "the turn has ended, cancelled: 2 questions, 1 operation"),
    ],
)  # fmt: skip
def test_sentences(kind: str, data: dict[str, object], said: str):
    assert timeline.meaning(kind, data) == said
