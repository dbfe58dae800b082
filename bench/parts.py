"""Suite `parts`: what single steps cost by themselves. They have no baseline but time."""

from contextlib import AsyncExitStack
from datetime import timedelta

from bench.paperwork import Paperwork
from bench.place import Place
from bench.report import Row
from bench.subject import CALLER, Rooms, rooms
from bench.timing import Contestant, Once, Trial, race
from interlock import plane
from interlock.kernel import SystemClock


class _Nothing:
    """A lane that does nothing, so that what is left is the node's own work."""

    def __init__(self) -> None:
        self.lane_id = "http"
        self.carries: type[plane.Intent] = plane.HttpIntent

    async def execute(self, intent: plane.HttpIntent, exchange: plane.Exchange) -> None:
        del intent
        exchange.answered, exchange.status = True, 200

    async def aclose(self) -> None:
        pass


async def run(place: Place) -> list[Row]:
    """Policy, the plane's admission, a credential from its row to the wire."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(place.store("sqlite"))
        subject = await stack.enter_async_context(rooms(url, place.new()))
        steps = {
            "policy.decide": (_decide(subject), None),
            "plane: intent, authority, admission, receipt (µs)": (_admit(), "plane-admission"),
            "connections: resolve, lease, redeem": (await _redeem(subject), None),
        }
        trials = await race([Contestant(once) for once, _ in steps.values()], place.pace)
    return [_row(what, trial, key) for (what, (_, key)), trial in zip(steps.items(), trials, strict=True)]


def _row(what: str, trial: Trial, key: str | None) -> Row:
    return Row(what=what, measured=trial, values=[each * 1e6 for each in trial.medians], baseline="µs each", key=key)


def _decide(subject: Rooms) -> Once:
    rules, facts = subject.wiring.policy, subject.call.policy_facts({"store_latency_ms": 1.0})

    async def once() -> None:
        rules.decide(facts)

    return once


def _admit() -> Once:
    clock = SystemClock()
    authorizer = plane.Authorizer(clock=clock)
    target = plane.LocalTarget("local-http", target_class=plane.LOCAL_HTTP, lane_id="http", clock=clock)
    node = plane.Node("node", lanes=[_Nothing()], targets=[target], verifier=authorizer.verifier(), clock=clock)

    async def once() -> None:
        intent = plane.HttpIntent(
            intent_id="snd_1",
            tenant_id="default",
            run_id="run_1",
            attempt_id="att_1",
            trace_id="trace_1",
            deadline_at=clock.now() + timedelta(seconds=30),
            method="POST",
            url="https://api.acme.dev/tickets",
            headers=(("accept", "application/json"), ("content-type", "application/json")),
            body=b'{"title":"Signal 7 fails"}',
            credentials=(plane.HeaderCredential(handle="lse_1", name="Authorization", template="Bearer {token}"),),
            allowed_hosts=("api.acme.dev:443",),
        )
        authority = authorizer.issue(intent.digest, audience=node.node_id, target_class=plane.LOCAL_HTTP, ttl=1.0)
        receipt = await node.execute(intent, authority=authority, target_class=plane.LOCAL_HTTP)
        assert receipt.failure is None, receipt.failure

    return once


async def _redeem(subject: Rooms) -> Once:
    """A lease counts once its row is committed, which is the ledger's part: one row is there, and redeemed each time."""
    wiring, call = subject.wiring, subject.call
    desk, host = wiring.connections, call.host
    scopes, hosts = frozenset(call.operation.scopes), frozenset({host})
    admission = await Paperwork(subject).admit()
    assert admission.lease is not None
    run = admission.run
    ref = plane.SecretRef(admission.lease.lease_id, "token")

    async def once() -> None:
        resolved = await desk.resolve(CALLER, connector_id="acme", scopes=scopes)
        desk.lease(resolved, scopes=scopes, hosts=hosts, run_id=None)
        await desk.redeem(ref, host=host, tenant_id=run.tenant_id, run_id=run.run_id)

    return once
