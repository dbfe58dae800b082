"""The plane as a stranger uses it from Python: one call, what it wrote, and its receipt."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from fix_forks import in_a_fork
from fix_peer import Conversation, listen
from fix_streams import REF, TOKEN, Vault
from interlock import app, kernel, plane
from interlock.cli import conversing
from interlock.cli.ending import Ending

pytestmark = [pytest.mark.anyio, pytest.mark.faults]


class Shelf:
    """A sink in memory."""

    name = "shelf"

    def __init__(self) -> None:
        self.receipts: list[plane.Receipt] = []

    async def emit(self, record: plane.EvidenceRecord) -> None:
        self.receipts.append(record.receipt)

    async def flush(self) -> None: ...

    async def aclose(self) -> None: ...


@pytest.fixture
async def local() -> AsyncGenerator[app.LocalPlane]:
    async with app.open_local_plane(sandboxes=[plane.LOCAL_PROCESS], egress_allow=["127.0.0.0/8"]) as opened:
        yield opened


async def test_a_command_is_one_call(local: app.LocalPlane) -> None:
    ran = await local.run(
        ["/bin/sh", "-c", 'cat; echo "$LAMP"; pwd >&2; exit 3'],
        stdin=b"words ",
        env={"LAMP": "green"},
        cwd="/usr",
    )
    assert (ran.stdout, ran.stderr) == (b"words green\n", b"/usr\n")
    assert ran.receipt.facts["exit_code"] == 3
    assert ran.receipt.failure is not None
    assert plane.verify_evidence(ran.receipt) is None


async def test_what_is_no_intent_is_told(local: app.LocalPlane, node_keys: Path) -> None:
    nothing: Any = None
    with pytest.raises(kernel.RequestError, match="the intent must be an intent"):
        await local.start(nothing, target_class=plane.LOCAL_PROCESS)
    async with app.open_remote_plane("https://127.0.0.1:1", identity=node_keys / "client") as remote:
        with pytest.raises(kernel.RequestError, match="the intent must be an intent"):
            await remote.start(nothing, target_class=plane.LOCAL_PROCESS)


@pytest.mark.parametrize(
    ("argv", "more", "named"),
    [([], {}, "argv"), (["/bin/cat"], {"stdin": "text"}, "stdin: "), (["/bin/cat"], {"nonsense": 1}, "nonsense: ")],
)
async def test_what_is_no_command_is_told_in_words_of_our_own(
    local: app.LocalPlane, argv: list[str], more: dict[str, Any], named: str
) -> None:
    with pytest.raises(kernel.RequestError, match=named) as raised:
        await local.run(argv, **more)
    assert "pydantic" not in str(raised.value)


async def test_what_is_no_url_is_told(local: app.LocalPlane) -> None:
    with pytest.raises(kernel.RequestError, match="without a dot at its end"):
        await local.request("GET", "http://example.com./")


async def test_a_commands_time_is_all_it_has(local: app.LocalPlane) -> None:
    ran = await local.run(["/bin/sh", "-c", "echo begun; exec sleep 600"], seconds=1.0)
    assert ran.stdout == b"begun\n"
    assert ran.receipt.failure is not None
    assert ran.receipt.failure.failure_class is plane.FailureClass.TOTAL_TIMEOUT


class Unread(conversing.Shown):
    """Output that nobody takes."""

    async def take(self, stream: str, data: bytes) -> None:
        del stream, data
        await anyio.sleep_forever()


async def test_who_does_not_read_is_not_waited_for_once_the_time_is_up(
    local: app.LocalPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversing, "_LATE", 600.0)
    ending = Ending(None, seconds=0.3)
    fields: Any = {**local.identity(seconds=0.3), "argv": ("/usr/bin/yes",), "max_output_bytes": 2**40}
    await conversing.carry_out(local, plane.ProcessIntent(**fields), plane.LOCAL_PROCESS, Unread(live=True), ending)
    assert ending.receipt is not None
    assert ending.receipt.failure is not None
    assert ending.receipt.failure.failure_class is plane.FailureClass.TOTAL_TIMEOUT


async def test_who_stops_waiting_ends_the_command(tmp_path: Path) -> None:
    shelf, mark = Shelf(), tmp_path / "mark"
    os.mkfifo(mark)
    command = ["/bin/sh", "-c", f"echo begun > {mark}; exec sleep 600"]
    async with app.open_local_plane(sandboxes=[plane.LOCAL_PROCESS], sinks=[shelf]) as local:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(local.run, command)
            assert await anyio.Path(mark).read_text() == "begun\n"
            tasks.cancel_scope.cancel()
        [receipt] = shelf.receipts
    assert receipt.failure is not None
    assert receipt.failure.failure_class is plane.FailureClass.CANCELLED


async def test_a_request_is_one_call(local: app.LocalPlane) -> None:
    async def answer(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            asked = await stream.receive()
            assert b"x-lamp: green" in asked.lower()
            await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        receipt = await local.request("GET", f"http://127.0.0.1:{port}/", headers={"X-Lamp": "green"})
        assert (receipt.status, receipt.body) == (200, b"hi")
        tasks.cancel_scope.cancel()


async def test_evidence_holds_no_secret_that_was_handed_over_or_redeemed() -> None:
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(b"hi", "200 OK", f"ETag: {TOKEN} given-to-the-plane")

    shelf, secrets = Shelf(), {"LAMP": kernel.Secret("given-to-the-plane")}
    async with (
        listen(script) as peer,
        app.open_local_plane(
            sinks=[shelf], secrets=secrets, credentials=Vault(), egress_allow=["127.0.0.0/8"]
        ) as local,
    ):
        receipt = await local.request("GET", peer.url + "/", credentials=(REF,))
    assert ("etag", f"{TOKEN} given-to-the-plane") in receipt.headers
    [kept] = shelf.receipts
    assert ("etag", "[redacted] [redacted]") in kept.headers
    assert plane.verify_evidence(kept) is None


async def test_a_request_without_an_answer_is_a_receipt(local: app.LocalPlane) -> None:
    receipt = await local.request("GET", "http://127.0.0.1:9/")
    assert receipt.failure is not None
    assert receipt.delivery is plane.Delivery.NOT_SENT


async def test_what_is_raised_inside_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError):
        async with app.open_local_plane():
            raise KeyError("a stranger's own")
    with pytest.raises(plane.ExecutionRejected):
        async with app.open_local_plane() as local:
            await local.run(["/bin/true"])


async def test_what_runs_is_ended_when_something_is_raised() -> None:
    begun: list[tuple[app.LocalPlane, plane.ExecutionRef]] = []

    async def fail() -> None:
        async with app.open_local_plane(sandboxes=[plane.LOCAL_PROCESS]) as local:
            intent = plane.ProcessIntent(**local.identity(seconds=600), argv=("/bin/sleep", "600"), max_ms=600_000)
            begun.append((local, await local.start(intent, target_class=plane.LOCAL_PROCESS)))
            raise KeyError("a stranger's own")

    with pytest.raises(KeyError):
        await fail()
    [(local, ref)] = begun
    receipt = await local.executions.wait(ref)
    assert receipt.failure is not None
    assert receipt.failure.failure_class is plane.FailureClass.CANCELLED


async def test_what_is_closed_begins_nothing() -> None:
    async with app.open_local_plane(sandboxes=[plane.LOCAL_PROCESS]) as local:
        pass
    with pytest.raises(RuntimeError, match="not open"):
        await local.run(["/bin/true"])


async def test_there_are_no_events_before_the_first(local: app.LocalPlane) -> None:
    intent = plane.ProcessIntent(**local.identity(seconds=30), argv=("/bin/true",))
    ref = await local.start(intent, target_class=plane.LOCAL_PROCESS)
    with pytest.raises(ValueError, match="numbered from 1"):
        [event async for event in local.executions.subscribe(ref, after=-1)]


async def test_a_cancellation_around_it_is_a_cancellation() -> None:
    with anyio.CancelScope() as scope:
        async with app.open_local_plane():
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught


@pytest.mark.parametrize("wrong", [["nope"], "local-process", [plane.LOCAL_PROCESS, plane.SSH_PINNED]])
async def test_classes_that_this_host_cannot_have_are_refused(wrong: list[str] | str) -> None:
    with pytest.raises(app.UnknownSandbox, match="local-bubblewrap"):
        async with app.open_local_plane(sandboxes=wrong):
            pytest.fail(f"it opened on {sys.platform}")


ANSWERS = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": [asked["method"], asked["params"]]}), flush=True)
"""


async def carried(local: app.LocalPlane, intent: plane.Intent, target_class: str) -> plane.Receipt:
    return await local.executions.wait(await local.start(intent, target_class=target_class))


async def test_a_server_that_speaks_json_rpc(local: app.LocalPlane) -> None:
    transport = plane.ProcessTransport(argv=(sys.executable, "-c", ANSWERS), framing="newline")
    intent = plane.JsonRpcIntent(
        **local.identity(seconds=60), transport=transport, mode="call", method="m", params=b'{"a":1}'
    )
    receipt = await carried(local, intent, plane.LOCAL_PROCESS)
    assert (receipt.failure, receipt.body) == (None, b'["m",{"a":1}]')
    assert receipt.facts["exit_code"] == 0
    assert plane.verify_evidence(receipt) is None


async def test_json_rpc_over_the_network(local: app.LocalPlane) -> None:
    async def script(peer: Conversation) -> None:
        await peer.receive_until(b"\n")
        await peer.send(b'{"jsonrpc":"2.0","id":1,"result":7}\n')

    async with listen(script) as peer:
        transport = plane.TcpTransport(address=peer.host, tls=False, framing="newline", allowed_hosts=(peer.host,))
        intent = plane.JsonRpcIntent(**local.identity(seconds=60), transport=transport, mode="call", method="m")
        receipt = await carried(local, intent, plane.LOCAL_HTTP)
    assert (receipt.failure, receipt.body) == (None, b"7")


async def test_a_conversation_goes_by_its_targets_way_and_no_other(local: app.LocalPlane) -> None:
    """Else the evidence would name a class that confined nothing of it."""
    network = plane.TcpTransport(address="127.0.0.1:9", tls=False, framing="newline", allowed_hosts=("127.0.0.1:9",))
    command = plane.ProcessTransport(argv=("/bin/true",), framing="newline")
    for transport, target_class in ((network, plane.LOCAL_PROCESS), (command, plane.LOCAL_HTTP)):
        intent = plane.JsonRpcIntent(**local.identity(seconds=60), transport=transport, mode="call", method="m")
        receipt = await carried(local, intent, target_class)
        assert receipt.failure is not None
        assert (receipt.failure.code, receipt.delivery) == ("transport_not_registered", plane.Delivery.NOT_SENT)


async def test_a_sandbox_that_a_conversations_command_needs_has_to_be_shown(local: app.LocalPlane) -> None:
    reaching = plane.SandboxProfile(network=plane.Network.HOSTS, hosts=("api.acme.dev:443",))
    transport = plane.ProcessTransport(argv=("/bin/true",), framing="newline", sandbox=reaching)
    intent = plane.JsonRpcIntent(**local.identity(seconds=60), transport=transport, mode="call", method="m")
    with pytest.raises(plane.ExecutionRejected, match="was not shown to have"):
        await local.start(intent, target_class=plane.LOCAL_PROCESS)


async def test_a_script_computes_and_asks_who_was_named() -> None:
    class Stock:
        async def perform(
            self, action: str, arguments: Mapping[str, kernel.JSON], execution: plane.ScriptExecution
        ) -> kernel.JSON:
            del execution
            return [action, arguments["item"]]

    source = 'found = stock(item="rope")\nfound + [1 + 1]'
    async with app.open_local_plane(actions=Stock()) as local:
        asks = plane.ScriptIntent(
            **local.identity(seconds=60), source=source, actions=(plane.ScriptAction(name="stock"),)
        )
        receipt = await carried(local, asks, plane.LOCAL_SCRIPT)
    assert (receipt.failure, receipt.body) == (None, b'["stock","rope",2]')
    async with app.open_local_plane() as local:
        again = asks.model_copy(update=local.identity(seconds=60))
        receipt = await carried(local, again, plane.LOCAL_SCRIPT)
    assert receipt.failure is not None
    assert receipt.facts["actions_refused"] == ["stock"]


async def test_a_forked_child_is_told_at_once(local: app.LocalPlane) -> None:
    def there() -> str:
        for work in (lambda: local.run(["/bin/true"]), lambda: local.request("GET", "http://127.0.0.1:1")):
            with pytest.raises(kernel.Forked, match="this plane was opened by process"):
                asyncio.run(work())  # type: ignore[arg-type]
        return "told"

    assert in_a_fork(there) == "told"
