"""`SOAK_DELIVERIES` (2,000) webhooks over many connections to `interlock serve`, which is killed again and again: the service
sends what was not answered until it is. All of it is admitted, and none of it twice."""

import json
import os
import random
import socket
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx2
import pytest

from fix_cli import Shell
from fix_webhooks import HUB, SECRET, signed

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

DELIVERIES = int(os.environ.get("SOAK_DELIVERIES", "2000"))
SENDERS = 16
LEAST_KILLS = 10


@dataclass
class Service:
    """Sends each delivery until it is answered with success."""

    address: str
    left: list[int]
    done: int = 0
    lost: int = 0
    """Answers that never came."""
    said: Counter[int] = field(default_factory=Counter[int])
    until: int = 0
    enough: anyio.Event = field(default_factory=anyio.Event)

    def go_on(self, until: int) -> anyio.Event:
        """What is set when so many are answered."""
        self.until, self.enough = until, anyio.Event()
        return self.enough

    async def send(self) -> None:
        async with httpx2.AsyncClient(timeout=10) as client:
            while self.left:
                number = self.left.pop()
                request = signed(
                    {"action": "opened", "issue": {"number": number}}, delivery=f"d-{number}", secret=SECRET
                )
                while True:
                    try:
                        answer = await client.post(self.address, content=request.body, headers=dict(request.headers))
                    except httpx2.HTTPError:
                        self.lost += 1
                        await anyio.sleep(0.1)
                        continue
                    self.said[answer.status_code] += 1
                    if answer.status_code == 200:
                        self.done += 1
                        if self.done >= self.until:
                            self.enough.set()
                        break
                    await anyio.sleep(0.1)


async def killed(shell: Shell, service: Service, chance: random.Random) -> int:
    """Serve, and kill whoever does, until everything is answered. How often that was."""
    kills = 0
    async with anyio.create_task_group() as tasks:
        for _ in range(SENDERS):
            tasks.start_soon(service.send)
        while service.done < DELIVERIES:
            process = shell.start("serve")
            try:
                assert process.stdout is not None
                await anyio.to_thread.run_sync(process.stdout.readline)
                more = chance.randrange(1, DELIVERIES // LEAST_KILLS)
                await service.go_on(min(DELIVERIES, service.done + more)).wait()
            finally:
                end(process)
            kills += 1
    return kills


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_killed_servers_lose_nothing_and_do_nothing_twice(any_shell: Shell):
    seed = int(os.environ.get("SOAK_SEED", str(random.randrange(10**6))))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    (any_shell.folder / "hub.json").write_text(json.dumps(HUB.to_json()))
    any_shell.environment |= {
        "INTERLOCK_CONNECT__URL": url,
        "INTERLOCK_CONNECTORS__MANIFESTS": '["hub.json"]',
        "HUB_SECRET": SECRET,
    }
    made = any_shell.good("routes", "create", "hub", "--on", "issues=triage", "--secret-env", "HUB_SECRET")
    service = Service(made["address"], list(range(DELIVERIES)))
    kills = anyio.run(killed, any_shell, service, random.Random(seed))
    accepted = listed(any_shell, "deliveries", "accepted")
    repeated = len(listed(any_shell, "deliveries", "duplicate"))
    print(f"seed {seed}: {kills} kills, {service.lost} answers lost, {repeated} came again, said {dict(service.said)}")
    assert sorted(each["external_id"] for each in accepted) == sorted(f"d-{each}" for each in range(DELIVERIES))
    runs = [run["run_id"] for each in accepted for run in each["runs"]]
    assert len(runs) == len(set(runs)) == DELIVERIES
    queued = {each["run_id"] for each in listed(any_shell, "runs", "queued")}
    assert queued == set(runs)
    assert kills >= LEAST_KILLS


def listed(shell: Shell, what: str, state: str) -> list[dict[str, Any]]:
    """All of them."""
    found: list[dict[str, Any]] = []
    cursor: tuple[str, ...] = ()
    while True:
        page = shell.good(what, "list", "--state", state, "--limit", "500", *cursor)
        found += page[what]
        if page["next_cursor"] is None:
            return found
        cursor = ("--cursor", page["next_cursor"])
