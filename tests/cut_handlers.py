"""What workers do in `tests/rig/test_cut_worker.py`: two comments, and between them a wait for a file of the worker's own."""

import os
from pathlib import Path

import anyio

from interlock import dispatch
from interlock.kernel import JSON


@dispatch.handler("linger")
async def linger(event: dispatch.Event, context: dispatch.Context) -> JSON:
    """Odd ones are told of twice, so that the worker still has something to do once it goes on."""
    asked = {"repo": "acme/rocket", "issue_number": 1, "body": f"begun {event.payload['number']}"}
    await context.invoke("github.comment.create", asked, step="begun", connection=event.connection_id)
    gate = Path(os.environ["GATE"])
    while not gate.exists():  # noqa: ASYNC110, ASYNC240 - it is opened by another process
        await anyio.sleep(0.05)
    if int(str(event.payload["number"])) % 2:
        asked = {**asked, "body": f"ended {event.payload['number']}"}
        await context.invoke("github.comment.create", asked, step="ended", connection=event.connection_id)
    return gate.name
