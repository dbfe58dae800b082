"""Fixtures of the plane: intents on a manual clock, and a node around any lane."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import anyio
import pytest

from interlock import plane, testing

NODE_ID = "node-test"


class Intents:
    """Makes valid intents; each argument replaces one field."""

    def __init__(self) -> None:
        self.clock = testing.ManualClock()

    def http(self, **fields: Any) -> plane.HttpIntent:
        defaults: dict[str, Any] = {
            "intent_id": "snd_1",
            "tenant_id": "default",
            "run_id": "run_1",
            "attempt_id": "att_1",
            "trace_id": "trace-1",
            "method": "GET",
            "url": "https://api.acme.dev/things?page=1",
            "headers": (("Accept", "application/json"),),
            "allowed_hosts": ("api.acme.dev:443",),
            "deadline_at": self.clock.now() + timedelta(seconds=60),
        }
        return plane.HttpIntent(**defaults | fields)


class Bench:
    """A node with one lane, and the authority to use it."""

    def __init__(
        self,
        intents: Intents,
        lane: plane.Lane,
        targets: Iterable[plane.Target] | None = None,
        *,
        signer: plane.Signer | None = None,
        sinks: plane.SinkSet | None = None,
    ) -> None:
        self.intents = intents
        self.authorizer = plane.Authorizer(clock=intents.clock)
        local = plane.LocalTarget("here", target_class=plane.LOCAL_HTTP, lane_id="http", clock=intents.clock)
        self.node = plane.Node(
            NODE_ID,
            lanes=[lane],
            targets=[local] if targets is None else targets,
            verifier=self.authorizer.verifier(),
            clock=intents.clock,
            signer=signer,
            sinks=sinks,
        )

    def authority(self, intent: plane.Intent, target_class: str = plane.LOCAL_HTTP) -> plane.AuthorityDecision:
        return self.authorizer.issue(intent.digest, audience=NODE_ID, target_class=target_class)

    async def execute(self, intent: plane.Intent, target_class: str = plane.LOCAL_HTTP) -> plane.Receipt:
        """Execute under a fresh authority, and check what holds for every receipt."""
        seen: list[plane.Receipt] = []
        receipt = await self.node.execute(
            intent,
            authority=self.authority(intent, target_class),
            target_class=target_class,
            on_receipt=seen.append,
        )
        assert seen == [receipt]
        check_receipt(receipt)
        return receipt


class EchoLane:
    """Says back what it is told, to the end of the input; `stuck` never ends."""

    lane_id = "echo"
    carries: type[plane.Intent] = plane.HttpIntent

    def __init__(self) -> None:
        self.begun = 0
        self.left = 0

    async def execute(self, intent: plane.HttpIntent, exchange: plane.Exchange) -> None:
        self.begun += 1
        exchange.leave(1)
        try:
            if intent.url.endswith("/stuck"):
                await anyio.sleep_forever()
            assert exchange.channel is not None
            while (piece := await exchange.channel.inbox.receive()) is not None:
                await exchange.channel.output("echo", piece.data, {"kind": piece.kind.value})
            if intent.url.endswith("/broken"):
                raise plane.LaneFailure(plane.FailureClass.READ_FAILED, "the line broke")
            exchange.facts["exit_code"] = 0
            exchange.answered = True
        finally:
            self.left += 1

    async def aclose(self) -> None:
        pass


def check_receipt(receipt: plane.Receipt) -> None:
    """What holds for every receipt."""
    assert plane.verify_evidence(receipt) is None
    assert plane.Receipt.model_validate_json(receipt.canonical).canonical == receipt.canonical
    assert (receipt.delivery is plane.Delivery.NOT_SENT) == (receipt.bytes_sent == 0 and receipt.status is None)
    if receipt.failure is not None and receipt.failure.effect == "none":
        assert receipt.delivery is plane.Delivery.NOT_SENT
    if receipt.delivery is not plane.Delivery.RESPONDED:
        assert receipt.failure is not None
        assert receipt.body == b""


@pytest.fixture
def intents() -> Intents:
    return Intents()
