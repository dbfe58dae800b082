"""A process that fills a store with everything that Interlock keeps, says what, and is killed in the middle of a call:
`python restart_victim.py URL SERVER REPO FOLDER`."""

import json
import sys
from pathlib import Path

import anyio
import anyio.to_thread

from fault_world import AGENT, POLICY, REVIEWER, TOKEN, connector, settings
from interlock import Interlock, plane
from interlock.app import Settings, SettingsFile, assembly, parse_file
from interlock.app.settings import ExecutionSettings
from interlock.kernel import Caller, SystemClock, Uuid7Ids

BUDGETS = '[[budgets]]\nname = "year"\nper = "tenant"\nspend = { limit = 10, per_seconds = 31622400, unit = "cents" }\n'
MANIFEST = connector().manifest
INTENT = f"sha256:{'0' * 64}"


def chosen(url: str, server: str, folder: Path) -> tuple[Settings, SettingsFile]:
    """Blobs beside the store, for everything that is kept of an output."""
    there = settings(url, server)
    execution = ExecutionSettings(egress_allow=there.execution.egress_allow, inline_bytes=0)
    blobs = ":memory:" if url == ":memory:" else str(folder / "blobs")
    kept = Settings(store=url, blobs=blobs, actor="operator", execution=execution)
    return kept, parse_file(folder / "interlock.toml", BUDGETS)


async def fill(url: str, server: str, repo: str, folder: Path) -> None:
    clock = SystemClock()
    kept, file = chosen(url, server, folder)
    parts = await assembly.assemble(
        kept, file=file, clock=clock, ids=Uuid7Ids(clock), create=True, rules=POLICY, more_connectors=[MANIFEST]
    )
    il = Interlock(parts, Caller(actor="operator"))
    await il.connections.connect_token("acme", TOKEN, base_url=server, name="restarted")
    ask = {"repo": repo, "title": "one"}
    done = await il.invoke("acme.issue.create", ask, connection="restarted", idempotency_key="one", cost={"cents": 10})
    held = await il.as_caller(AGENT).invoke("acme.issue.create", {**ask, "title": "held"}, connection="restarted")
    assert held.approval_id is not None
    await il.as_caller(REVIEWER).approvals.approve(held.approval_id)
    authority = parts.wiring.authorizer.issue(INTENT, audience=assembly.NODE_ID, target_class=plane.LOCAL_HTTP)
    told = {"done": done.run_id, "output": done.output, "approval": held.approval_id, "authority": authority.record()}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
    assert await anyio.to_thread.run_sync(sys.stdin.readline) == "go\n"
    await il.invoke("acme.issue.create", {**ask, "title": "at work"}, connection="restarted")


if __name__ == "__main__":
    url, server, repo, folder = sys.argv[1:]
    anyio.run(fill, url, server, repo, Path(folder))
