"""The world of the fault tests: a connector over the GitHub-shaped API, and the flows that get killed, frozen and cut.

Imported by the tests and by the processes that they kill (`faults/child.py`); so without pytest, and by name.
"""

import hmac
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.from_thread
import anyio.to_thread
import orjson

import auth_server as auth
import fault_agents
import fault_talks
import fault_timed
from interlock import dispatch, policy, sdk
from interlock.app import Interlock, Settings, parse_file
from interlock.app.settings import ExecutionSettings, MemorySettings, OAuthSettings
from interlock.kernel import JSON, Caller, Secret
from interlock.triggers import webhooks

TOKEN = "ghp_a_token_for_the_fault_tests"
BROWSER = Secret("cookie-of-the-browser-of-the-fault-tests")
REDIRECT = "http://127.0.0.1:7777/callback"
HOOK_SECRET = "the-secret-of-the-fault-tests"
CLIENT_SECRET = "LAMPS_SECRET"
"""The variable that holds the secret of our client."""

LEASE = 50.0
"""Seconds. Longer than any pause of a busy machine: where a lease is to lapse, clocks are moved, and nobody waits. Shorter
than what an operation may take, so that a frozen owner is stopped by its lease and not by its deadline."""

SETTLE = 1.0

REVIEWER = Caller(tenant_id="default", actor="reviewer", roles=frozenset({"approver"}))


class IssueCreate(sdk.Input):
    """Open an issue."""

    repo: sdk.Repo
    title: str


class Issue(sdk.Record):
    number: int
    title: str


class IssueList(sdk.Page):
    """List issues."""

    repo: sdk.Repo


class Issues(sdk.Record):
    issues: list[Issue] = sdk.at("")
    next_page: int | None = sdk.from_next("page")


class IssueClose(sdk.Input):
    """Close an issue."""

    repo: sdk.Repo
    number: int


class RefDelete(sdk.Input):
    """Delete a ref."""

    repo: sdk.Repo
    ref: str


class Deleted(sdk.Record):
    ref: str = sdk.echo("ref")


async def pair(input: Mapping[str, JSON], http: sdk.Http) -> JSON:  # noqa: A002
    """Two writes: an issue, and a comment on it."""
    issue = await http.request(
        sdk.HttpRequest(method="POST", path=f"/repos/{input['repo']}/issues", json_body={"title": input["title"]})
    )
    number = orjson.loads(issue.body)["number"]
    await http.request(
        sdk.HttpRequest(
            method="POST",
            path=f"/repos/{input['repo']}/issues/{number}/comments",
            json_body={"body": f"About {input['title']}"},
        )
    )
    return {"number": number}


def settle_pair(
    operation: sdk.Operation,
    input: Mapping[str, JSON],  # noqa: A002
    facts: sdk.Facts,
) -> Generator[sdk.HttpRequest, sdk.HttpResponse, sdk.Reconciled]:
    """Both, neither, or something for a person to look at."""
    found = yield _read(f"/repos/{input['repo']}/issues")
    issues = [each for each in orjson.loads(found.body) if each["title"] == input["title"]]
    if not issues:
        return sdk.Reconciled(verdict=sdk.Verdict.ABSENT, reason="there is no such issue")
    number = issues[0]["number"]
    comments = yield _read(f"/repos/{input['repo']}/issues/{number}/comments")
    if len(issues) == len(orjson.loads(comments.body)) == 1:
        return sdk.Reconciled(verdict=sdk.Verdict.HAPPENED, reason="both are there", output={"number": number})
    return sdk.Reconciled(verdict=sdk.Verdict.UNCLEAR, reason="only one of two is there", matches=len(issues))


def _read(path: str) -> sdk.HttpRequest:
    return sdk.HttpRequest(method="GET", path=path, purpose=sdk.Purpose.RECONCILE)


def connector(*, timeout: float = 60.0) -> sdk.Connector:
    """`timeout` is in seconds, for every request."""
    issues = "/repos/{repo}/issues"
    created: dict[str, Any] = {
        "input": IssueCreate, "output": Issue, "scopes": ["repo"], "settle_seconds": SETTLE, "timeout_seconds": timeout,
    }  # fmt: skip
    paired: dict[str, Any] = {
        **created, "output": {"type": "object"}, "schemas": {"output": "dynamic"}, "effect": "create",
        "idempotency": "none",
    }  # fmt: skip
    return sdk.Connector(
        "acme",
        version="1.0.0",
        description="Acme's issues.",
        base_url="https://api.acme.dev",
        auth=[
            sdk.token_profile(
                scopes=["repo"], probe=sdk.probe("/user", subject="/login", scopes_header="x-oauth-scopes")
            )
        ],
        operations=[
            sdk.post(
                "issue.create",
                issues,
                **created,
                reconcile=sdk.find(
                    issues,
                    query={"state": "all", "creator": "{subject}", "sort": "created", "direction": "desc"},
                    items="",
                    since="/created_at",
                    newest_first=True,
                    match={"/title": "{input.title}", "/user/login": "{subject}"},
                ),
            ),
            sdk.post("issue.blind", issues, **created, about="Open an issue; nothing can be found out by reading."),
            sdk.get(
                "issue.list", issues, input=IssueList, output=Issues, pagination=sdk.link_pages(), conditional=True
            ),
            sdk.patch(
                "issue.close",
                issues + "/{number}",
                input=IssueClose,
                output=Issue,
                constants={"state": "closed"},
                settle_seconds=SETTLE,
                timeout_seconds=timeout,
                reconcile=sdk.find(issues + "/{number}", match={"/state": "closed"}),
            ),
            sdk.delete(
                "ref.delete",
                "/repos/{repo}/git/refs/heads/{ref}",
                input=RefDelete,
                output=Deleted,
                settle_seconds=SETTLE,
                timeout_seconds=timeout,
                success=[204],
                reconcile=sdk.find("/repos/{repo}/git/ref/heads/{ref}", absent_status=[404], gone=True),
            ),
            sdk.handler("issue.pair", pair, **paired, about="An issue with a comment."),
            sdk.handler(
                "issue.settled_pair",
                pair,
                **paired,
                about="An issue with a comment, that can be looked up.",
                reconcile=sdk.settle_by(settle_pair),
            ),
        ],
        triggers=[
            sdk.trigger(
                "issues",
                "webhook",
                signal={"type": "object", "properties": {"number": {"type": "integer"}}},
                about="An issue changed.",
                verification={"scheme": "github"},
            )
        ],
    )


def service(url: str) -> sdk.Manifest:
    """A service whose accounts are connected in a browser."""
    usual: dict[str, Any] = {"probe": sdk.probe("/me", subject="/login"), "scopes": ["read"]}
    return sdk.Connector(
        "lamps",
        version="1.0.0",
        description="Lamps.",
        base_url=url,
        auth=[sdk.oauth2(authorize_url="/authorize", token_url="/token", issuer=url, **usual)],
        operations=[sdk.get("lamp.list", "/lamps", input=sdk.Input, output=Deleted, about="All lamps.")],
    ).manifest


POLICY = policy.Policy(
    rules=(
        policy.Rule(rule_id="asked", then=policy.Effect.ASK, actor=("agent",)),
        policy.Rule(rule_id="open", then=policy.Effect.ALLOW),
    )
)
AGENT = Caller(tenant_id="default", actor="agent", roles=frozenset())

RULES = parse_file(
    Path("interlock.toml"),
    """
    [[budgets]]
    name = "models"
    per = "tenant"
    capability = "inference.*"
    spend = { unit = "tokens", limit = 100_000_000, per_seconds = 86_400 }
    """,
)
"""What counts questions to models, in each process."""


def settings(url: str, server_url: str, *, memory: str | None = None) -> Settings:
    """`memory` is the file of the agents' memory; without one it is in memory."""
    kept = MemorySettings(provider="memory") if memory is None else MemorySettings(config={"path": memory})
    return Settings(
        app=fault_talks.APP,
        memory=kept,
        store=url,
        blobs="unused",
        actor="operator",
        execution=ExecutionSettings(egress_allow=(server_url.removeprefix("http://"),), owner_lease=LEASE),
        oauth={"lamps": OAuthSettings(client_id=auth.CLIENT.client_id, client_secret_env=CLIENT_SECRET)},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a child is told to do: a flow, in a repository of its own, so that its effects can be counted."""

    flow: str
    url: str
    server_url: str
    repo: str
    key: str | None = None
    times: int = 1
    approval_id: str | None = None
    timeout: float = 60.0
    memory: str | None = None
    signal: int = 0
    """Sent to itself at the boundary below. SQLite only: for Postgres a proxy does it."""
    when: str = "before"
    commit: int = 0


Flow = Callable[[Interlock, Order], Awaitable[JSON]]


async def create(il: Interlock, order: Order) -> JSON:
    return await _invoke(il, order, "acme.issue.create")


async def blind(il: Interlock, order: Order) -> JSON:
    return await _invoke(il, order, "acme.issue.blind")


async def paired(il: Interlock, order: Order) -> JSON:
    return await _invoke(il, order, "acme.issue.pair")


async def settled_pair(il: Interlock, order: Order) -> JSON:
    return await _invoke(il, order, "acme.issue.settled_pair")


async def keyed(il: Interlock, order: Order) -> JSON:
    return await _invoke(il, order, "acme.issue.create", key=order.key or "one")


async def read(il: Interlock, order: Order) -> JSON:
    outcome = await il.invoke("acme.issue.list", {"repo": order.repo}, timeout=order.timeout)
    return outcome.to_json()


async def approved(il: Interlock, order: Order) -> JSON:
    """Held for the agent, approved by somebody else, executed."""
    held = await il.as_caller(AGENT).invoke("acme.issue.create", {"repo": order.repo, "title": "one"})
    assert held.approval_id is not None, held
    await il.as_caller(REVIEWER).approvals.approve(held.approval_id)
    return (await il.approvals.execute(held.approval_id)).to_json()


async def execute(il: Interlock, order: Order) -> JSON:
    """Execute a held run that somebody has approved."""
    return (await il.approvals.execute(order.approval_id or "")).to_json()


@dispatch.handler("filing")
async def filing(event: dispatch.Event, context: dispatch.Context) -> JSON:
    """Open an issue, as a step."""
    made = await context.invoke("acme.issue.create", {**event.payload, "title": "one"}, step="issue")
    return made.output


async def hand_over(il: Interlock) -> None:
    """What a worker does, until nothing is left."""
    worker = il.worker(filing)
    while due := await il.dispatch.list():
        for each in due:
            await worker.handle(each.due.job)


async def handled(il: Interlock, order: Order) -> JSON:
    """An event is submitted, and its handler called."""
    outcome = await il.dispatch.submit("filing", {"repo": order.repo}, idempotency_key="one")
    await hand_over(il)
    return outcome.run_id


async def later(il: Interlock, order: Order) -> JSON:
    """A call is left for later, and made."""
    outcome = await il.dispatch.invoke("acme.issue.create", {"repo": order.repo, "title": "one"})
    await hand_over(il)
    return outcome.run_id


async def callback(il: Interlock, order: Order) -> JSON:
    """Take what a browser came back with, which is the order's key."""
    proven = await il.connections.installs.take_callback(order.key or "", browser=BROWSER, redirect_uri=REDIRECT)
    return proven.record()


async def renew(il: Interlock, _: Order) -> JSON:
    """Have the credential of `work` renewed."""
    return (await il.connections.refresh("work")).record()


async def lend(il: Interlock, order: Order) -> JSON:
    """The token of `work`, for as many threads of a program that need it at once."""

    def use() -> str:
        lease = anyio.from_thread.run(il.connections.leases.request, "work")
        (host,) = lease.hosts
        token = partial(il.connections.leases.redeem, lease.lease_id, "access_token", host=host)
        return anyio.from_thread.run(token).reveal()

    told: list[JSON] = []

    async def run() -> None:
        told.append(await anyio.to_thread.run_sync(use))

    async with anyio.create_task_group() as threads:
        for _ in range(order.times):
            threads.start_soon(run)
    return told


def delivery() -> webhooks.Incoming:
    """What Acme reports."""
    body = b'{"number":7}'
    signature = hmac.digest(HOOK_SECRET.encode(), body, "sha256").hex()
    headers = (("x-hub-signature-256", f"sha256={signature}"), ("x-github-delivery", "d-1"))
    return webhooks.Incoming(method="POST", url="", headers=headers, body=body)


async def deliver(il: Interlock, order: Order) -> JSON:
    """Take a delivery, on the route whose token is the order's key."""
    outcome = await il.intake.take(order.key or "", delivery())
    return outcome.came.value


async def archived(il: Interlock, order: Order) -> JSON:
    """Have all runs that ended leave, for the folder that is the order's key."""
    done = await il.archives.write(older_than=timedelta(0), folder=Path(order.key or ""))
    return done.runs


async def many_keys(il: Interlock, order: Order) -> JSON:
    """One write for each of many keys, the same keys in every process."""
    outcomes: list[JSON] = []
    for number in range(order.times):
        outcome = await il.invoke(
            "acme.issue.create", {"repo": order.repo, "title": f"{number}"}, idempotency_key=f"key-{number}"
        )
        outcomes.append({"run_id": outcome.run_id, "output": outcome.output, "state": outcome.state.value})
    return outcomes


async def _invoke(il: Interlock, order: Order, capability: str, *, key: str | None = None) -> JSON:
    outcome = await il.invoke(
        capability, {"repo": order.repo, "title": "one"}, idempotency_key=key, timeout=order.timeout
    )
    return outcome.to_json()


async def guest_turn(il: Interlock, order: Order) -> JSON:
    """A turn of another framework's agent; that framework is loaded by those alone who want it."""
    import fault_guests

    return await fault_guests.take_turn(il, order)


FLOWS: Mapping[str, Flow] = cast(
    "Mapping[str, Flow]",
    {
        "scheduled": fault_timed.scheduled,
        "polled": fault_timed.polled,
        "create": create,
        "deliver": deliver,
        "blind": blind,
        "pair": paired,
        "settled_pair": settled_pair,
        "keyed": keyed,
        "read": read,
        "approved": approved,
        "execute": execute,
        "many_keys": many_keys,
        "callback": callback,
        "renew": renew,
        "lend": lend,
        "archived": archived,
        "handled": handled,
        "later": later,
        "agent_turn": fault_agents.take_turn,
        "guest_turn": guest_turn,
        "agent_delegates": fault_talks.delegate,
        "agent_talks": fault_talks.talk,
        "agent_under_policy": fault_talks.under_policy,
        "agent_held": fault_talks.until_held,
        "agent_decided": fault_talks.decide,
        "agent_speaks": fault_talks.listen,
    },
)
