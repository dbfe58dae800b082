"""A planted secret turns up nowhere: not in rows, files, logs, errors, packets, nor in the reprs of what is in memory."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest

from fix_app import ASK_WRITES, STRANGER, TOKEN, Process, World, asked, connector, run_of
from fix_canary import Listener, Shown, canaries, files, forms, rendered, reprs
from fix_parrot import Answer, Heard, Parrot
from fix_spans import Spans
from interlock import connections, runs, sdk
from interlock.app import open_keychain
from interlock.kernel import InterlockError

pytestmark = pytest.mark.anyio

FORMS = forms(TOKEN)
CANARIES = canaries([TOKEN])

IN_QUERY = sdk.token_profile(
    scopes=["repo"],
    apply=[sdk.in_query("key")],
    probe=sdk.probe("/user", subject="/login", scopes_header="x-oauth-scopes"),
)


def finds(data: bytes) -> list[bytes]:
    return [canary for canary in CANARIES if canary in data]


def issue(title: str) -> bytes:
    return b'{"number": 1, "state": "open", "user": {"login": "octo-agent"}, "title": "' + title.encode() + b'"}'


def echo(form: str) -> dict[str, Answer]:
    return {
        "body": Answer(issue(form), 201),
        "header": Answer(issue("x"), 201, {"x-echo": f"Bearer {form}", "etag": f'"{form}"', "link": f"<{form}>"}),
        "refusal": Answer(b'{"message": "bad token ' + form.encode() + b'"}', 422),
        "unauthorised": Answer(b'{"message": "no such token ' + form.encode() + b'"}', 403),
        "failure": Answer(b'{"message": "oops ' + form.encode() + b'"}', 500),
        "not json": Answer(b"Bearer " + form.encode(), 201),
        "wrong shape": Answer(b'{"number": "' + form.encode() + b'", "' + form.encode() + b'": 1}', 201),
        "cut": Answer(issue(form), 201, cut=True),
        "redirect": Answer(b"", 302, {"location": f"https://elsewhere.dev/?token={form}"}),
        "moved": Answer(b"", 302, {"location": f"/moved/{form}?key={form}"}),
        "limited": Answer(b'{"message": "secondary rate limit for ' + form.encode() + b'"}', 403),
    }


async def everything(
    world: World, parrot: Parrot, listener: Listener, forms: Sequence[str] = tuple(FORMS)
) -> list[str]:
    """Use every way in which the secret could get out; what was shown to callers."""
    shown = Shown()
    async with world.process(execution={"egress_allow": (parrot.host,), "inline_bytes": 64}) as process:
        connection = await process.connect(parrot.url, scopes=["repo"])
        shown.append(repr(connection))
        await probed(process, parrot, shown)

        async def attempt(capability: str, value: dict[str, Any]) -> None:
            try:
                shown.append(repr(await process.il.invoke(capability, value, max_attempts=1)))
            except InterlockError as error:
                shown.extend([rendered(error), json.dumps(error.to_json()), repr(error)])

        for form in (FORMS[name] for name in forms):
            for answer in echo(form).values():
                parrot.say = lambda heard, said=answer: said if heard.method == "POST" else Answer(b"[]", said.status)
                await attempt("acme.issue.create", {"repo": "acme/rocket", "title": "Door"})
                await attempt("acme.issue.file", {"repo": "acme/rocket", "title": "Door"})
                world.advance(61)  # a limited service is left alone for a minute
            parrot.say = lambda heard, form=form: Answer(
                b"[" + issue(form) + b"]", headers={"etag": '"1"', "x-echo": form}
            )
            await attempt("acme.issue.list", {"repo": "acme/rocket"})
            await attempt("acme.issue.list", {"repo": "acme/rocket"})
        shown.append(rendered(await cancelled(process, parrot)))
        shown.extend(reprs(process.parts))
        for run in await process.il.runs.list(limit=1000):
            shown.append((await process.il.runs.packet(run.run_id)).decode())
            shown.append(repr(await process.il.runs.history(run.run_id)))
        shown.extend(await rotated(world))
        shown.append(repr(await process.il.connections.revoke(connection.connection_id)))
        shown.extend(reprs(process.parts))
        # Before the store is closed: its write-ahead log still holds the latest pages.
        shown.extend(path.read_bytes().decode("latin-1") for path in files(world.folder))
    return [*shown, *listener.lines]


async def probed(process: Process, parrot: Parrot, shown: Shown) -> None:
    """Connect to a service that repeats the credential when it is asked whose that is."""
    desk = process.il.as_caller(STRANGER).connections
    for index, form in enumerate(FORMS.values()):
        whose = b'{"login": "' + form.encode() + b'"}'
        for answer in (
            Answer(whose, headers={"x-oauth-scopes": f"repo, {form}"}),
            Answer(whose, 401, {"x-oauth-scopes": form}),
            Answer(whose[:-1], 200),
        ):
            parrot.say = lambda heard, said=answer: said
            try:
                made = await desk.connect_token("acme", TOKEN, base_url=parrot.url, name=f"echo{index}")
                shown.append(repr(made.record()))
            except InterlockError as error:
                shown.extend([json.dumps(error.to_json()), repr(error)])  # the token is a local of its frames


async def cancelled(process: Process, parrot: Parrot) -> BaseException:
    """The exception that a cancelled caller sees, with all frames on its way."""
    import asyncio
    import threading

    reached, go_on = threading.Event(), threading.Event()

    def slow(heard: Heard) -> Answer:
        reached.set()
        go_on.wait(60)
        return Answer(b"{}")

    parrot.say = slow
    task = asyncio.ensure_future(process.il.invoke("acme.account.fetch"))  # noqa: TID251 - as foreign callers do
    await anyio.to_thread.run_sync(reached.wait)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError as error:
        return error
    finally:
        go_on.set()
    raise AssertionError("it was not cancelled")


async def rotated(world: World) -> list[str]:
    """What is said of keys while they are replaced."""
    shown: list[str] = []
    async with open_keychain(world.settings()) as chain:
        steps = [step async for step in chain.rotate()]
        assert sum(step.resealed for step in steps if step.finished_at) > 0
        shown.extend(map(repr, steps))
        shown.extend([repr(await chain.rotate_signing()), repr(await chain.rotate_root())])
        shown.extend([repr(await chain.status()), repr(await chain.list())])
    return shown


@pytest.mark.faults  # for it does all that there is to do
@pytest.mark.parametrize("way", ["header", "query"])
async def test_the_secret_is_nowhere(file_world: World, parrot: Parrot, listener: Listener, spans: Spans, way: str):
    if way == "query":
        file_world.manifest = connector(auth=[IN_QUERY])
    shown = await everything(file_world, parrot, listener, ["plain", "url"] if way == "query" else list(FORMS))
    told = [span.to_json() for span in spans.all]
    assert len(told) > (500 if way == "header" else 200)
    shown += told
    assert len(shown) > (500 if way == "header" else 200)
    assert len(parrot.heard) > 50
    if way == "query":
        assert all(parse_qs(urlsplit(heard.path).query)["key"] == [TOKEN] for heard in parrot.heard)
    else:
        assert all(TOKEN in heard.headers["authorization"] for heard in parrot.heard)
    assert not any("referer" in heard.headers for heard in parrot.heard)
    found = [text for text in shown if finds(text.encode())]
    for text in found[:3]:
        place = text.find(finds(text.encode())[0].decode())
        print(text[:100], "…", text[max(0, place - 300) : place + 60])
    assert len(found) == 0
    left = {path.name: finds(path.read_bytes()) for path in files(file_world.folder)}
    assert "store.db" in left
    assert not any(left.values())


async def test_the_canary_would_be_found(file_world: World, parrot: Parrot):
    """Something that is no secret goes the same ways, and is found in all of them: the test above looks where it says."""
    word = "not_a_secret_0123456789"
    parrot.say = lambda heard: Answer(b'{"login": "octo-agent"}')
    async with file_world.process(execution={"egress_allow": (parrot.host,)}) as process:
        await process.connect(parrot.url, scopes=["repo"])
        parrot.say = lambda heard: Answer(b'{"message": "' + word.encode() + b'"}', 422)
        with pytest.raises(InterlockError) as raised:
            await process.create(title=word)
        assert word in rendered(raised.value)
        packet = await process.il.runs.packet(run_of(raised.value))
        assert word.encode() in packet
        assert any(word.encode() in path.read_bytes() for path in files(file_world.folder))
        assert isinstance(await process.last(), runs.History)


async def test_what_is_said_of_a_call_is_recorded_without_the_secret(file_world: World):
    file_world.law = ASK_WRITES
    said = f"the token {TOKEN} was used"
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        for name in ("idempotency_key", "trace_id", "environment"):
            asked_with: dict[str, Any] = {name: TOKEN}
            with pytest.raises(runs.InputHoldsSecret, match=f"the {name} of acme"):
                await process.create(**asked_with)
        with pytest.raises(runs.InputHoldsSecret, match="the allowed_operations of acme"):
            await process.create(allowed_operations=["acme.issue.create", TOKEN])
        for name in ("actor", "roles"):
            changed: dict[str, Any] = {"actor": TOKEN} if name == "actor" else {"roles": frozenset({f"x{TOKEN}"})}
            stranger = process.il.as_caller(replace(process.il.caller, **changed))
            with pytest.raises(runs.InputHoldsSecret, match=f"the {name} of acme"):
                await stranger.invoke("acme.issue.create", {"repo": "acme/rocket", "title": "Door"})
        assert await process.il.runs.list() == []
        exposing: list[dict[str, Any]] = [{"name": f"my {TOKEN}"}, {"base_url": f"{file_world.server.url}/{TOKEN}"}]
        for changes in exposing:
            with pytest.raises(connections.InvalidGrant) as refused:
                await process.il.connections.connect_token("acme", TOKEN, **changes)
            assert TOKEN not in str(refused.value.to_json())
        denied = await process.create()
        reviewer = process.il.as_caller(replace(process.reviewer.caller, actor=TOKEN))
        for decide in (
            partial(reviewer.approvals.approve, asked(denied)),
            partial(reviewer.approvals.deny, asked(denied), reason="no"),
            partial(reviewer.runs.cancel, denied.run_id),
        ):
            with pytest.raises(runs.InputHoldsSecret, match="the actor of a decision about acme"):
                await decide()
        await process.reviewer.approvals.deny(asked(denied), reason=said)
        stopped = await process.create(title="Window")
        await process.il.runs.cancel(stopped.run_id, reason=said)
        for each in (denied, stopped):
            assert b"the token" in await process.il.runs.packet(each.run_id)
    assert not any(finds(path.read_bytes()) for path in files(file_world.folder))
