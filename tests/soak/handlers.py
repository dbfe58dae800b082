"""What workers do in `soak_under_fire.py`: one comment for each event, which is not to be written twice. Some fail once it is."""

from typing import Any

from interlock import dispatch
from interlock.kernel import JSON


@dispatch.handler("soak")
async def soak(event: dispatch.Event, context: dispatch.Context) -> JSON:
    data: Any = event.signal.get("data")
    number = event.payload["number"] if data is None else data["issue"]["number"]
    assert isinstance(number, int)
    asked = {"repo": "acme/rocket", "issue_number": 1, "body": f"event {number}"}
    await context.invoke("github.comment.create", asked, step="say", connection=event.connection_id)
    if number % 10 == 3 and context.attempt == 1:
        raise RuntimeError("this one fails at first")
    if number % 100 == 7:
        raise dispatch.Reject("this one is given up")
    return number
