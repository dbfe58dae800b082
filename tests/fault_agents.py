"""An agent with an operation of each class, whose effects a real HTTP server counts, and the flow of its turn.

Imported by the tests and by the processes that they kill; so without pytest, and by name.
"""

import json
import threading
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from interlock import agents
from interlock.app import Interlock
from interlock.kernel import JSON, Caller
from interlock.testing import models

AGENT = Caller(tenant_id="default", actor="agent", roles=frozenset())
REVIEWER = Caller(tenant_id="default", actor="reviewer", roles=frozenset({"approver"}))
BUSY = "dedupe 2"
"""What the server does at once, and answers only when it is asked again."""

CLASSES = ("pure", "idempotent", "dedupe", "reconcile", "unsafe_once")


def ask(context: agents.Invocation, method: str, name: str) -> Any:
    """What the server says: how often it was `done`."""
    query = urllib.parse.urlencode({"case": str(context.context["case"]), "name": name, "key": context.key})
    request = urllib.request.Request(f"{context.context['url']}/?{query}", method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


@agents.operation(idempotency="pure")
def look(context: agents.Invocation) -> JSON:
    """It changes nothing."""
    return ask(context, "GET", "pure")


@agents.operation(idempotency="idempotent")
def put(context: agents.Invocation) -> JSON:
    """Twice is as good as once."""
    return ask(context, "PUT", "idempotent")


@agents.operation(idempotency="dedupe")
def send(context: agents.Invocation) -> JSON:
    """The server knows a call again by its key."""
    return ask(context, "PUT", "dedupe")


def was_filed(context: agents.Invocation) -> Any:
    """Whether it was."""
    found = ask(context, "GET", "reconcile")
    return found if found == {"done": 1} else agents.NotHappened()


@agents.operation(idempotency="reconcile", reconcile=was_filed)
def file(context: agents.Invocation) -> JSON:
    """One can find out whether it was done."""
    return ask(context, "POST", "reconcile")


@agents.operation(idempotency="unsafe_once", approval={})
def pay(context: agents.Invocation) -> JSON:
    """Nobody can tell."""
    return ask(context, "POST", "unsafe_once")


OPERATIONS = [look, put, send, file, pay]
SPEC = agents.agent("clerk", "Do it.", model="fake:clerk", operations=OPERATIONS)
SCRIPT = [
    models.answer("Let me see.", models.call("look"), models.call("put"), models.call("send")),
    models.answer(models.call("file")),
    models.answer(models.call("pay")),
    models.answer("All is done."),
]


async def take_turn(il: Interlock, order: Any) -> JSON:
    """A turn over all classes, gone on with until it has ended: people say yes, and what they saw."""
    il.agents.offer(*OPERATIONS)
    mine = il.as_caller(AGENT)
    context: dict[str, JSON] = {"url": order.server_url, "case": order.repo}
    turn = await mine.agents.run(SPEC, "Go.", context=context, idempotency_key="one")
    return (await go_on(il, turn)).to_json()


async def go_on(il: Interlock, turn: agents.harness.Turn) -> agents.harness.Turn:
    """Approve what it waits for, and resume it, until it has ended or somebody has to look."""
    while turn.state.value in ("held", "queued", "retry_scheduled"):
        for each in turn.waiting:
            if each.approval_id is not None:
                found = await il.as_caller(REVIEWER).approvals.fetch(each.approval_id)
                if found.state.value == "pending":
                    await il.as_caller(REVIEWER).approvals.approve(each.approval_id)
        turn = await il.as_caller(AGENT).agents.resume(turn.run_id)
    return turn


class Counting:
    """A server that counts what was done, by case and name. `hold` has it keep a request, before or after it is done."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.done: Counter[tuple[str, str]] = Counter()
        self.asked: Counter[tuple[str, str]] = Counter()
        self.held = threading.Event()
        self.release = threading.Event()
        self._keys: set[tuple[str, str]] = set()
        self._hold: tuple[str, str, str] | None = None
        self._lock = threading.Lock()

    def hold(self, case: str, name: str, when: str) -> None:
        """Keep the next such request, `before` it is done or `after`."""
        self.held.clear()
        self.release.clear()
        self._hold = case, name, when

    def take(self, method: str, case: str, name: str, key: str) -> JSON:
        """What a request does."""
        kept = method != "GET" or name == "pure"
        self._wait(case, name, "before", kept=kept)
        with self._lock:
            if kept:
                self.asked[case, name] += 1
            if method != "GET" and not (name.startswith("dedupe") and (case, key) in self._keys):
                self._keys.add((case, key))
                self.done[case, name] += 1
        self._wait(case, name, "after", kept=kept)
        is_busy = name == BUSY and self.asked[case, name] == 1
        done = self.done[case, name]
        return {"busy": True} if is_busy else {"done": 1 if name == "idempotent" and done else done}

    def _wait(self, case: str, name: str, when: str, *, kept: bool) -> None:
        if kept and self._hold == (case, name, when):
            self._hold = None
            self.held.set()
            self.release.wait(60)
            if when == "before":
                raise ConnectionResetError  # it never came


@contextmanager
def counting() -> Generator[Counting]:
    """The server, while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do(self) -> None:
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
            try:
                said = told.take(self.command, query["case"][0], query["name"][0], query["key"][0])
                content = json.dumps(said).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except ConnectionError:
                self.close_connection = True

        do_GET = do_PUT = do_POST = do  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told = Counting(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield told
    finally:
        told.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
