"""What becomes of deliveries, on every store: each that is proven is admitted once, and nothing else is."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from fix_ledger import dead_letter
from fix_store import outcomes
from fix_webhooks import ANN, BOB, BODY, HUB, ISSUES, MANIFESTS, SECRET, Post, signed
from interlock import runs, sdk, testing
from interlock.adapters import sql
from interlock.adapters.sql import tables
from interlock.kernel import RequestError, Secret, Tx
from interlock.triggers import webhooks
from interlock.triggers.webhooks import Came, DeliveryState, RouteState, evidence
from interlock.triggers.webhooks.intake import REFUSAL_SECONDS
from vectors import VECTORS

pytestmark = pytest.mark.anyio

PUSH = webhooks.Wanted(name="push", handler="deploy")


async def test_a_delivery_becomes_work(post: Post):
    made = await post.make()
    outcome = await post.send(made)
    assert outcome.came is Came.ACCEPTED
    (event,) = post.admitted
    assert (event.trigger, event.handler) == ("hub.issues", "triage")
    signal = event.payload["signal"]
    assert signal == {
        "type": "hub.issues",
        "source": f"interlock://route/{made.route.route_id}",
        "id": "d-1",
        "at": "2026-01-01T00:00:00.000000Z",
        "data": BODY,
    }
    (kept,) = await post.kept()
    assert (kept.delivery_id, kept.state, kept.external_id) == (outcome.delivery_id, DeliveryState.ACCEPTED, "d-1")
    assert (await post.deliveries.fetch(ANN, kept.delivery_id)).body == signed().body


async def test_what_comes_again_is_known_and_kept_as_evidence(post: Post):
    made = await post.make(dedupe_seconds=3600)
    first = await post.send(made)
    again = await post.send(made, signed(delivery="d-2"))  # the id is not under this signature
    assert (again.came, again.delivery_id) == (Came.DUPLICATE, first.delivery_id)
    assert len(post.admitted) == 1
    (kept,) = await post.kept(DeliveryState.DUPLICATE)
    assert (kept.external_id, kept.facts) == ("d-2", {"duplicate_of": first.delivery_id})
    post.later(hours=1)
    assert (await post.send(made)).came is Came.ACCEPTED
    assert len(post.admitted) == 2


async def test_of_many_at_once_one_is_new(post: Post):
    made = await post.make()
    others = [replace_process(post) for _ in range(3)]
    came = await outcomes(each.send(made) for each in [post, *others] * 3)
    assert sorted(each.came for each in came if isinstance(each, webhooks.Outcome)) == ["accepted"] + ["duplicate"] * 11
    assert len(await post.kept(DeliveryState.ACCEPTED)) == 1


async def test_a_key_is_claimed_once_and_by_no_delivery_whose_route_changed(post: Post):
    route, now = (await post.make()).route, post.clock.now()
    soon = now + timedelta(minutes=1)

    def claim(key: str, name: str, *, revision: int = route.revision) -> webhooks.Claim:
        return webhooks.Claim(
            tenant_id="t1",
            route_id=route.route_id,
            key=key,
            delivery_id=name,
            expires_at=soon,
            way={route.route_id: revision},
        )

    async def claimed(*claims: webhooks.Claim, at: datetime = now) -> Sequence[str | None]:
        return await post.store.write(lambda tx: post.records.claim(tx, claims, now=at))

    old = route.revision - 1
    assert await claimed(claim("b", "dlv_1"), claim("a", "dlv_2"), claim("b", "dlv_3")) == ["dlv_1", "dlv_2", "dlv_1"]
    assert await claimed(claim("b", "dlv_4", revision=old), claim("c", "dlv_5", revision=old)) == [None, None]
    assert await claimed(claim("c", "dlv_6"), claim("a", "dlv_7")) == ["dlv_6", "dlv_2"]
    assert await claimed(claim("a", "dlv_8"), at=soon) == ["dlv_8"]
    moved, anew = await claimed(claim("b", "dlv_11", revision=old), claim("b", "dlv_12"), at=soon)
    assert (moved, anew) in ((None, "dlv_12"), (None, None)), "a key that is over is nobody's"
    closed = await post.routes.set_state(ANN, route.route_id, RouteState.DISABLED)
    assert await claimed(claim("d", "dlv_9"), claim("e", "dlv_10", revision=closed.revision)) == [None, None]


async def test_a_forged_delivery_does_not_shadow_the_one_whose_id_it_takes(post: Post):
    other = Post(post.store, testing.ManualClock(SLACK.at))
    forged = replace(SLACK.request(), body=SLACK.body.replace(b"event_callback", b"event_forged__"))
    made = await other.make(webhooks.Wanted(name="message", handler="answer"), connector="chat", secret=SLACK.secret)
    assert (await other.send(made, forged)).came is Came.REFUSED
    (kept,) = await other.kept(DeliveryState.REJECTED)
    assert (kept.external_id, kept.reason, kept.body) == ("Ev1", "bad_signature", None)
    assert (await other.send(made, SLACK.request())).came is Came.ACCEPTED


SLACK = next(each for each in VECTORS if each.delivery_id == "Ev1")


async def test_nothing_tells_a_stranger_what_is_there(post: Post):
    made, closed = await post.make(), await post.make()
    await post.routes.set_state(ANN, closed.route.route_id, RouteState.DISABLED)
    nobody = webhooks.Made(made.route, Secret("A" * 22), None)
    for route, request in ((made, signed(secret="wrong-secret")), (closed, signed()), (nobody, signed())):
        for _ in range(2):
            before = post.clock.monotonic()
            assert await post.send(route, request) == webhooks.Outcome(came=Came.REFUSED)
            assert post.clock.monotonic() - before == pytest.approx(REFUSAL_SECONDS)
    assert post.admitted == []


async def test_what_cannot_be_admitted_leaves_nothing_behind(post: Post):
    made = await post.make()
    post.fail = sql.StoreFull("no room")
    with pytest.raises(sql.StoreFull):
        await post.send(made)
    assert await post.kept() == []
    post.fail = None
    assert (await post.send(made)).came is Came.ACCEPTED


async def test_the_tenant_is_the_routes(post: Post):
    made = await post.make()
    await post.send(made, signed({**BODY, "tenant_id": "t2"}))
    assert await post.kept(caller=BOB) == []
    (kept,) = await post.kept()
    for ask in (
        post.routes.fetch(BOB, made.route.route_id),
        post.routes.rotate(BOB, made.route.route_id),
        post.routes.set_state(BOB, made.route.route_id, RouteState.REVOKED),
    ):
        with pytest.raises(webhooks.RouteNotFound):
            await ask
    (trigger,) = await post.routes.list_triggers(ANN)
    assert await post.routes.list_triggers(BOB) == []
    with pytest.raises(webhooks.TriggerNotFound):
        await post.routes.enable(BOB, trigger.trigger_id, enabled=False)
    with pytest.raises(webhooks.DeliveryNotFound):
        await post.deliveries.replay(BOB, kept.delivery_id)


async def test_several_triggers_each_take_what_is_theirs(post: Post):
    only_closed = webhooks.Wanted(name="issues", handler="archive", config={"actions": ["closed"]})
    elsewhere = webhooks.Wanted(name="issues", handler="other", config={"repo": "octo/other"})
    made = await post.make(ISSUES, only_closed, elsewhere, PUSH)
    await post.send(made)
    await post.send(made, signed({**BODY, "action": "closed"}))
    await post.send(made, signed({"ref": "refs/heads/main", "more": 1}, event="push"))
    await post.send(made, signed({"zen": "x"}, event="ping"))
    assert [each.handler for each in post.admitted] == ["triage", "triage", "archive", "deploy"]
    assert data_of(post.admitted[-1]) == {"ref": "refs/heads/main"}
    assert len(await post.kept(DeliveryState.ACCEPTED)) == 4


async def test_a_trigger_is_switched_off_and_on(post: Post):
    made = await post.make()
    (trigger,) = await post.routes.list_triggers(ANN, route_id=made.route.route_id)
    other = replace_process(post)
    for number, enabled in enumerate((True, False, True)):
        await post.routes.enable(ANN, trigger.trigger_id, enabled=enabled)
        assert (await other.send(made, signed({**BODY, "n": number}))).came is Came.ACCEPTED
        assert len(other.admitted) == (1, 1, 2)[number]


async def test_a_triggers_work_is_tried_as_often_as_its_connector_or_its_maker_says(post: Post):
    once = webhooks.Wanted(name="push", handler="once", retry=sdk.Retries(max_attempts=1))
    made = await post.make(ISSUES, PUSH, once)
    await post.send(made)
    await post.send(made, signed({"ref": "refs/heads/main"}, event="push"))
    declared = sdk.Retries(max_attempts=2, deadline_seconds=3600)
    assert [each.retry for each in post.admitted] == [sdk.Retries(), declared, sdk.Retries(max_attempts=1)]
    (trigger, *_) = await post.routes.list_triggers(ANN)
    thrice = sdk.Retries(max_attempts=3)
    changed = await post.routes.enable(ANN, trigger.trigger_id, enabled=True, retry=thrice)
    assert changed.retry == thrice == (await post.routes.fetch_trigger(ANN, trigger.trigger_id)).retry
    assert (await post.routes.enable(ANN, trigger.trigger_id, enabled=False)).retry == thrice
    wrong = sdk.Retries(base_seconds=9, cap_seconds=1)
    with pytest.raises(RequestError, match="cap_seconds"):
        await post.routes.enable(ANN, trigger.trigger_id, enabled=True, retry=wrong)
    with pytest.raises(webhooks.InvalidRoute, match="cap_seconds"):
        await post.make(webhooks.Wanted(name="push", handler="h", retry=wrong))


async def test_what_starts_nothing_says_why(post: Post):
    made = await post.make(webhooks.Wanted(name="issues", handler="h", config={"actions": ["closed"]}))
    (trigger,) = await post.routes.list_triggers(ANN, route_id=made.route.route_id)
    whys: list[object] = []
    for request in (signed(), signed({"n": 1}, event="fork")):
        assert (await post.send(made, request)).came is Came.ACCEPTED
        whys.append((await post.kept())[0].facts["why"])
    await post.routes.enable(ANN, trigger.trigger_id, enabled=False)
    await post.send(made, signed({**BODY, "n": 2}))
    whys.append((await post.kept())[0].facts["why"])
    assert whys == [
        "the config of hub.issues leaves it out",
        "the event is not for a trigger of the route",
        "the route has no trigger that is enabled",
    ]
    assert post.admitted == []


async def test_what_is_not_as_declared_is_kept_and_replayed_when_it_can_be(post: Post):
    made = await post.make()
    assert (await post.send(made, signed({"action": "opened"}))).came is Came.ACCEPTED
    (kept,) = await post.kept()
    assert post.admitted == []
    assert "issue" in json.dumps(kept.facts["unfit"])
    whole = await post.send(made)
    replayed = await post.deliveries.replay(ANN, str(whole.delivery_id))
    assert len(post.admitted) == 2
    assert post.admitted[0].payload == post.admitted[1].payload
    assert len(replayed.facts["replays"]) == 1  # pyright: ignore[reportArgumentType] - a list


async def test_replays_at_once_are_each_told_of_and_the_last_ones_stay(post: Post):
    made = await post.make()
    whole = str((await post.send(made)).delivery_id)
    others = [replace_process(post) for _ in range(3)]
    await outcomes(each.deliveries.replay(ANN, whole) for each in [post, *others] * 3)
    facts = (await post.deliveries.fetch(ANN, whole)).facts
    assert len(cast("list[object]", facts["replays"])) == 12
    for _ in range(webhooks.MOST_REPLAYS):
        await post.deliveries.replay(ANN, whole)
    facts = (await post.deliveries.fetch(ANN, whole)).facts
    assert len(cast("list[object]", facts["replays"])) == webhooks.MOST_REPLAYS
    assert facts["replays_before"] == 12


async def test_what_a_connector_declares_otherwise_counts_within_a_minute(
    memory_store: sql.SqlStore, monkeypatch: pytest.MonkeyPatch
):
    post = Post(memory_store, testing.ManualClock())
    made = await post.make()
    assert (await post.send(made)).came is Came.ACCEPTED
    raw = HUB.to_json()
    raw["triggers"][0]["event"]["values"] = ["problems"]  # pyright: ignore[reportArgumentType, reportCallIssue, reportIndexIssue, reportOptionalSubscript] - a manifest's
    monkeypatch.setitem(MANIFESTS, "hub", sdk.load_manifest(json.dumps(raw), source="test"))
    post.later(minutes=1)
    await post.send(made, signed({**BODY, "n": 1}, event="problems"))
    assert len(post.admitted) == 2
    await post.send(made, signed({**BODY, "n": 2}))
    assert len(post.admitted) == 2


async def test_data_that_lies_with_a_delivery_stays_while_its_run_may_want_it(post: Post):
    """As a dead letter of more than thirty days does."""
    made = await post.make()
    large = signed({**BODY, "text": "x" * (runs.TASK_LIMITS.max_bytes)})
    delivery_id = str((await post.send(made, large)).delivery_id)
    small = str((await post.send(made)).delivery_id)
    facts = cast("Any", await post.deliveries.fetch(ANN, delivery_id)).facts
    run_id = facts["runs"][0]["run_id"]
    await post.store.write(lambda tx: sql.DispatchRecords().add(tx, [dead_letter(run_id)]))
    post.later(days=31)
    for _ in range(2):
        await sql.sweep(post.store, post.clock.now())
    assert [each.delivery_id for each in await post.kept()] == [delivery_id]
    assert small != delivery_id
    await post.store.write(lambda tx: sql.DispatchRecords().drop(tx, [("t1", run_id)]))
    await sql.sweep(post.store, post.clock.now())
    assert await post.kept() == []


async def test_what_is_signed_and_no_json_is_told_apart(post: Post):
    made = await post.make()
    assert (await post.send(made, signed(raw=b"\xff"))).came is Came.UNREADABLE
    (kept,) = await post.kept()
    assert (kept.state, kept.reason) == (DeliveryState.REJECTED, "unreadable")
    with pytest.raises(webhooks.NotReplayable):
        await post.deliveries.replay(ANN, kept.delivery_id)


async def test_a_flood_of_what_is_refused_fills_nothing(post: Post, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(evidence, "MOST_KEPT", 3)
    made = await post.make()
    await post.send(made)
    for number in range(40):
        await post.send(made, signed({**BODY, "n": number}, secret="wrong-secret"))
        await post.send(made)
    for state in (DeliveryState.REJECTED, DeliveryState.DUPLICATE):
        assert len(await post.kept(state)) == 3
    post.later(seconds=5)
    await post.send(made)
    (newest, *_) = await post.kept(DeliveryState.DUPLICATE)
    assert 0 < int(str(newest.facts["not_recorded"])) < 20


# -- secrets


async def test_while_a_secret_is_replaced_both_count(post: Post):
    made, other = await post.make(), replace_process(post)
    assert (await other.send(made, signed({**BODY, "n": 0}))).came is Came.ACCEPTED
    rotated = await post.routes.rotate(ANN, made.route.route_id, overlap_seconds=3600)
    assert rotated.secret is not None
    fresh = rotated.secret.reveal()
    assert (await other.send(made, signed({**BODY, "n": 1}, secret=fresh))).came is Came.ACCEPTED
    assert (await other.send(made, signed({**BODY, "n": 2}))).came is Came.ACCEPTED
    post.later(hours=1)
    assert (await other.send(made, signed({**BODY, "n": 3}))).came is Came.REFUSED
    assert (await other.send(made, signed({**BODY, "n": 4}, secret=fresh))).came is Came.ACCEPTED


async def test_a_route_is_known_again_when_its_former_secret_counts_no_more(
    memory_store: sql.SqlStore, monkeypatch: pytest.MonkeyPatch
):
    post = Post(memory_store, testing.ManualClock())
    made, looks, find = await post.make(), list[str](), post.records.find_by_token

    def look(tx: Tx, token_digest: str) -> webhooks.Route | None:
        looks.append(token_digest)
        return find(tx, token_digest)

    monkeypatch.setattr(post.records, "find_by_token", look)
    await post.routes.rotate(ANN, made.route.route_id, secret=Secret("another-secret"), overlap_seconds=30)
    assert (await post.send(made, signed({**BODY, "n": 0}))).came is Came.ACCEPTED
    post.later(seconds=30)
    assert (await post.send(made, signed({**BODY, "n": 1}))).came is Came.REFUSED
    for number in range(2, 5):
        request = signed({**BODY, "n": number}, secret="another-secret")
        assert (await post.send(made, request)).came is Came.ACCEPTED
    assert len(looks) == 2


async def test_without_an_overlap_the_old_secret_is_gone_at_once(post: Post):
    made, other = await post.make(), replace_process(post)
    assert (await other.send(made)).came is Came.ACCEPTED
    await post.routes.rotate(ANN, made.route.route_id, secret=Secret("another-secret"), overlap_seconds=0)
    assert (await other.send(made, signed({**BODY, "n": 1}))).came is Came.REFUSED


async def test_a_route_that_is_closed_elsewhere_takes_nothing_more(post: Post):
    made, other = await post.make(), replace_process(post)
    assert (await other.send(made)).came is Came.ACCEPTED
    await post.routes.set_state(ANN, made.route.route_id, RouteState.DISABLED)
    assert (await other.send(made, signed({**BODY, "n": 1}))).came is Came.REFUSED
    await post.routes.set_state(ANN, made.route.route_id, RouteState.ACTIVE)
    assert (await other.send(made, signed({**BODY, "n": 1}))).came is Came.ACCEPTED
    revoked = await post.routes.set_state(ANN, made.route.route_id, RouteState.REVOKED)
    assert revoked.sealed is None
    with pytest.raises(webhooks.InvalidRoute):
        await post.routes.set_state(ANN, made.route.route_id, RouteState.ACTIVE)


async def test_no_row_holds_a_secret_or_a_token(post: Post):
    made = await post.make()
    await post.send(made)
    assert made.token is not None

    def rows(tx: Tx) -> str:
        return "".join(
            repr(row) for table in tables.metadata.sorted_tables for row in sql.connection(tx).execute(table.select())
        )

    found = await post.store.read(rows)
    assert SECRET not in found
    assert made.token.reveal() not in found


@pytest.mark.parametrize("scheme", ["gitlab_token", "microsoft_graph"])
async def test_a_secret_that_a_delivery_shows_is_not_kept_with_it(memory_store: sql.SqlStore, scheme: str):
    post = Post(memory_store, testing.ManualClock())
    made = await post.make(
        webhooks.Wanted(name="changed", handler="sync"), connector="tasks", verification={"scheme": scheme}
    )
    body = json.dumps({"value": [{"clientState": SECRET, "n": 1}]}).encode()
    headers = (("x-gitlab-token", SECRET), ("x-gitlab-event-uuid", SECRET), ("user-agent", "x"))
    outcome = await post.send(made, webhooks.Incoming(method="POST", url="", headers=headers, body=body))
    kept = await post.deliveries.fetch(ANN, str(outcome.delivery_id))
    assert kept.state is DeliveryState.ACCEPTED
    assert SECRET not in repr((kept.body, kept.headers, kept.external_id, kept.facts, post.admitted))


async def test_a_secret_is_made_where_it_is_ours_to_choose(post: Post):
    made = await post.make(secret=None)
    assert made.secret is not None
    assert len(made.secret.reveal()) == 64
    assert (await post.send(made, signed(secret=made.secret.reveal()))).came is Came.ACCEPTED


async def test_a_secret_that_the_service_hands_over_is_taken_once(post: Post):
    made = await post.make(webhooks.Wanted(name="changed", handler="sync"), connector="tasks", secret=None)
    assert made.secret is None
    assert made.route.awaiting_until == post.clock.now() + timedelta(hours=1)

    def handed(secret: str) -> webhooks.Incoming:
        return webhooks.Incoming(method="POST", url="", headers=(("x-hook-secret", secret),), body=b"")

    assert (await post.send(made, changed("any-secret-0"))).came is Came.REFUSED
    outcome = await post.send(made, handed("theirs-012345"))
    assert outcome.came is Came.ANSWERED
    assert outcome.answer is not None
    assert outcome.answer.headers == {"X-Hook-Secret": "theirs-012345"}
    assert (await post.send(made, handed("forged-012345"))).came is Came.REFUSED
    assert (await post.send(made, changed("theirs-012345"))).came is Came.ACCEPTED
    assert (await post.send(made, changed("forged-012345"))).came is Came.REFUSED
    late = await post.make(webhooks.Wanted(name="changed", handler="sync"), connector="tasks", secret=None)
    post.later(hours=1)
    assert (await post.send(late, handed("theirs-012345"))).came is Came.REFUSED


def changed(secret: str) -> webhooks.Incoming:
    body = b'{"events":[]}'
    signature = signed(raw=body, secret=secret).header("x-hub-signature") or ""
    headers = (("x-hook-signature", signature.removeprefix("sha256=")),)
    return webhooks.Incoming(method="POST", url="", headers=headers, body=body)


# -- an app's address


async def test_an_apps_deliveries_go_to_the_install_that_they_name(post: Post):
    made = await post.routes.create(ANN, "hub", secret=Secret(SECRET), resolve=["/team", "/site"])
    bobs = await post.routes.join(BOB, made.route, on=[ISSUES], resolution={"/team": "T2", "/site": "7"})
    assert (await post.send(made, signed({**BODY, "team": "T2", "site": 7}))).came is Came.ACCEPTED
    (kept,) = await post.kept(caller=BOB)
    assert (kept.route_id, len(post.admitted)) == (bobs.route_id, 1)
    for body in ({**BODY, "team": "T3", "site": 7}, {**BODY, "team": "T2"}, {**BODY, "team": ["T2"], "site": True}):
        assert (await post.send(made, signed(body))).came is Came.UNWANTED
    assert [each.reason for each in await post.kept()] == ["unwanted"] * 3
    assert (
        await post.send(made, signed({**BODY, "team": "T2", "site": 7}, secret="wrong-secret"))
    ).came is Came.REFUSED
    await post.routes.set_state(BOB, bobs.route_id, RouteState.DISABLED)
    assert (await post.send(made, signed({**BODY, "team": "T2", "site": 7, "n": 1}))).came is Came.UNWANTED


async def test_what_is_enabled_elsewhere_takes_deliveries_again_at_once(post: Post):
    made = await post.make()
    app = await post.routes.create(ANN, "hub", secret=Secret(SECRET), resolve=["/team"])
    install = await post.routes.join(BOB, app.route, on=[ISSUES], resolution={"/team": "T2"})
    serving, to_app = replace_process(post), signed({**BODY, "team": "T2"})
    for caller, route in ((ANN, made.route), (BOB, install)):
        await post.routes.set_state(caller, route.route_id, RouteState.DISABLED)
    assert not await serving.intake.expects(token_of(made))
    assert (await serving.send(app, to_app)).came is Came.UNWANTED
    for caller, route in ((ANN, made.route), (BOB, install)):
        await post.routes.set_state(caller, route.route_id, RouteState.ACTIVE)
    assert await serving.intake.expects(token_of(made))  # else its body would not be read
    assert (await serving.send(made)).came is Came.ACCEPTED
    assert (await serving.send(app, to_app)).came is Came.ACCEPTED


async def test_two_installs_cannot_claim_the_same_deliveries(post: Post):
    made = await post.routes.create(ANN, "hub", secret=Secret(SECRET), resolve=["/team"])
    found = await outcomes(
        post.routes.join(caller, made.route, on=[ISSUES], resolution={"/team": "T2"}) for caller in (ANN, BOB)
    )
    assert sorted(type(each).__name__ for each in found) == ["AmbiguousRoute", "Route"]
    for resolution in ({}, {"/team": ""}, {"/other": "T3"}, {"/team": "T3", "/other": "x"}):
        with pytest.raises(webhooks.InvalidRoute):
            await post.routes.join(BOB, made.route, on=[ISSUES], resolution=resolution)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"on": [webhooks.Wanted(name="pull", handler="x")]}, "no webhook trigger 'pull'"),
        ({"on": [webhooks.Wanted(name="issues", handler="x", config={"repos": 1})]}, "config of issues"),
        ({"secret": Secret("short")}, "at least 8"),
        ({"verification": {"algorithm": "unsigned", "justification": "x"}, "secret": None}, "--unsigned"),
        ({"verification": {"algorithm": "unsigned", "justification": "x"}, "allow_unsigned": True}, "has no secret"),
        ({"verification": {"scheme": "nobody"}}, "there is no scheme"),
        ({"verification": {"algorithm": "rot13"}}, "algorithm"),
        ({"verification": {"scheme": "discord"}, "secret": None}, "the service's hex key"),
        ({"verification": {"scheme": "github", "content": "{timestamp}"}}, "{timestamp} needs a timestamp"),
        ({"dedupe_seconds": 1}, "dedupe_seconds"),
        ({"resolve": ["/team"]}, "stand on its installs"),
    ],
)
async def test_a_route_that_cannot_be(memory_store: sql.SqlStore, said: dict[str, object], told: str):
    post = Post(memory_store, testing.ManualClock())
    given: dict[str, object] = {"on": [ISSUES], "secret": Secret(SECRET), **said}
    with pytest.raises(webhooks.InvalidRoute) as raised:
        await post.routes.create(ANN, "hub", **given)  # pyright: ignore[reportArgumentType] - a test's
    assert told in str(raised.value)
    assert await post.routes.list_routes(ANN) == []


def replace_process(post: Post) -> Post:
    """Another process on the same store."""
    return Post(post.store, post.clock)


def token_of(made: webhooks.Made) -> str:
    assert made.token is not None
    return made.token.reveal()


def data_of(event: webhooks.Event) -> object:
    signal = event.payload["signal"]
    assert isinstance(signal, dict)
    return signal["data"]
