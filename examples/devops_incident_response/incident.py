"""What this team does when somebody opens an issue: say that it was seen, find out who is on call, hand it to them.

`interlock serve` and `interlock worker` import this module, because `[app] modules` in the settings names it.
"""

import json
import os
from pathlib import Path
from typing import Any

from interlock import dispatch
from interlock.kernel import JSON


@dispatch.handler("incident")
async def incident(event: dispatch.Event, context: dispatch.Context) -> JSON:
    """One opened issue. It may be called again for the same one, after a failure or a crash: what it asks for by
    `context.invoke` is not done twice, since each step has a name."""
    data: Any = event.signal["data"]
    at = {"repo": data["repository"]["full_name"], "issue_number": data["issue"]["number"]}

    async def say(text: str, *, step: str) -> None:
        await context.invoke("github.comment.create", {**at, "body": text}, step=step, connection=event.connection_id)

    await say("Seen. Looking for who is on call.", step="acknowledge")
    person = on_call()
    await context.invoke(
        "github.issue.label", {**at, "labels": ["incident"]}, step="label", connection=event.connection_id
    )
    await say(f"{person} is on call and takes this.", step="hand over")
    return {"issue": at["issue_number"], "on_call": person, "attempt": context.attempt}


def on_call() -> str:
    """Who is on call now. What is wrong with the roster may be right a moment later, so what this raises is tried again, as
    often as the route says; after that it takes a person."""
    return json.loads(Path(os.environ["ON_CALL_ROSTER"]).read_text())["on_call"]
