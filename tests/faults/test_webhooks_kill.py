"""SIGKILL at every commit of a delivery: the service sends again what was not answered, and it is done once."""

from collections.abc import Callable

import anyio

from fault_kills import commits_of, kill_at
from fault_world import HOOK_SECRET, delivery
from fix_faults import Case, Child
from interlock.kernel import Secret
from interlock.triggers.webhooks import Came, DeliveryState, Wanted

MakeCase = Callable[[], Case]


async def make_route(case: Case) -> str:
    """The token of a route."""
    async with case.open() as il:
        wanted = Wanted(name="issues", handler="triage")
        made = await il.routes.create("acme", on=[wanted], secret=Secret(HOOK_SECRET))
    assert made.address is not None
    return made.address.reveal().rpartition("/")[2]


async def send_again(case: Case, token: str) -> Came:
    """What becomes of the delivery when it comes again; and that it was admitted once."""
    async with case.open() as il:
        outcome = await il.intake.take(token, delivery())
        (kept,) = await il.deliveries.list(states=[DeliveryState.ACCEPTED])
        (run,) = await il.runs.list()
        assert kept.facts["runs"] == [{"trigger": "acme.issues", "run_id": run.run_id}]
        assert run.state.value == "queued"
        return outcome.came


def test_a_kill_at_every_commit_of_a_delivery(child: Child, make_case: MakeCase) -> None:
    case = make_case()
    commits = commits_of(child, case, "deliver", key=anyio.run(make_route, case))
    assert len(commits) >= 1
    came: dict[str, Came] = {}
    for number in range(1, len(commits) + 1):
        for when in ("before", "after"):
            case = make_case()
            token = anyio.run(make_route, case)
            killed = kill_at(child, case, "deliver", when, number, key=token)
            came[killed.boundary] = anyio.run(send_again, case, token)
    assert set(came.values()) == {Came.ACCEPTED, Came.DUPLICATE}, came
