"""Webhooks, schedules and submitted runs for minutes, while workers and servers are killed and frozen and the database falls: all
that was accepted ends, and what is not to be done twice is done once, as the service itself counts it."""

import hashlib
import hmac
import json
import os
import random
import re
import socket
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import httpx2
import pytest

import fire
from fire_handlers import ISSUES, is_rejected, name_of
from github_events import COMMENT, HERE, ISSUE
from interlock import Interlock, app, runs
from interlock.kernel import Secret, StoreError
from interlock.testing import github
from interlock.triggers import webhooks

pytestmark = [pytest.mark.soak, pytest.mark.anyio, pytest.mark.timeout(3600)]

SEED: Final = int(os.environ.get("SOAK_SEED", str(random.randrange(10**6))))
SECONDS: Final = float(os.environ.get("SOAK_SECONDS", "600"))
EVENTS: Final = int(os.environ.get("SOAK_EVENTS", "20000"))
SCHEDULES: Final = max(1, round(0.15 * EVENTS / SECONDS))
BEATS: Final = [f"beat-{number}" for number in range(SCHEDULES)]
"""Schedules: each is due every second."""

TIMES: Final = int(SECONDS)
SUBMITTED: Final = (EVENTS - SCHEDULES * TIMES) * 2 // 5
WEBHOOKS: Final = EVENTS - SCHEDULES * TIMES - SUBMITTED
AT_ONCE: Final = 32
ANSWER_SECONDS: Final = 10.0
"""How long a service waits for the answer to a webhook."""

DRAIN: Final = 2400.0
"""Seconds that may pass until what is left has ended."""

TOKEN: Final = "soak-token-1"
UNDONE: Final = [runs.State(each) for each in ("accepted", "held", "queued", "running", "waiting", "retry_scheduled")]


@dataclass
class Sender:
    """A service that reports, and reports again what nobody took."""

    address: str
    secret: bytes
    client: httpx2.AsyncClient
    said: Counter[str] = field(default_factory=Counter[str])

    async def report(self, number: int) -> bool:
        """Whether it was taken. One of twenty is then reported once more: a service may have missed an answer."""
        event = "issues" if number % 2 else "issue_comment"
        body: dict[str, Any] = {"action": "edited", "issue": {**ISSUE, "number": number}, **HERE}
        if event == "issue_comment":
            body["comment"] = COMMENT
        content = json.dumps(body).encode()
        headers = {
            "content-type": "application/json",
            "x-github-event": event,
            "x-github-delivery": f"d-{number}",
            "x-hub-signature-256": f"sha256={hmac.digest(self.secret, content, hashlib.sha256).hex()}",
        }
        taken = await self._send(content, headers)
        if taken and number % 20 == 0:
            await self._send(content, headers)
        return taken

    async def _send(self, content: bytes, headers: dict[str, str]) -> bool:
        try:
            answer = await self.client.post(self.address, content=content, headers=headers)
        except httpx2.HTTPError:
            self.said["no answer"] += 1
            return False
        self.said[str(answer.status_code)] += 1
        return answer.is_success


@pytest.fixture
def postgres(postgres_folder: Path) -> Iterator[fire.Postgres]:
    server = fire.Postgres(postgres_folder)
    yield server
    server.close()


@pytest.fixture
def service() -> Iterator[github.GitHub]:
    with github.GitHub.start(tokens={TOKEN: "octo-agent"}, rate_limit=10**9) as server:
        server.add_issues("acme/rocket", ISSUES)
        yield server


@asynccontextmanager
async def opened(
    folder: Path, url: str, service: github.GitHub, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Interlock]:
    """Interlock on that store, with settings that all processes share."""
    monkeypatch.setenv("INTERLOCK_KEY", fire.KEY)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    (folder / "interlock.toml").write_text(
        f"""store = "{url}"
[app]
modules = ["fire_handlers"]
[connect]
url = "http://127.0.0.1:{port}"
[execution]
owner_lease = 4.0
egress_allow = ["{service.url.removeprefix("http://")}"]
[policy]
default = "allow"
"""
    )
    file = app.read_file(folder / "interlock.toml")
    async with Interlock.open(settings=app.load(file), file=file) as il:
        yield il


async def test_three_workers_and_a_server_on_postgres(
    tmp_path: Path, postgres: fire.Postgres, service: github.GitHub, monkeypatch: pytest.MonkeyPatch
):
    faults = fire.plan(SEED, fire.ON_POSTGRES, victims=4, pauses=(0.5, 5), until=SECONDS)
    commands = [("worker",), ("worker",), ("worker",), ("serve", "--no-worker")]
    async with opened(tmp_path, postgres.url, service, monkeypatch) as il:
        await endure(il, tmp_path, commands, faults, service, postgres)


async def test_one_server_on_sqlite(tmp_path: Path, service: github.GitHub, monkeypatch: pytest.MonkeyPatch):
    faults = fire.plan(SEED, fire.ON_SQLITE, victims=1, pauses=(2, 15), until=SECONDS)
    async with opened(tmp_path, "interlock.db", service, monkeypatch) as il:
        await endure(il, tmp_path, [("serve",)], faults, service, fire.File(tmp_path / "interlock.db"))


async def endure(
    il: Interlock,
    folder: Path,
    commands: Sequence[Sequence[str]],
    faults: Sequence[fire.Fault],
    service: github.GitHub,
    store: fire.Postgres | fire.File,
) -> None:
    """Have all events done, whatever happens meanwhile."""
    connection = await il.connections.connect_token("github", Secret(TOKEN), base_url=service.url)
    asker = Asker(il, connection.connection_id)
    await asker.prepare()
    processes = [fire.Process(folder, each, folder / f"{number}.log") for number, each in enumerate(commands)]
    try:
        async with anyio.create_task_group() as watching:
            watching.start_soon(fire.watch, processes)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(asker.ask)
                happened = await fire.trouble(faults, processes, store, tasks, until=SECONDS)
                print(f"seed {SEED}: {dict(happened)} within {SECONDS:.0f} s")
            await asker.drained()
            for each in processes:
                await each.is_at_work()
            watching.cancel_scope.cancel()
        for each in processes:
            await each.drain()
        judge(asker, await found(il), Counter(comments(service)))
    finally:
        for each in processes:
            each.close()


@dataclass
class Asker:
    """All that there is to do, and what was said to it."""

    il: Interlock
    connection_id: str
    accepted: dict[int, str] = field(default_factory=dict[int, str])

    def __post_init__(self) -> None:
        self._began = anyio.current_time()

    async def prepare(self) -> None:
        """Make the route and the schedules."""
        on = [webhooks.Wanted(name=each, handler="soak") for each in ("issues", "issue_comment")]
        self._route = await self.il.routes.create("github", on=on, connection=self.connection_id)
        start = datetime.now(UTC) + timedelta(seconds=1)
        self._last = start + timedelta(seconds=TIMES - 1)
        for name in BEATS:
            await self.il.schedules.create(
                name, every=1, start=start, handler="soak", connection=self.connection_id, catch_up="all", cap=100
            )

    async def ask(self) -> None:
        """For webhooks by a service, for times by schedules, and for the rest by this program."""
        address, secret = self._route.address, self._route.secret
        assert address is not None
        assert secret is not None
        async with httpx2.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False) as client:
            sender = Sender(address.reveal(), secret.reveal().encode(), client)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(paced, range(1, WEBHOOKS + 1), sender.report)
                tasks.start_soon(paced, range(SUBMITTED), self._submit)
        print(f"{WEBHOOKS} webhooks, which were answered {dict(sender.said)}; {SUBMITTED} submitted runs")

    async def _submit(self, number: int) -> bool:
        """Whether it was taken."""
        try:
            outcome = await self.il.dispatch.submit(
                "soak", {"number": number}, connection_id=self.connection_id, idempotency_key=f"event-{number}"
            )
        except StoreError:
            return False
        except runs.RunFailed as error:  # it was accepted before, and is over already
            self.accepted[number] = error.run_id or ""
        else:
            self.accepted[number] = outcome.run_id
        return True

    async def drained(self) -> None:
        """Wait until every time of the schedules has come, and nothing is left to do."""

        async def is_past(name: str) -> bool:
            next_at = (await self.il.schedules.fetch(name)).next_at
            return next_at is not None and next_at > self._last

        async def is_done() -> bool:
            return not await self.il.runs.list(states=UNDONE, limit=1)

        async def is_paused(name: str) -> bool:
            await self.il.schedules.pause(name)
            return True

        with anyio.fail_after(DRAIN):
            for name in BEATS:
                await until(partial(is_past, name))
                await until(partial(is_paused, name))
            await until(is_done)
        print(f"all was done {anyio.current_time() - self._began:.0f} s after it had begun")


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Wait for that, whether the store is there or not."""
    while True:
        with suppress(StoreError):
            if await is_so():
                return
        await anyio.sleep(0.5)


async def paced(numbers: range, act: Callable[[int], Awaitable[bool]]) -> None:
    """Do something about every number, at an even pace over all the time; what is not taken is tried again."""
    began, places = anyio.current_time(), anyio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with places:
            await until(partial(act, number))

    async with anyio.create_task_group() as tasks:
        for index, number in enumerate(numbers):
            await anyio.sleep(max(0.0, began + index * SECONDS / len(numbers) - anyio.current_time()))
            tasks.start_soon(one, number)


async def found(il: Interlock) -> dict[str, list[runs.Run]]:
    """The runs of every event."""
    places = anyio.Semaphore(AT_ONCE)
    by_name = defaultdict[str, list[runs.Run]](list)

    async def read(run_id: str) -> None:
        async with places:
            run = await il.runs.fetch(run_id)
        by_name[name_of(json.loads(run.input_json))].append(run)

    cursor: str | None = None
    async with anyio.create_task_group() as tasks:
        while page := await il.runs.list(capability="handler.soak", cursor=cursor, limit=500):
            cursor = page[-1].run_id
            for each in page:
                tasks.start_soon(read, each.run_id)
    return dict(by_name)


def judge(asker: Asker, ended: dict[str, list[runs.Run]], said: Counter[str]) -> None:
    """What the ledger says against what the service was told."""
    state = {name: made[0].state for name, made in ended.items()}
    done = {name for name in ended if state[name] is runs.State.COMPLETED}
    twice, missing = [name for name, count in said.items() if count > 1], sorted(done - said.keys())
    kinds = Counter(name.partition(" ")[0] for name in ended)
    print(f"{dict(kinds)}: {dict(Counter(state.values()))}; dead letters {dict(letters(ended))}")
    print(f"{said.total()} comments: {len(twice)} twice, {len(missing)} missing")
    assert {name: made for name, made in ended.items() if len(made) > 1} == {}
    webhooks_and_submitted = {f"webhook {number}" for number in range(1, WEBHOOKS + 1)}
    webhooks_and_submitted |= {f"submitted {number}" for number in range(SUBMITTED)}
    assert {name for name in ended if not name.startswith("beat-")} == webhooks_and_submitted
    assert {name: kinds[name] >= TIMES for name in BEATS} == dict.fromkeys(BEATS, True)
    assert {number: ended[f"submitted {number}"][0].run_id for number in asker.accepted} == asker.accepted
    assert len(asker.accepted) == SUBMITTED
    assert twice == []
    assert missing == []
    assert said.keys() - ended.keys() == set()
    rejected = {name for name in ended if is_rejected(name)}
    assert rejected & done == set()
    assert len(done) >= 0.98 * (len(ended) - len(rejected))  # the others fell with their process again and again


def letters(ended: dict[str, list[runs.Run]]) -> Counter[str]:
    """What was given up, by what it failed with."""
    errors = [made[0].error for made in ended.values() if made[0].state is runs.State.DEAD]
    return Counter(str(error["code"]) if isinstance(error, dict) else "nothing" for error in errors)


def comments(service: github.GitHub) -> Iterator[str]:
    """The name of every event that the service was told of, as often as it was."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    with httpx2.Client(base_url=service.url, headers=headers, trust_env=False, timeout=60) as client:
        for number in range(1, ISSUES + 1):
            target: str | None = f"/repos/acme/rocket/issues/{number}/comments?per_page=100"
            while target is not None:
                answer = client.get(target)
                yield from (each["body"] for each in answer.json())
                more = re.search(r'<([^>]+)>; rel="next"', answer.headers.get("link", ""))
                target = more[1] if more else None
