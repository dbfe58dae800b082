"""The journal of a turn: what is written of it leads back to the same state."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import agents, inference, kernel, runs
from interlock.agents import turns
from interlock.agents.harness import Past, Sheet, journal, read, replay, sheets

INPUT: dict[str, Any] = {"type": "object", "properties": {"n": {}}, "additionalProperties": False}


def operation(name: str, idempotency: str, **members: Any) -> dict[str, Any]:
    source = {"kind": "function", "ref": name}
    return {"name": name, "idempotency": idempotency, "input": INPUT, "source": source, **members}


PLAN = turns.Plan(
    agents.assemble(
        {
            "id": "desk",
            "instructions": "Answer.",
            "operations": [
                operation("look", "pure"),
                operation("pay", "unsafe_once", approval={"reason": "money"}),
                operation("mail", "dedupe"),
            ],
            "controls": {
                "inputs": [{"control": "polite"}],
                "operations": [{"control": "careful", "match": {"name": "mail"}}],
                "max_turns": 4,
            },
        },
        source="a spec",
    )
)
RUN = "run_1"
PLACE = agents.sessions.Place(session_id="ags_1", head=3, summed_up=1)
PAST = Past(place=PLACE, conversation=(inference.said("before"),))


class Chain:
    """The chain of a turn's run, with the ledger's own events in between."""

    def __init__(self) -> None:
        self.events: list[runs.Event] = []
        self.contents: dict[str, bytes] = {}

    def write(self, *entries: runs.Entry) -> None:
        self.add("attempt.started", {})
        for each in entries:
            self.add(*self._short(each))

    def _short(self, entry: runs.Entry) -> runs.Entry:
        content = journal.too_long(entry)
        if content is None:
            return entry
        artifact = artifact_of(f"art_{len(self.contents)}", content)
        self.contents[artifact.artifact_id] = content
        return journal.kept(entry, artifact)

    def add(self, kind: str, data: Mapping[str, kernel.JSON], run_id: str = RUN) -> None:
        seq = len(self.events) + 1
        body = kernel.canonical({"data": dict(data)}).decode()
        assert len(body) < journal.INLINE + 1000
        self.events.append(
            runs.Event(
                event_id=f"evt_{seq}", run_id=run_id, tenant_id="t", seq=seq, type=kind, at=NOW, body=body, hash=""
            )
        )

    def lines(self) -> list[journal.Line]:
        return read(RUN, self.events)

    def replayed(self, past: Past = PAST, text: str = "hello") -> Sheet:
        return replay(PLAN, RUN, read(RUN, self.events), text=text, past=past, contents=self.contents)


NOW = datetime(2026, 1, 1, tzinfo=UTC)


def artifact_of(artifact_id: str, content: bytes) -> runs.Artifact:
    return runs.Artifact(
        artifact_id=artifact_id, run_id=RUN, attempt_id=None, tenant_id="t", name="event", media_type="application/json",
        digest=kernel.digest_bytes(content), size=len(content), content=content, blob_key=None, redacted=False,
        created_at=NOW,
    )  # fmt: skip


class Turn:
    """A turn that is written down as it goes on."""

    def __init__(self) -> None:
        self.chain = Chain()
        self.sheet = sheets.blank(PLAN, RUN)
        event = turns.Began(input="hello", conversation=PAST.conversation, recalled="a note")
        self.sheet = sheets.after(PLAN, self.sheet, event)
        self.chain.write(journal.began(event, PAST))

    def tell(self, event: turns.AnyEvent) -> None:
        event = journal.fitting(event)
        self.sheet = sheets.after(PLAN, self.sheet, event)
        self.chain.write(journal.told(event, key="k", run_id="run_2"))

    def intend(self, *intents: turns.Ask | turns.Perform) -> None:
        self.chain.write(*journal.intended(intents))
        self.sheet = self.sheet.intending(each.key for each in intents)


def answer(*parts: inference.Piece) -> turns.Answered:
    message = inference.Message(role=inference.Role.MODEL, parts=parts)
    usage = inference.Usage(input_tokens=3, output_tokens=1)
    finish = inference.Finish.CALLS if message.calls else inference.Finish.STOP
    return turns.Answered(answer=inference.Answer(message=message, finish=finish, usage=usage, model="m"), took_s=0.25)


def calls(*names: str) -> turns.Answered:
    return answer(*(inference.Call(call_id=f"c{n}", name=name) for n, name in enumerate(names)))


WORDS = st.text(max_size=20) | st.sampled_from(["\ud800", "x" * 40_000, "\x00", "é"])


def an_event(data: st.DataObject, intent: turns.AnyIntent) -> turns.AnyEvent:
    draw = data.draw
    took_s = draw(st.floats(0, 100).map(lambda n: round(n, 6)))
    if draw(st.integers(0, 30)) == 0:
        return turns.Stopped(code="cancelled", message=draw(WORDS), details={"n": 1}, took_s=took_s)
    match intent:
        case turns.Judge():
            verdicts = st.sampled_from([turns.Verdict.ALLOW, turns.Verdict.BLOCK, turns.Verdict.INTERRUPT])
            of = intent.call_ids or (None,)
            return turns.Judged(
                judgements=tuple(turns.Judgement(call_id=each, verdict=draw(verdicts), reason="r") for each in of)
            )
        case turns.Ask():
            names = draw(st.lists(st.sampled_from(["look", "pay", "mail", "none"]), max_size=4))
            said = inference.Text(text=draw(WORDS))
            given = [
                inference.Call(
                    call_id=f"c{n}", name=name, arguments=draw(st.sampled_from(["{}", '{"n":1.5}', "{", "[]"]))
                )
                for n, name in enumerate(names)
            ]
            return answer(said, *given)
        case turns.Consent():
            edited = draw(st.sampled_from([None, {"n": 2}, {"n": [1.25, "x"]}]))
            arguments = edited if intent.call_id is not None else None
            return turns.Decided(call_id=intent.call_id, approved=draw(st.booleans()), arguments=arguments)
        case turns.Perform():
            return turns.Performed(call_id=intent.call_id, text=draw(WORDS), failed=draw(st.booleans()), took_s=took_s)
        case turns.End():
            raise AssertionError


@given(st.data())
def test_what_is_written_of_a_turn_leads_back_to_the_same_state(data: st.DataObject):
    draw = data.draw
    turn = Turn()
    for _ in range(30):
        assert turn.chain.replayed() == turn.sheet
        if turn.sheet.state.ended:
            turn.chain.write(journal.ended(turn.sheet.state))
            assert turn.chain.replayed() == turn.sheet
            return
        intent = draw(st.sampled_from(turn.sheet.wanted))
        if isinstance(intent, turns.Ask | turns.Perform):
            turn.intend(intent)
            assert turn.chain.replayed() == turn.sheet
        turn.tell(an_event(data, intent))


def asked() -> Turn:
    turn = Turn()
    turn.tell(turns.Judged(judgements=(turns.Judgement(verdict=turns.Verdict.ALLOW),)))
    return turn


def test_what_was_begun_and_has_no_outcome_is_known():
    turn = asked()
    [ask] = turn.sheet.wanted
    assert isinstance(ask, turns.Ask)
    turn.intend(ask)
    assert turn.chain.replayed().intended == {ask.key}
    turn.tell(calls("look", "look"))
    one, other = turn.sheet.wanted
    assert isinstance(one, turns.Perform)
    assert isinstance(other, turns.Perform)
    turn.intend(one, other)
    turn.tell(turns.Performed(call_id=one.call_id, text="done"))
    sheet = turn.chain.replayed()
    assert (sheet.wanted, sheet.intended) == ((other,), {other.key})
    turn.chain.write(journal.put_off(other, run_id="run_3", approval_id="apr_1"))
    sheet = turn.chain.replayed()
    assert (sheet.intended, sheet.put_off[other.key]["run_id"]) == (frozenset(), "run_3")
    turn.chain.write(*journal.intended([other], again=frozenset({other.key})))
    assert turn.chain.replayed().put_off == {}
    turn.chain.write(journal.settled(other, by="ann", happened=False, note="nothing there"))
    assert turn.chain.replayed().intended == frozenset()


def refused(chain: Chain, **options: Any) -> str:
    with pytest.raises(agents.UnreadableJournal) as refusal:
        chain.replayed(**options)
    return str(refusal.value)


def test_a_journal_that_is_none_is_refused():
    turn = asked()
    turn.chain.add("turn.dreamt", {})
    assert "event 5 of run_1 is a 'turn.dreamt', of which nothing is known here" in refused(turn.chain)
    turn = asked()
    turn.chain.add("turn.answered", {}, run_id="run_9")
    assert "event 5 is of run_9, and not of run_1" in refused(turn.chain)
    turn = asked()
    turn.chain.write(journal.told(turns.Performed(call_id="x", text="y")))
    assert "turn.performed) does not follow from those before it" in refused(turn.chain)
    turn = asked()
    turn.chain.write(("turn.intended", {"key": "foreign"}))
    assert "nothing was to be done that has this key" in refused(turn.chain)
    turn = asked()
    turn.chain.write(("turn.answered", {"answer": "yes"}))
    assert "turn.answered) does not follow" in refused(turn.chain)
    assert "the conversation before the turn is not what it was" in refused(asked().chain, past=Past())


def test_an_end_that_the_events_do_not_lead_to_is_refused():
    turn = asked()
    turn.tell(answer(inference.Text(text="Hi.")))
    state = turn.sheet.state
    turn.chain.write(journal.ended(state.model_copy(update={"answer": "Something else."})))
    assert "ended in another state" in refused(turn.chain)
    assert "ended in another state" in refused(turn.chain, text="another question")


def test_content_that_was_changed_is_refused():
    turn = asked()
    turn.tell(answer(inference.Text(text="x" * 50_000)))
    [artifact_id] = turn.chain.contents
    turn.chain.contents[artifact_id] += b" "
    assert "is not what its digest says" in refused(turn.chain)
    turn.chain.contents.clear()
    assert "turn.answered) does not follow" in refused(turn.chain)


def test_a_beginning_holds_no_copy_of_the_conversation():
    first: Sequence[runs.Event] = Turn().chain.events[:2]
    assert "before" not in first[1].body
    assert '"messages":1' in first[1].body
    long = Chain()
    long.write(journal.began(turns.Began(input="x", recalled="y" * 50_000), PAST))
    assert [long.lines()[0].place, long.lines()[0].kept_in] == [PLACE, "art_0"]
