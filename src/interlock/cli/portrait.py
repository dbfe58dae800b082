"""One run as a page for people."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from interlock import approvals, runs
from interlock.cli.paper import Ink, Paper
from interlock.cli.text import moment, shorten, size
from interlock.cli.timeline import meaning

if TYPE_CHECKING:
    from datetime import datetime

_STATES = {"send.settled": "delivery", "policy.decided": "effect", "attempt.ended": "state"}
"""Where an event says how something ended."""


def draw(paper: Paper, history: runs.History, events: Sequence[runs.Event]) -> None:
    """The whole page."""
    _head(paper, history)
    _decisions(paper, history)
    paper.heading("Timeline")
    for event in events:
        draw_event(paper, event)
    _sends(paper, history.sends)
    _artifacts(paper, history.artifacts)
    if steps := next_steps(history):
        paper.heading("Next")
        for step, why in steps:
            paper.line(" ", Ink(step, "code"), Ink(why, "faint"))


def draw_event(paper: Paper, event: runs.Event) -> None:
    """One line of a timeline."""
    data = cast("Mapping[str, Any]", json.loads(event.body)["data"])
    kind, _, word = event.type.partition(".")
    word = str(data.get(_STATES.get(event.type, ""), word))
    colour = paper.state(word)
    style = colour.style if isinstance(colour, Ink) else "faint"
    title = Ink(f"{event.type:<20}", "faint" if style == "faint" or kind == "artifact" else style)
    paper.line(Ink(f"{event.seq:>3}", "faint"), Ink(_clock(event.at), "faint"), title, meaning(event.type, data))


def next_steps(history: runs.History) -> list[tuple[str, str]]:
    """The commands that move a run that stands still, and why."""
    run = history.run
    if run.kind is runs.Kind.AGENT_TURN and run.state in (runs.State.HELD, runs.State.WAITING):
        return _turn_steps(history)
    match run.state:
        case runs.State.HELD:
            approval = _approval(history)
            step = f"interlock approvals approve {run.approval_id}"
            if approval is not None and approval.state is approvals.State.APPROVED:
                return [(step, f"{approval.reviewer} approved it; this executes it")]
            if approval is not None and approval.state is approvals.State.EXPIRED:
                return [("interlock runs recover", "its approval expired; this ends it")]
            return [(step, "or `deny`: it waits for a reviewer")]
        case runs.State.WAITING:
            return [
                (f"interlock runs settle {run.run_id}", "read the service once more"),
                (f"interlock runs settle {run.run_id} --happened", "or --not-happened: what you saw there"),
            ]
        case runs.State.RUNNING:
            return [("interlock runs recover", "if the process that worked on it is gone")]
        case _:
            return []


def _turn_steps(history: runs.History) -> list[tuple[str, str]]:
    """The same, of an agent's turn, which may wait for several people, or for what it asked a connector for."""
    run, pending = history.run, [each for each in history.approvals if each.state is approvals.State.PENDING]
    if run.state is runs.State.WAITING:
        return [(f"interlock agent settle {run.run_id} CALL --happened TEXT", "or --not-happened: what you saw")]
    if pending:
        return [
            (f"interlock approvals approve {each.approval_id}", "or `deny`: it waits for a reviewer")
            for each in pending
        ]
    return [
        (f"interlock agent resume {run.run_id}", "it goes on, if nobody is asked any more (`interlock approvals list`)")
    ]


def _approval(history: runs.History) -> approvals.Approval | None:
    """The one that the run waits for, or waited for."""
    return next((each for each in history.approvals if each.approval_id == history.run.approval_id), None)


def _head(paper: Paper, history: runs.History) -> None:
    run, approval = history.run, _approval(history)
    until = approval.expires_at if approval is not None and run.state is runs.State.HELD else None
    paper.line(paper.state(run.state.value), Ink(run.capability, "strong"), Ink(run.run_id, "faint"))
    error = cast("Mapping[str, Any] | None", run.error)
    paper.fields(
        [
            ("asked by", f"{run.actor}, tenant {run.tenant_id}, environment {run.environment}"),
            ("asked", moment(run.created_at)),
            ("ended", moment(run.finished_at) or None),
            ("reason", _reason(run)),
            ("error", Ink(f"{error['message']} ({error['code']})", "bad") if error else None),
            ("connection", run.connection_id),
            ("connector", f"{run.connector_id} {run.connector_version}" if run.connector_id else None),
            ("key", run.idempotency_key),
            ("approval", run.approval_id),
            ("waits until", moment(until) or None),
            ("input", shorten(run.input_json, 300)),
        ]
    )


def _reason(run: runs.Run) -> str | None:
    if run.reason != runs.GIVEN_UP:
        return run.reason
    again = "" if run.idempotency_key is None else "; its key tells so, a new try takes a new one"
    return f"{run.reason}: whether it happened stays unknown{again}"


def _decisions(paper: Paper, history: runs.History) -> None:
    if not history.decisions:
        return
    paper.heading("Decision")
    approval = _approval(history)
    for number, decision in enumerate(history.decisions):
        if number:
            paper.line(" ", Ink(f"judged again {moment(decision.at)}", "faint"))
        for reason in cast("Sequence[Mapping[str, Any]]", decision.reasons or ()):
            paper.line(
                " ", paper.state(str(reason["effect"])), str(reason["text"]), Ink(f"({reason['rule_id']})", "faint")
            )
        if decision.effect == "ask" and approval is not None and approval.state is approvals.State.SPENT:
            paper.line("   ", Ink(f"answered by {approval.reviewer}: {approval.approval_id}", "faint"))


def _sends(paper: Paper, sends: Sequence[runs.Send]) -> None:
    if not sends:
        return
    paper.heading("Sends")
    rows = [
        (
            str(send.number),
            send.purpose.value,
            _request(send),
            paper.state(send.delivery.value),
            _answer(send),
            send.target_class,
        )
        for send in sends
    ]
    paper.table(("no", "purpose", "request", "delivery", "answer", "target"), rows)


def _request(send: runs.Send) -> str:
    intent = cast("Mapping[str, Any]", json.loads(send.intent_json))
    if "argv" in intent:
        return shorten(" ".join(intent["argv"]), 120)
    if "source_digest" in intent:
        return f"script {intent['source_digest'][:19]}"
    return shorten(f"{intent.get('method', '')} {intent.get('url', '')}", 120)


def _answer(send: runs.Send) -> str:
    if send.receipt_json is None:
        return ""
    receipt = cast("Mapping[str, Any]", json.loads(send.receipt_json))
    failure = cast("Mapping[str, Any] | None", receipt.get("failure"))
    if failure is not None:
        return str(failure["code"])
    return str(receipt.get("status") or "")


def _artifacts(paper: Paper, artifacts: Sequence[runs.Artifact]) -> None:
    if not artifacts:
        return
    paper.heading("Artifacts")
    rows = [(each.artifact_id, each.name, each.media_type, size(each.size)) for each in artifacts]
    paper.table(("artifact", "name", "type", "size"), rows)


def _clock(at: "datetime") -> str:
    return at.strftime("%H:%M:%S.%f")[:-3]
