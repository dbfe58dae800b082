"""The facade over the network tells and does what the facade here does."""

import json
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import httpx2
import pytest

from fix_app import ASK_WRITES, TOKEN, World
from fix_http_api import HOST, Line, lined
from fix_webhooks import BODY, HUB, SECRET, signed
from interlock import approvals, catalog, client, connections, dispatch, kernel, runs, subscriptions, tokens, triggers
from interlock.app import Interlock
from interlock.kernel import Secret
from interlock.triggers import webhooks

pytestmark = pytest.mark.anyio

HERE = f"http://{HOST}"
TITLE = {"repo": "acme/rocket", "title": "Door"}


@asynccontextmanager
async def remote(line: Line, actor: str, *roles: str) -> AsyncGenerator[tuple[Interlock, client.Remote]]:
    """Both faces for one token: the one here, and the one over the network."""
    token, secret = await line.process.il.tokens.create(actor, actor=actor, roles=roles)
    async with client.open_remote(HERE, secret, transport=httpx2.ASGITransport(app=line.api)) as there:
        yield line.process.il.as_caller(token.caller), there


async def same(here: Awaitable[Any], there: Awaitable[Any]) -> Any:
    """What both say."""
    first, second = await here, await there
    if isinstance(first, Sequence) and not isinstance(first, bytes):
        first, second = [*cast("Sequence[Any]", first)], [*second]
    assert first == second
    return cast("Any", first)


async def test_runs(line: Line):
    async with remote(line, "ann", "operator") as (here, there):
        made = await there.invoke("acme.issue.create", TITLE, idempotency_key="k", trace_id="t", timeout=30)
        assert await there.invoke("acme.issue.create", TITLE, idempotency_key="k") == replace(made, replayed=True)
        run = await same(here.runs.fetch(made.run_id), there.runs.fetch(made.run_id))
        assert run.idempotency_key == "k"
        await same(here.runs.list(trace_id="t", limit=5), there.runs.list(trace_id="t", limit=5))
        await same(here.runs.list(states=[runs.State.HELD]), there.runs.list(states=[runs.State.HELD]))
        await same(here.runs.list(since=run.created_at), there.runs.list(since=run.created_at))
        await same(here.runs.events(made.run_id, after_seq=2), there.runs.events(made.run_id, after_seq=2))
        await same(here.runs.outcome(made.run_id), there.runs.outcome(made.run_id))
        assert kernel.document(await here.runs.history(made.run_id)) == kernel.document(
            await there.runs.history(made.run_id)
        )
        [artifact, *_] = (await there.runs.history(made.run_id)).artifacts
        found, content = await there.runs.artifact(artifact.artifact_id)
        assert (found, content) == (artifact, (await here.runs.artifact(artifact.artifact_id))[1])
        trust = runs.Trust.parse(await same(here.trust(), there.trust()))
        assert runs.verify.verify(await there.runs.packet(made.run_id), trust=trust).ok
        proxied = await there.proxy("acme", "GET", "/user", params={"a": 1}, headers={"accept": "text/x"})
        assert (proxied.capability, proxied.state) == ("acme.proxy.get", runs.State.HELD)


async def test_approvals(file_world: World):
    async with lined(file_world, law=ASK_WRITES) as line, remote(line, "ann", "caller") as (_, asker):
        held = await asker.invoke("acme.issue.create", TITLE)
        again = await asker.invoke("acme.issue.create", {**TITLE, "title": "Window"})
        assert held.approval_id is not None
        assert again.approval_id is not None
        async with remote(line, "ada", "approver", "caller") as (here, there):
            await same(here.approvals.list(), there.approvals.list())
            await there.approvals.approve(held.approval_id, edited_input={**TITLE, "title": "Gate"})
            done = await there.approvals.execute(held.approval_id)
            assert isinstance(done.output, dict)
            assert done.output["title"] == "Gate"
            assert (await there.approvals.deny(again.approval_id, reason="no")).state is approvals.State.DENIED
            await same(here.approvals.fetch(held.approval_id), there.approvals.fetch(held.approval_id))
        waiting = await asker.invoke("acme.issue.create", {**TITLE, "title": "Roof"})
        assert (await asker.runs.cancel(waiting.run_id, reason="enough")).state is runs.State.CANCELLED


async def test_connections(line: Line, file_world: World):
    async with remote(line, "ops", "operator") as (here, there):
        url = file_world.server.url
        made = await there.connections.connect_token("acme", TOKEN, name="second", base_url=url, scopes=["repo"])
        assert await there.connections.connect_token("acme", {"token": Secret(TOKEN)}, name="third", base_url=url)
        await same(here.connections.fetch("second"), there.connections.fetch(made.connection_id))
        await same(here.connections.list(connector="acme"), there.connections.list(connector="acme"))
        assert (await there.connections.check("second")).verdict is connections.Verdict.ACCEPTED
        assert len(await there.connections.check_all()) == 3
        await there.connections.refresh("second")
        await same(here.connections.events("second"), there.connections.events("second"))
        lease = await here.connections.leases.request("second")
        await same(here.connections.leases.list("second"), there.connections.leases.list("second"))
        assert (await there.connections.leases.revoke(lease.lease_id)).revoked_at is not None
        assert (await there.connections.revoke("second", reason="spare")).state is connections.State.REVOKED


async def test_dispatch(line: Line):
    async with remote(line, "ops", "operator") as (here, there):
        later = line.process.parts.wiring.clock.now() + timedelta(hours=1)
        retry = dispatch.RetryPolicy(max_attempts=3)
        made = await there.dispatch.invoke("acme.issue.create", TITLE, due_at=later, retry=retry, idempotency_key="k")
        assert made.state is runs.State.QUEUED
        told = await there.dispatch.submit("incident", {"a": 1}, priority=dispatch.Priority.HIGH, deadline_at=later)
        for run_id in (made.run_id, told.run_id):
            first, second = await here.dispatch.fetch(run_id), await there.dispatch.fetch(run_id)
            assert first.to_json() == second.to_json()
        queries: list[dict[str, Any]] = [{}, {"handler": "incident"}, {"capability": "acme.issue.create", "limit": 1}]
        for query in queries:
            listed = [each.to_json() for each in await here.dispatch.list(**query)]
            assert listed == [each.to_json() for each in await there.dispatch.list(**query)]
            assert listed
        await same(here.dispatch.stats(), there.dispatch.stats())
        paused = await there.dispatch.pause("handler", "incident", reason="drill")
        await same(here.dispatch.pauses(), there.dispatch.pauses())
        assert (paused.reason, await there.dispatch.resume("handler", "incident")) == ("drill", 0)
        assert (await there.dispatch.wait(made.run_id, timeout=0)).state is runs.State.QUEUED
        for work in (there.dispatch.replay(made.run_id), there.dispatch.dismiss(made.run_id, reason="x")):
            with pytest.raises(dispatch.NoDeadLetter):
                await work
        assert await there.dispatch.replay_all(handler="incident") == []
        assert await there.dispatch.dismiss_all(capability="acme.issue.create", reason="x") == []
        done = await there.invoke("acme.issue.create", TITLE)
        compared = [await each.dispatch.compare(done.run_id) for each in (here, there)]
        assert kernel.document(compared[0]) == kernel.document(compared[1])
        assert (await there.paging("acme")).style == "link"
        assert (await there.runs.cancel(made.run_id)).state is runs.State.CANCELLED


async def alike(here: Awaitable[Any], there: Awaitable[Any]) -> Any:
    """The document of what both say: what lies sealed is told nobody."""
    first, second = [kernel.document(await each) for each in (here, there)]
    assert first == second
    return cast("Any", first)


async def test_webhooks(file_world: World):
    connectors = [file_world.manifest, HUB]
    async with lined(file_world, manifest=connectors) as line, remote(line, "ops", "operator") as (here, there):
        wanted = webhooks.Wanted(name="issues", handler="triage", config={"actions": ["opened"]}, priority=2)
        made = await there.routes.create("hub", on=[wanted], secret=Secret(SECRET), connection=None, dedupe_seconds=60)
        assert made.secret is None
        assert made.address is not None
        route_id, token = made.route.route_id, made.address.reveal().rpartition("/")[2]
        known = await alike(here.routes.fetch(route_id), there.routes.fetch(route_id))
        assert known == made.route.record()
        await alike(here.routes.list(connector="hub"), there.routes.list(connector="hub", limit=5))
        assert await there.routes.list(connector="acme") == []
        [trigger] = await same(here.triggers.list(), there.triggers.list(route_id=route_id))
        now = line.process.parts.wiring.clock.now()
        config: dict[str, kernel.JSON] = {"repo": "acme/rocket"}
        poll = await here.polls.create("p", "github.issue_updated", handler="triage", config=config, since=now)
        assert [each.trigger_id for each in await there.triggers.list()] == [trigger.trigger_id, poll.trigger_id]
        assert [each.delivery for each in await there.triggers.list(cursor=trigger.trigger_id, limit=1)] == ["poll"]
        assert [*await there.triggers.list(limit=1)] == [trigger] == [*await there.triggers.list(route_id=route_id)]
        assert (trigger.priority, trigger.config) == (2, {"actions": ["opened"]})
        assert not (await there.triggers.disable(trigger.trigger_id)).enabled
        assert (await there.triggers.enable(trigger.trigger_id)).enabled
        await same(here.triggers.fetch(trigger.trigger_id), there.triggers.fetch(trigger.trigger_id))
        tried = await same(
            *(each.triggers.test(trigger.trigger_id, b"{}", headers={"X-Hub-Event": "push"}) for each in (here, there))
        )
        assert not tried["fits"]
        await line.process.il.intake.take(token, signed())
        await line.process.il.intake.take(token, signed(secret="wrong-secret"))
        refused, [accepted] = (
            webhooks.DeliveryState.REJECTED,
            await there.deliveries.list(states=[webhooks.DeliveryState.ACCEPTED]),
        )
        assert [each.state for each in await there.deliveries.list(limit=1)] == [refused]
        whole = await same(here.deliveries.fetch(accepted.delivery_id), there.deliveries.fetch(accepted.delivery_id))
        assert json.loads(whole.body) == BODY
        replayed = kernel.document(await there.deliveries.replay(accepted.delivery_id))
        assert len(cast("Any", replayed)["replays"]) == 1
        rotated = await there.routes.rotate(route_id, overlap=60)
        assert rotated.address is None
        assert rotated.secret is not None
        taken = await line.process.il.intake.take(token, signed({"n": 1}, secret=rotated.secret.reveal()))
        assert taken.came is webhooks.Came.ACCEPTED
        assert (await there.routes.disable(route_id)).state is webhooks.RouteState.DISABLED
        assert (await there.routes.enable(route_id)).state is webhooks.RouteState.ACTIVE
        assert (await there.routes.revoke(route_id)).sealed is None
        with pytest.raises(webhooks.InvalidRoute):
            await there.routes.rotate(route_id)


async def test_schedules(line: Line):
    async with remote(line, "ops", "operator") as (here, there):
        now = line.process.parts.wiring.clock.now()
        made = await there.schedules.create("daily", cron="@daily", zone="Europe/Berlin", handler="report", cap=3)
        await there.schedules.create("often", every=90, start=now, capability="acme.issue.list", input=TITLE)
        await there.schedules.create("once", at=now + timedelta(hours=1), handler="report", priority="high")
        for name in ("daily", "often", "once"):
            await same(here.schedules.fetch(name), there.schedules.fetch(name))
        await same(here.schedules.list(), there.schedules.list())
        assert [each.name for each in await there.schedules.list(cursor="daily", limit=1)] == ["often"]
        await same(here.schedules.preview("daily", limit=3), there.schedules.preview(made.schedule_id, limit=3))
        assert (await there.schedules.pause("daily")).next_at is None
        assert (await there.schedules.resume("daily")).next_at == made.next_at
        assert (await there.schedules.delete("once")).name == "once"
        with pytest.raises(triggers.schedules.ScheduleNotFound, match="did you mean 'daily'"):
            await there.schedules.fetch("dayly")
        with pytest.raises(triggers.schedules.InvalidSchedule):
            await there.schedules.create("x", cron="@daily", every=1, handler="report")


async def test_polls(line: Line):
    async with remote(line, "ops", "operator") as (here, there):
        now = line.process.parts.wiring.clock.now()
        config: dict[str, kernel.JSON] = {"repo": "acme/rocket"}
        made = await there.polls.create(
            "issues", "github.issue_updated", handler="incident", config=config, every=600.5, since=now
        )
        assert made.interval == timedelta(seconds=600.5)
        await same(here.polls.fetch("issues"), there.polls.fetch(made.trigger_id))
        await same(here.polls.list(), there.polls.list(limit=5))
        [trigger] = await same(here.triggers.list(), there.triggers.list())
        assert (trigger.trigger_id, trigger.delivery, trigger.enabled) == (made.trigger_id, "poll", True)
        assert not (await there.triggers.disable(made.trigger_id)).enabled
        assert (await there.polls.fetch("issues")).state is triggers.polling.State.PAUSED
        assert (await there.triggers.enable(made.trigger_id)).enabled
        assert not (await there.triggers.test(made.trigger_id, b"{}"))["fits"]
        with pytest.raises(webhooks.TriggerNotFound):
            await there.triggers.fetch("issues")
        assert (await there.polls.pause("issues")).state is triggers.polling.State.PAUSED
        assert (await there.polls.resume("issues")).state is triggers.polling.State.ACTIVE
        with pytest.raises(triggers.polling.PollExists):
            await there.polls.create("issues", "github.issue_updated", handler="incident", config=config, since=now)
        await there.polls.delete("issues")
        with pytest.raises(triggers.polling.PollNotFound):
            await there.polls.fetch("issues")


async def test_subscriptions(line: Line):
    async with remote(line, "ops", "operator") as (here, there):
        url = "https://hooks.example.com/interlock"
        made = await there.subscriptions.create(url, ["run.*"], capabilities=["acme.*"], connections=["acme"])
        subscription_id = made.subscription.subscription_id
        assert made.secret is not None
        assert made.secret.reveal().startswith("whsec_")
        public = await there.subscriptions.create(url, ["*"], signature="v1a")
        assert (public.secret, len(public.subscription.public_keys)) == (None, 1)
        await alike(here.subscriptions.fetch(subscription_id), there.subscriptions.fetch(subscription_id))
        await alike(here.subscriptions.list(), there.subscriptions.list())
        paused = await there.subscriptions.pause(subscription_id, reason="moving")
        assert (paused.state, paused.reason) == (subscriptions.State.PAUSED, "moving")
        assert (await there.subscriptions.resume(subscription_id)).state is subscriptions.State.ACTIVE
        rotated = await there.subscriptions.rotate(subscription_id, overlap=60)
        assert rotated.secret is not None
        assert rotated.secret != made.secret
        done = await there.invoke("acme.issue.create", TITLE)
        assert done.state is runs.State.COMPLETED
        await line.process.parts.outgoing.feed.relay()
        messages = await alike(
            here.subscriptions.deliveries(subscription_id), there.subscriptions.deliveries(subscription_id)
        )
        assert {each["type"] for each in messages} == {"run.accepted", "run.completed"}
        again = await there.subscriptions.redeliver(messages[0]["message_id"])
        assert (again.type, again.tries) == (messages[0]["type"], 0)
        assert await there.subscriptions.deliveries(subscription_id, state=subscriptions.MessageState.FAILED) == []
        with pytest.raises(subscriptions.MessageNotFound):
            await there.subscriptions.redeliver("msg_1")
        await there.subscriptions.delete(subscription_id)
        with pytest.raises(subscriptions.SubscriptionNotFound):
            await there.subscriptions.test(subscription_id)


async def test_tokens(line: Line):
    async with remote(line, "ops", "token-admin") as (here, there):
        made, shown = await there.tokens.create("ci", actor="ci", roles=["caller"], connections=["acme"])
        async with client.open_remote(HERE, shown, transport=httpx2.ASGITransport(app=line.api)) as ci:
            assert (await ci.invoke("acme.issue.create", TITLE)).state is runs.State.COMPLETED
            with pytest.raises(kernel.InterlockError) as closed:
                await ci.tokens.list()
            assert closed.value.to_json()["code"] == "forbidden"
            assert made in await same(here.tokens.list(), there.tokens.list())
            assert (await there.tokens.revoke(made.token_id)).revoked_at is not None
            with pytest.raises(tokens.TokenRefused):
                await ci.runs.list()
        for roles, limits in ((["token-admin"], None), (["token-admin", "operator"], ["acme.*"])):
            with pytest.raises(tokens.InvalidToken):
                await there.tokens.create("x", actor="x", roles=roles, capabilities=limits)
        with pytest.raises(tokens.InvalidToken):
            await line.process.il.tokens.create("x", actor="x", roles=["token-admin"], capabilities=["acme.*"])
    async with remote(line, "bob", "operator", "caller") as (_, operator):
        with pytest.raises(kernel.InterlockError) as refused:
            await operator.tokens.create("x", actor="x")
        assert refused.value.to_json()["code"] == "forbidden"


async def test_the_catalogue(line: Line):
    async with remote(line, "ann") as (here, there):
        capability = await there.catalog.fetch_for("any", "acme.issue.create")
        known = await here.catalog.fetch_for("default", "acme.issue.create")
        assert capability.to_json() == known.to_json()
        assert (await there.catalog.fetch_for("any", "acme.proxy.get")).is_proxy
        assert await there.catalog.fetch_connector_for("any", "acme") == known.manifest
        assert [each["connector_id"] for each in await there.catalog.list_connectors()] == ["acme", "github"]
        found = await there.catalog.list_capabilities(
            search="comment", connector="acme", effect=None, cursor=None, limit=1
        )
        assert found["capabilities"][0]["capability_id"] == "acme.comment.create"
        await same(here.providers.list(), there.providers.list())


async def test_errors_are_of_their_class(line: Line):
    async with remote(line, "ann", "caller") as (_, there):
        with pytest.raises(catalog.UnknownCapability) as unknown:
            await there.invoke("acme.isue.create")
        assert "acme.issue.create" in unknown.value.message
        with pytest.raises(catalog.InvalidInput):
            await there.invoke("acme.issue.create", {})
        with pytest.raises(runs.RunNotFound):
            await there.runs.fetch("run_' OR 1 --?#")
        with pytest.raises(connections.ConnectionNotFound):
            await there.connections.fetch("no/such/../one?")
        with pytest.raises(kernel.ProviderError) as failed:
            await there.invoke("acme.issue.create", {**TITLE, "repo": "acme/nowhere"})
        assert failed.value.run_id is not None
        with pytest.raises(kernel.RequestError) as refused:
            await there.providers.fetch("nobody")
        assert refused.value.code == "unknown_provider"
    async with remote(line, "bob") as (_, reader):
        with pytest.raises(kernel.InterlockError) as closed:
            await reader.invoke("acme.issue.create", TITLE)
        assert closed.value.to_json()["code"] == "forbidden"


async def test_an_error_of_a_later_version_keeps_what_it_said():
    told = {"code": "of_later", "message": "m", "retry": "later", "fault": "operator", "next_step": "n", "run_id": "run_1",
            "details": {"retry_after": 3, "a": 1}}  # fmt: skip
    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(418, json=told, headers={"Content-Type": "application/problem+json"})
    )
    async with client.open_remote(HERE, Secret("t"), transport=transport) as there:
        with pytest.raises(client.RemoteError) as raised:
            await there.runs.fetch("run_1")
    assert raised.value.to_json() == told


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(200, content=b"<html>"),
        httpx2.Response(200, json={"runs": 3}),
        httpx2.Response(200, json={"runs": [{}]}),
        httpx2.Response(302, headers={"Location": "http://evil.example/"}),
        httpx2.Response(502, content=b"bad gateway"),
        httpx2.Response(400, json=[], headers={"Content-Type": "application/problem+json"}),
    ],
    ids=range(6),
)
async def test_what_is_no_answer_of_ours(answer: httpx2.Response):
    asked: list[str] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        asked.append(str(request.url))
        return answer

    async with client.open_remote(HERE, Secret("t"), transport=httpx2.MockTransport(handle)) as there:
        with pytest.raises(kernel.InterlockError) as raised:
            await there.runs.list()
    assert isinstance(raised.value, client.NotInterlock | client.RemoteError)
    assert asked == [f"{HERE}/v1/runs?limit=50"]


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (httpx2.ConnectError("refused"), client.ServerUnreachable),
        (httpx2.ReadError("reset"), client.AnswerLost),
        (httpx2.ReadTimeout("slow"), client.AnswerLost),
        (httpx2.RemoteProtocolError("cut"), client.AnswerLost),
    ],
)
async def test_a_request_that_left_is_unknown_and_sent_once(failure: Exception, told: type[Exception]):
    asked: list[str] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.method)
        raise failure

    async with client.open_remote(HERE, Secret("t"), transport=httpx2.MockTransport(handle)) as there:
        with pytest.raises(told):
            await there.invoke("acme.issue.create", TITLE)
        with pytest.raises(client.ServerUnreachable):
            await there.runs.list()
    assert asked == ["POST", "GET"]


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_what_stands_between_may_have_handed_the_request_on(status: int):
    transport = httpx2.MockTransport(lambda _: httpx2.Response(status, content=b"<h1>no answer from upstream</h1>"))
    async with client.open_remote(HERE, Secret("t"), transport=transport) as there:
        with pytest.raises(client.AnswerLost):
            await there.invoke("acme.issue.create", TITLE)
        with pytest.raises(client.NotInterlock):
            await there.runs.list()


@pytest.mark.parametrize("state", [runs.State.HELD, runs.State.WAITING, runs.State.QUEUED])
async def test_whatever_has_not_ended_is_waited_for_as_long_as_here(state: runs.State):
    """Held is no end, nor is unknown: recovery may settle it."""
    asked: list[float] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        asked.append(float(request.url.params["timeout"]))
        if state is runs.State.WAITING:
            told = kernel.UnknownOutcome("nobody knows", run_id="run_1").to_json()
            return httpx2.Response(409, json=told, headers={"Content-Type": "application/problem+json"})
        outcome = runs.Outcome(run_id="run_1", state=state, capability="acme.issue.create", output=None)
        return httpx2.Response(202, json=kernel.document(outcome))

    async with client.open_remote(HERE, Secret("t"), transport=httpx2.MockTransport(handle)) as there:
        if state is runs.State.WAITING:
            with pytest.raises(kernel.UnknownOutcome):
                await there.dispatch.wait("run_1", timeout=50)
        else:
            assert (await there.dispatch.wait("run_1", timeout=50)).state is state
    assert asked == [20, 20, 10]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://x",
        "http://",
        "http://example.com",
        "https://a:b@example.com",
        "https://x?y",
        "http://127.0.0.1.evil.example",
    ],
)
async def test_the_token_goes_nowhere_in_the_clear(url: str):
    with pytest.raises(kernel.ConfigurationError):
        async with client.open_remote(url, Secret("t")):
            pass
