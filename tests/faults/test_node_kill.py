"""A node that is killed at every step of an execution, and started again with its journal."""

import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import anyio
import psutil
import pytest

from fix_cli import COMMAND
from fix_plane import NODE_ID
from fix_remote import Cutter, dialled
from interlock import plane
from interlock.adapters import nodes
from interlock.kernel import SystemClock

pytestmark = pytest.mark.anyio


class Standing:
    """A node as a process, which can be killed and started again at its address."""

    def __init__(self, keys: Path) -> None:
        self.keys = keys
        self.port = 0
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [COMMAND, "node", "serve", "--keys", self.keys / "node", "--bind", f"127.0.0.1:{self.port}"]
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.keys)}
        self.process = subprocess.Popen(
            [*command, "--sandbox", plane.LOCAL_PROCESS],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=self.keys,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().rpartition(":")[2])

    def kill(self) -> list[psutil.Process]:
        """Kill it; what it had started."""
        assert self.process is not None
        started = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.communicate()
        return started


class Scene:
    """A node behind a relay, a client of it, and commands that leave a mark each time they begin."""

    def __init__(self, standing: Standing, relay: Cutter, client: nodes.RemoteClient) -> None:
        self.standing = standing
        self.relay = relay
        self.client = client
        self.signer = nodes.load_identity(standing.keys / "client", clock=SystemClock()).authorizer

    def intent(self, name: str, script: str) -> plane.ProcessIntent:
        return plane.ProcessIntent(
            intent_id=name,
            tenant_id="default",
            run_id="run_1",
            attempt_id="att_1",
            trace_id="trace",
            deadline_at=SystemClock().now() + timedelta(minutes=5),
            argv=("/bin/sh", "-c", f"echo x >> {self.mark(name)}; {script}"),
            max_ms=300_000,
        )

    def mark(self, name: str) -> Path:
        return self.standing.keys / name

    async def start(self, intent: plane.Intent) -> plane.ExecutionRef:
        authority = self.signer.issue(intent.digest, audience=NODE_ID, target_class=plane.LOCAL_PROCESS)
        return await self.client.start(intent, authority=authority, target_class=plane.LOCAL_PROCESS)

    async def begun(self, name: str) -> None:
        while not self.mark(name).exists():  # noqa: ASYNC110 - another process makes it
            await anyio.sleep(0.01)

    async def check_lost(self, ref: plane.ExecutionRef, intent: plane.Intent) -> None:
        """It is ambiguous, it is not begun again, and its receipt proves itself."""
        status = await self.client.status(ref)
        assert status.state is plane.ExecutionState.AMBIGUOUS
        assert (await self.start(intent)).execution_id == ref.execution_id
        receipt = await self.client.wait(ref)
        assert receipt.failure is not None
        assert receipt.failure.failure_class is plane.FailureClass.NODE_LOST
        assert receipt.delivery is plane.Delivery.UNKNOWN
        assert plane.verify_evidence(receipt) is None
        assert self.mark(intent.intent_id).read_text() == "x\n"


@asynccontextmanager
async def scene(keys: Path) -> AsyncGenerator[Scene]:
    standing = Standing(keys)
    standing.start()
    try:
        async with Cutter(standing.port) as relay, dialled(relay.url, keys, patience=60.0) as client:
            yield Scene(standing, relay, client)
    finally:
        standing.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="the process lane's keeper is Linux's")
async def test_what_had_not_ended_is_ambiguous_and_never_repeated(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    nodes.make_credentials(keys, node_id=NODE_ID, names=["127.0.0.1"], client="ann", clock=SystemClock())
    async with scene(keys) as it:
        await killed_before_it_is_asked(it)
        await killed_before_it_could_answer(it)
        await killed_in_mid_stream(it)
        await killed_after_the_end(it)


async def killed_before_it_is_asked(it: Scene) -> None:
    intent, refs = it.intent("early", "echo done"), list[plane.ExecutionRef]()
    it.standing.kill()
    async with anyio.create_task_group() as tasks:

        async def start() -> None:
            refs.append(await it.start(intent))

        tasks.start_soon(start)
        await anyio.wait_all_tasks_blocked()
        it.standing.start()
    receipt = await it.client.wait(refs[0])
    assert receipt.failure is None
    assert it.mark("early").read_text() == "x\n"


async def killed_before_it_could_answer(it: Scene) -> None:
    intent, refs = it.intent("unanswered", "sleep 600"), list[plane.ExecutionRef]()
    left: list[psutil.Process] = []
    await it.client.describe()  # so that there is a connection
    it.relay.hold_answers = True
    async with anyio.create_task_group() as tasks:

        async def start() -> None:
            refs.append(await it.start(intent))

        tasks.start_soon(start)
        await it.begun("unanswered")
        left += it.standing.kill()
        it.relay.hold_answers = False
        it.standing.start()
    await it.check_lost(refs[0], intent)
    gone, alive = psutil.wait_procs(left, timeout=30)
    assert gone
    assert not alive, "what it had started has ended with it"


async def killed_in_mid_stream(it: Scene) -> None:
    intent = it.intent("streaming", "while :; do echo more; sleep 0.01; done")
    ref = await it.start(intent)
    events: list[plane.ExecutionEvent] = []
    async with aclosing(it.client.subscribe(ref)) as stream:
        async for event in stream:
            events.append(event)
            if len(events) == 5:
                it.standing.kill()
                it.standing.start()
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    receipt = events[-1].receipt
    assert receipt is not None
    assert receipt == await it.client.wait(ref)
    await it.check_lost(ref, intent)


async def killed_after_the_end(it: Scene) -> None:
    ref = await it.start(it.intent("ended", "exit 3"))
    receipt = await it.client.wait(ref)
    it.standing.kill()
    it.standing.start()
    assert (await it.client.wait(ref)) == receipt.model_copy(update={"body": b""})
    assert receipt.facts["exit_code"] == 3
