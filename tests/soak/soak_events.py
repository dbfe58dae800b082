"""Outgoing events, while the workers that send them are killed again and again."""

import json
import os
import random
import signal
import threading
from collections import defaultdict
from contextlib import ExitStack

import pytest

from fix_cli import REPOSITORY, Shell, Started
from fix_parrot import Answer, Heard, Parrot
from interlock import subscriptions

pytestmark = pytest.mark.soak

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "8"))
SEED = int(os.environ.get("SOAK_SEED", random.randrange(10**6)))
CALLS = 5


def test_killed_workers_lose_no_event_and_make_none_of_their_own(shell: Shell, parrot: Parrot):
    chance, quick = random.Random(SEED), threading.Event()
    allowed = [shell.service.url.removeprefix("http://"), parrot.host]
    surroundings = {"INTERLOCK_EXECUTION__EGRESS_ALLOW": json.dumps(allowed)}

    def say(_: Heard) -> Answer:
        quick.wait(0.2)  # so that there is something to be killed in
        return Answer(status=204, body=b"")

    parrot.say = say
    name = shell.good("subscriptions", "create", f"{parrot.url}/hooks", "--type", "run.*")["subscription_id"]
    with ExitStack() as stack:

        def start() -> Started:
            return stack.enter_context(shell.start("worker", environment=surroundings))

        workers = [start(), start()]
        for number in range(1, ROUNDS + 1):
            for _ in range(CALLS):
                shell.good("invoke", "github.repo.fetch", f"repo={REPOSITORY}")
            heard = len(parrot.heard)
            while len(parrot.heard) == heard and delivered(shell, name) < 2 * CALLS * number:
                quick.wait(0.05)
            victim = workers.pop(chance.randrange(2))
            victim.kill()
            victim.communicate()
            workers.append(start())
        while delivered(shell, name) < 2 * CALLS * ROUNDS:  # a worker makes messages of what happened, and sends them
            quick.wait(1)
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
            worker.communicate()
            assert worker.returncode in {0, 128 + signal.SIGTERM}  # the latter of one that was only starting
    sent = shell.good("subscriptions", "deliveries", name, "--limit", "500")["deliveries"]
    assert [each["state"] for each in sent] == ["delivered"] * (2 * CALLS * ROUNDS), SEED
    bodies = defaultdict[str, set[bytes]](set)
    for each in parrot.heard:
        bodies[each.headers["webhook-id"]].add(each.body)
    assert set(bodies) == {each["message_id"] for each in sent}
    assert {len(each) for each in bodies.values()} == {1}
    assert len(parrot.heard) - len(sent) <= ROUNDS * subscriptions.EACH, SEED


def delivered(shell: Shell, name: str) -> int:
    return len(shell.good("subscriptions", "deliveries", name, "--state", "delivered", "--limit", "500")["deliveries"])
