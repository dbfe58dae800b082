"""Scenarios: what they say, whom they answer, and that nothing else happens."""

import json
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_plane import Bench, Intents
from interlock import plane
from interlock.kernel import canonical
from interlock.plane.simulation import _fits_text

pytestmark = pytest.mark.anyio


def scenario(*rules: Any, **fields: Any) -> plane.Scenario:
    made = {"contract": "interlock.scenario/v1", "name": "test", "rules": list(rules), **fields}
    return plane.parse_scenario(json.dumps(made))


def rule(answer: Any = None, **fields: Any) -> dict[str, Any]:
    return {"when": {"kind": "http"}, "answer": answer or {"status": 200}, **fields}


def bench(intents: Intents, *rules: Any) -> Bench:
    target = plane.LocalTarget("sim", target_class="made-up", lane_id=plane.SIMULATED, clock=intents.clock)
    return Bench(intents, plane.simulate(scenario(*rules)), [target])


async def run(intents: Intents, *rules: Any, intent: plane.Intent | None = None) -> plane.Receipt:
    return await bench(intents, *rules).execute(intent or intents.http(), "made-up")


def process(intents: Intents, *argv: str) -> plane.ProcessIntent:
    whose = {name: getattr(intents.http(), name) for name in plane.Intent.model_fields}
    return plane.ProcessIntent(**whose, argv=argv)


# -- answers


async def test_an_answer_is_a_receipt_that_says_it_is_simulated(intents: Intents):
    answer = {"status": 201, "headers": {"Content-Type": "application/json"}, "json": {"number": 7}}
    receipt = await run(intents, rule(answer))
    assert (receipt.status, receipt.body, receipt.failure) == (201, b'{"number":7}', None)
    assert receipt.headers == (("content-type", "application/json"),)
    assert receipt.lane_id == plane.SIMULATED
    (link,) = [link for link in receipt.evidence if link.type == "simulated"]
    assert link.data["rule"] == 1
    assert receipt.facts["simulated"] == link.data["scenario_digest"]


async def test_the_same_links_as_for_the_real_thing(intents: Intents):
    receipt = await run(intents, rule())
    assert [link.type for link in receipt.evidence] == ["admitted", "simulated", "finished"]
    assert receipt.evidence[-1].data["delivery"] == "responded"


async def test_a_process_speaks_on_its_streams(intents: Intents):
    answer = {
        "facts": {"exit_code": 0},
        "output": [{"stream": "stderr", "text": "working"}, {"stream": "stdout", "text": "one\n"}],
        "text": "two\n",
    }
    made = {"when": {"kind": "process", "fields": {"argv": ["git", "push", "**"]}}, "answer": answer}
    receipt = await run(intents, made, intent=process(intents, "git", "push", "origin"))
    assert receipt.body == b"one\ntwo\n"
    assert receipt.facts["exit_code"] == 0


async def test_what_is_said_after_input_waits_for_it(intents: Intents):
    lane = plane.simulate(
        scenario(rule({"output": [{"stream": "message", "text": "hello", "after_input": True, "facts": {"n": 1}}]}))
    )
    log, inbox = plane.EventLog("x", intents.clock), plane.Inbox()
    await inbox.send(plane.Input(data=b"hi"))
    exchange = plane.Exchange(intents.clock, channel=plane.Channel(log, inbox))
    await lane.execute(intents.http(), exchange)
    inbox.end()
    assert await inbox.receive() is None
    assert log.last == 1


async def test_delays_pass_on_the_injected_clock(intents: Intents):
    before = intents.clock.now()
    await run(intents, rule({"output": [{"stream": "body", "delay_ms": 2_000}]}, delay_ms=3_000))
    assert intents.clock.now() - before == timedelta(seconds=5)


@pytest.mark.parametrize("failure_class", list(plane.FailureClass))
async def test_every_failure_can_be_played(intents: Intents, failure_class: plane.FailureClass):
    receipt = await run(intents, rule({"failure": {"class": failure_class.value}}))
    assert receipt.failure is not None
    assert receipt.failure.failure_class is failure_class
    effect = plane.MEANINGS[failure_class].effect
    assert receipt.delivery is (plane.Delivery.NOT_SENT if effect == "none" else plane.Delivery.UNKNOWN)


async def test_a_failure_with_an_answer(intents: Intents):
    answer = {"facts": {"exit_code": 3}, "failure": {"class": "exit_nonzero", "code": "exit_3"}}
    made = {"when": {"kind": "process"}, "answer": answer}
    receipt = await run(intents, made, intent=process(intents, "false"))
    assert receipt.delivery is plane.Delivery.RESPONDED
    assert receipt.failure is not None
    assert receipt.failure.code == "exit_3"


async def test_a_delivery_may_be_given(intents: Intents):
    receipt = await run(intents, rule({"failure": {"class": "total_timeout", "delivery": "not_sent"}}))
    assert receipt.delivery is plane.Delivery.NOT_SENT


# -- who is answered


@pytest.mark.parametrize(
    ("when", "fits"),
    [
        ({"kind": "http"}, True),
        ({"kind": "process"}, False),
        ({"kind": "http", "fields": {"method": "POST", "url": "https://api.acme.dev/*"}}, True),
        ({"kind": "http", "fields": {"method": "GET"}}, False),
        ({"kind": "http", "fields": {"timeouts.read_ms": 30_000}}, True),
        ({"kind": "http", "fields": {"timeouts.none": 1}}, False),
        ({"kind": "http", "fields": {"allowed_hosts": ["api.*:443"]}}, True),
        ({"kind": "http", "fields": {"allowed_hosts": []}}, False),
        ({"kind": "http", "fields": {"allowed_hosts": ["**"]}}, True),
        ({"kind": "http", "body": {"/title": "Bug*"}}, True),
        ({"kind": "http", "body": {"/title": "Bug*", "/n": 2}}, False),
        ({"kind": "http", "body": {"/labels/1": "b"}}, True),
        ({"kind": "http", "body": {"/labels/2": "b"}}, False),
        ({"kind": "http", "body": {"": {"labels": ["a", "**"], "ok": True}}}, True),
        ({"kind": "http", "body": {"/ok": 1}}, False),
        ({"kind": "http", "body": {"/a~1b": "c"}}, True),
    ],
)
async def test_a_matcher_fits(intents: Intents, when: Any, fits: bool):
    body = canonical({"title": "Bug 1", "n": 1, "labels": ["a", "b"], "ok": True, "a/b": "c"})
    intent = intents.http(method="POST", body=body)
    receipt = await run(intents, rule(when=when), intent=intent)
    assert (receipt.failure is None) is fits
    if not fits:
        assert receipt.failure is not None
        assert receipt.failure.failure_class is plane.FailureClass.SCENARIO_UNMATCHED
        assert receipt.delivery is plane.Delivery.NOT_SENT
        assert receipt.facts["simulated"]


async def test_a_script_is_known_by_its_input(intents: Intents):
    whose = {name: getattr(intents.http(), name) for name in plane.Intent.model_fields}
    intent = plane.ScriptIntent(**whose, source="1", input={"n": 1})
    receipt = await run(intents, {"when": {"kind": "script", "body": {"/n": 1}}, "answer": {"json": 2}}, intent=intent)
    assert receipt.body == b"2"


async def test_rules_are_used_up_in_order(intents: Intents):
    made = bench(intents, rule({"status": 500}, times=2), rule({"status": 200}))
    assert [(await made.execute(intents.http(), "made-up")).status for _ in range(4)] == [500, 500, 200, 200]


@given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
def test_a_star_stands_for_anything(pattern: str, text: str):
    def slow(pattern: str, text: str) -> bool:
        if not pattern:
            return not text
        if pattern[0] == "*":
            return any(slow(pattern[1:], text[cut:]) for cut in range(len(text) + 1))
        return bool(text) and text[0] == pattern[0] and slow(pattern[1:], text[1:])

    assert _fits_text(pattern, text) == slow(pattern, text)


# -- scenario files

YAML = """
contract: interlock.scenario/v1
name: a bad day
rules:
  - when: {kind: http, fields: {method: GET}}
    times: 1
    answer: {failure: {class: read_timeout}}
  - when: {kind: http}
    delay_ms: 20
    answer:
      status: 200
      json: {ok: true}
"""


def test_yaml_and_json_say_the_same():
    read = plane.parse_scenario(YAML)
    assert [rule.times for rule in read.rules] == [1, None]
    assert plane.parse_scenario(read.canonical).digest == read.digest


def test_all_problems_are_named():
    wrong = """
name: x
rules:
  - when: {kind: telepathy}
    answer: {}
  - when: {kind: http, fields: {methud: GET, body: x}}
    answer: {failure: {class: bad_mood}, status: "200"}
    tims: 1
  - when: {kind: http, body: {title: x}}
    answer: {text: a, json: 1}
  - when: {kind: http}
    answer: {base64: "?"}
"""
    with pytest.raises(plane.InvalidScenario) as caught:
        plane.parse_scenario(wrong, source="day.yaml")
    text = "\n".join(caught.value.problems)
    for part in (
        "telepathy",
        "'body', 'methud'",
        "failure.class",
        ".status",
        ".tims",
        "/title",
        "one of `text`",
        "not base64",
    ):
        assert part.removeprefix("/") in text, part
    assert "day.yaml" in caught.value.message
    assert len(caught.value.problems) >= 8


@pytest.mark.parametrize(
    "text", ["", "a: &x 1", "[", "{", "1", "{}", "name: x\nname: y", b"\xff", "a" * 5_000_000, "[" * 100, '{"a":' * 100]
)
def test_what_is_no_scenario_is_refused(text: str | bytes):
    with pytest.raises(plane.InvalidScenario):
        plane.parse_scenario(text)


@given(st.one_of(st.text(max_size=300), st.binary(max_size=300)))
def test_any_text_is_a_scenario_or_a_list_of_problems(text: str | bytes):
    with pytest.raises(plane.InvalidScenario) as caught:
        plane.parse_scenario(text)
    assert caught.value.problems


# -- nothing else happens

NO_EGRESS = """
import sys
import anyio
sys.path[:0] = [{tests!r}]
from fix_plane import Bench, Intents
from interlock import plane

intents = Intents()
target = plane.LocalTarget("sim", target_class="made-up", lane_id=plane.SIMULATED, clock=intents.clock)
http = {{"kind": "http"}}
failures = [{{"when": http, "times": 1, "answer": {{"failure": {{"class": each}}}}}} for each in plane.FailureClass]
answer = {{"when": http, "answer": {{"status": 200, "json": {{"ok": True}}}}}}
import json
text = json.dumps({{"contract": "interlock.scenario/v1", "name": "x", "rules": [*failures, answer]}})
bench = Bench(intents, plane.simulate(text), [target])
EFFECTS = ("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "pty.", "urllib", "ctypes")
seen = []
closing = False

async def main():
    def hook(event, arguments):
        # the loop of events has a pair of sockets of its own, which are there before and close after
        if not closing and (event.startswith(EFFECTS) or (event == "open" and "w" in str(arguments[1]))):
            seen.append(event)
            raise PermissionError(event)
    sys.addaudithook(hook)
    for _ in range(len(failures) + 1):
        receipt = await bench.execute(intents.http(), "made-up")
        assert receipt.facts["simulated"]
    global closing
    assert receipt.body == b'{{"ok":true}}', receipt
    try:
        __import__("socket").create_connection(("127.0.0.1", 9))
    except PermissionError:
        seen.remove(seen[-1])
    else:
        raise AssertionError("the hook does not work")
    closing = True

anyio.run(main)
print(seen)
"""


def test_no_egress_happens():
    """An audit hook of the interpreter itself fails on every socket, process and written file."""
    from pathlib import Path

    program = NO_EGRESS.format(tests=str(Path(__file__).parents[2]))
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (answer.stdout, answer.returncode) == ("[]\n", 0), answer.stderr
