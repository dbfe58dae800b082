"""One trace, from what comes in to the last effect of it."""

from typing import Any

import httpx2
import pytest

from fix_app import ASK_WRITES, REVIEWER, TOKEN, Process, World, asked, connector, shown
from fix_canary import canaries
from fix_dispatch import submitted, work
from fix_http_api import HOST
from fix_parrot import Answer, Parrot
from fix_spans import Spans, place
from fix_webhooks import HUB, signed
from interlock import dispatch, runs, server
from interlock.kernel import JSON, ProviderError, Secret
from interlock.triggers.webhooks import Wanted

pytestmark = pytest.mark.anyio

THEIRS = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
"""A trace of whoever sends."""
ISSUE = {"repo": "acme/rocket", "title": "Door-that-is-nobodys-business"}
EFFECT = "POST /repos/{repo}/issues"
broken: set[str] = set()


@dispatch.handler("triage")
async def triage(event: dispatch.Event, context: dispatch.Context) -> JSON:
    if "triage" in broken:
        raise dispatch.Reject("it is broken")
    return shown(await context.invoke("acme.issue.create", ISSUE, step="issue"))["number"]


@dispatch.handler("threaded")
def threaded(event: dispatch.Event, context: dispatch.BlockingContext) -> JSON:
    return shown(context.invoke("acme.issue.create", ISSUE, step="issue"))["number"]


@pytest.fixture(autouse=True)
def mended() -> None:
    broken.clear()


def front(process: Process) -> httpx2.AsyncClient:
    host, _, port = HOST.partition(":")
    made = server.open_front(process.il, origin=f"http://{HOST}", host=host, port=int(port))
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=made), base_url=f"http://{HOST}")


async def deliver(process: Process, *, said: str = THEIRS) -> None:
    made = await process.il.routes.create(
        "hub", on=[Wanted(name="issues", handler="triage")], secret=Secret("s3cret-of-the-route")
    )
    assert made.address is not None
    request = signed()
    async with front(process) as client:
        headers = {**dict(request.headers), "traceparent": said}
        answer = await client.post(made.address.reveal(), content=request.body, headers=headers)
    assert answer.status_code == 200


async def test_a_webhook_is_followed_to_its_last_effect(world: World, spans: Spans, parrot: Parrot):
    execution = {"egress_allow": (world.host, parrot.host)}
    manifests = [connector(), HUB]
    async with world.process(manifest=manifests, execution=execution) as process:
        await process.connect(world.server.url)
        await process.il.subscriptions.create(f"{parrot.url}/hooks", ["run.completed"], capabilities=["acme.issue.*"])
        await deliver(process)
    async with world.process(manifest=manifests, execution=execution) as process:  # a process later
        await work(process, triage)
        await process.parts.outgoing.feed.relay()
        for job in await process.parts.outgoing.courier.due():
            await process.parts.outgoing.courier.execute(job)
        [handled, called] = reversed(await process.il.runs.list())
    received, arrived = "POST /hooks/{token}", ["process handler:triage", "invoke acme.issue.create"]
    [effect] = spans.named(EFFECT)
    assert spans.way(effect) == [received, "send handler:triage", *arrived, "attempt", EFFECT]
    [told] = spans.named("deliver run.completed")
    assert spans.way(told) == [received, "send handler:triage", *arrived, "deliver run.completed"]
    assert told.attributes is not None
    assert told.attributes["http.response.status_code"] == 200
    trace_id = f"{place(effect).trace_id:032x}"
    assert handled.trace_id == called.trace_id == trace_id
    assert await called_of(world, manifests, trace_id) == [called.run_id, handled.run_id]
    # The sender is somebody else, who decides neither whose trace it is nor whether it is kept.
    [first] = spans.named(received)
    assert trace_id not in THEIRS
    assert [f"{each.context.trace_id:032x}" for each in first.links] == [THEIRS.split("-")[1]]


async def called_of(world: World, manifests: Any, trace_id: str) -> list[str]:
    async with world.process(manifest=manifests) as process:
        return [run.run_id for run in await process.il.runs.list(trace_id=trace_id)]


async def test_retries_and_replays_go_on_in_the_trace(file_world: World, spans: Spans):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        broken.add("triage")
        run_id = await submitted(process, "triage")
        await work(process, triage)
        broken.clear()
        await process.il.dispatch.replay(run_id, note="mended")
        await work(process, triage)
    first, second = spans.named("process handler:triage")
    assert spans.way(first) == spans.way(second) == ["send handler:triage", "process handler:triage"]
    assert first.attributes is not None
    assert second.attributes is not None
    assert (first.attributes["error.type"], second.attributes.get("error.type")) == ("event_rejected", None)
    assert second.attributes["interlock.attempt.number"] == 2
    assert spans.way(spans.named(EFFECT)[0])[:2] == ["send handler:triage", "process handler:triage"]


async def test_a_handler_on_a_thread_is_part_of_it(file_world: World, spans: Spans):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        await submitted(process, "threaded")
        await work(process, threaded)
    assert spans.way(spans.named(EFFECT)[0])[:2] == ["send handler:threaded", "process handler:threaded"]


async def test_a_call_that_is_left_for_later_and_one_that_was_held(file_world: World, spans: Spans):
    file_world.law = ASK_WRITES
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        held = await process.create()
        await process.reviewer.approvals.approve(asked(held))
        await process.il.approvals.execute(asked(held))
        later = await process.il.dispatch.invoke("acme.issue.create", ISSUE)
        await process.reviewer.approvals.approve(asked(later))
        await process.il.approvals.execute(asked(later))
        await work(process)
        assert await process.states() == ["completed", "completed"]
    here, elsewhere = spans.named(EFFECT)
    assert spans.way(here) == ["invoke acme.issue.create", "execute acme.issue.create", "attempt", EFFECT]
    assert spans.way(elsewhere) == ["enqueue acme.issue.create", "process capability", "attempt", EFFECT]


async def test_what_a_dead_process_left_is_recovered_in_its_trace(file_world: World, spans: Spans):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)

    async def create(process: Process) -> runs.Outcome:
        return await process.create()

    await file_world.killed("hold", create)
    async with file_world.process() as process:
        await process.parts.recovery.recover()
        assert await process.states() == ["completed"]
    [recovered] = spans.named("recover")
    assert spans.way(recovered) == ["invoke acme.issue.create", "recover"]


async def test_requests_go_on_in_the_trace_of_who_shows_a_token(file_world: World, spans: Spans):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        _, secret = await process.il.tokens.create("ann", actor="ann", roles=["caller"])
        async with front(process) as client:
            asked = {"capability": "acme.issue.create", "input": ISSUE}
            for token in (secret.reveal(), "ilk_nobody"):
                headers = {"Authorization": f"Bearer {token}", "traceparent": THEIRS}
                await client.post("/v1/invoke", json=asked, headers=headers)
    [request] = [each for each in spans.all if each.name.startswith("POST /v1")]
    assert request.parent is not None
    assert request.parent.span_id == int(THEIRS.split("-")[2], 16)
    assert request.attributes is not None
    assert request.attributes["http.response.status_code"] == 200
    assert f"{place(spans.named(EFFECT)[0]).trace_id:032x}" in THEIRS


async def test_no_secret_and_no_payload_is_in_a_span(file_world: World, spans: Spans):
    async with file_world.process(manifest=[connector(), HUB]) as process:
        await process.connect(file_world.server.url)
        await deliver(process)
        await work(process, triage)
        file_world.server.fault("status:422", match="issues/create", apply=False)
        with pytest.raises(ProviderError):
            await process.il.invoke("acme.issue.create", ISSUE, idempotency_key="key-that-is-nobodys-business")
        [route] = await process.il.routes.list()
        hidden = [each.decode("latin-1") for each in canaries([TOKEN, "s3cret-of-the-route"])]
    text = "\n".join(each.to_json() for each in spans.all)
    assert route.route_id
    assert "invoke acme.issue.create" in text
    assert [each for each in (*hidden, "nobodys-business", "octo/hello", "/hooks/A") if each in text] == []
    assert not [each for span in spans.all for each in span.events]
    [failed] = [each for each in spans.named(EFFECT) if not each.status.is_ok and each.status.description is None]
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "422"


async def test_where_nobody_watches_nothing_is_kept(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        outcome = await process.create()
        run = await process.il.runs.fetch(outcome.run_id)
        assert (run.traceparent, run.trace_id) == (None, run.run_id)
        assert REVIEWER.tenant_id == run.tenant_id


async def test_a_service_is_told_of_the_trace_only_where_the_settings_say_so(
    file_world: World, spans: Spans, parrot: Parrot
):
    parrot.say = lambda heard: Answer(b'{"login": "octo-agent"}')
    for trace_to in ((), (parrot.host,)):
        execution = {"egress_allow": (parrot.host,), "trace_to": trace_to}
        async with file_world.process(execution=execution) as process:
            if not trace_to:
                await process.connect(parrot.url)
            parrot.heard.clear()
            outcome = await process.il.invoke("acme.account.fetch")
            [heard] = parrot.heard
            if not trace_to:
                assert "traceparent" not in heard.headers
            else:
                last = spans.named("invoke acme.account.fetch")[-1]
                assert heard.headers["traceparent"].split("-")[1] == f"{place(last).trace_id:032x}"
                [send] = (await process.il.runs.history(outcome.run_id)).sends
                assert heard.headers["traceparent"] in send.intent_json


async def test_schedules_and_polls_begin_traces(file_world: World, spans: Spans):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        await process.il.schedules.create("often", every=60, handler="triage")
        await process.il.schedules.create("call", every=60, capability="acme.issue.create", input=ISSUE)
        file_world.advance(61)
        await process.parts.timed.keeper.start_due()
        await work(process, triage)
    ways = sorted(" / ".join(spans.way(each)[:3]) for each in spans.named(EFFECT))
    assert ways == [
        "schedule capability / enqueue acme.issue.create / process capability",
        "schedule handler / send handler:triage / process handler:triage",
    ]
