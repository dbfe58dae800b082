"""An Interlock per simulated process, on every store, against the GitHub-shaped API.

A process is what `Interlock.open` gives, without its background tasks and on a clock that only moves when somebody
sleeps or the test says so: a test decides when a lease lapses and who recovers. `World.process` ends in good order and
then verifies the packet of every run that it can see; `World.doomed` dies without a word.
"""

import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

import shapes
from interlock import connections, policy, runs, sdk
from interlock.app import Interlock, Settings, assembly, inferring, parse_file
from interlock.app.settings import ApprovalSettings, ConnectorSettings, ExecutionSettings
from interlock.kernel import JSON, Caller, Clock, InterlockError, StoreError, Uuid7Ids
from interlock.testing import ManualClock, github

TOKEN = "ghp_canary0123456789+/tail"
LEASE = 300.0
"""Seconds after which a silent process counts as dead here: longer than any pause that a call makes by itself."""

REVIEWER = Caller(tenant_id="default", actor="ada", roles=frozenset({"approver"}))
STRANGER = Caller(tenant_id="elsewhere", actor="ada", roles=frozenset({"approver"}))

ALLOW = policy.Policy(rules=(policy.Rule(rule_id="all", then=policy.Effect.ALLOW),))
ASK_WRITES = policy.DEFAULT


class IssueCreate(sdk.Input):
    """Open an issue."""

    repo: sdk.Repo
    title: str
    body: str | None = None


class IssueNumber(sdk.Input):
    """Name an issue."""

    repo: sdk.Repo
    issue_number: int


class CommentCreate(IssueNumber):
    """Say something."""

    body: str


class IssuePage(sdk.Page):
    """List issues."""

    repo: sdk.Repo


class Issue(sdk.Record):
    number: int
    title: str
    state: str
    author: str = sdk.at("/user/login")


class Comment(sdk.Record):
    body: str


class Issues(sdk.Record):
    issues: list[Issue] = sdk.at("")
    next_page: int | None = sdk.from_next("page")


class Account(sdk.Record):
    login: str


class Told(sdk.Record):
    number: int


async def file_issue(input: Mapping[str, JSON], http: sdk.Http) -> JSON:  # noqa: A002
    """Open an issue and read it back: a write and a read in one handler."""
    path = f"/repos/{input['repo']}/issues"
    made = await http.request(sdk.HttpRequest(method="POST", path=path, json_body={"title": str(input["title"])}))
    number = json.loads(made.body)["number"]
    read = await http.request(sdk.HttpRequest(method="GET", path=f"{path}/{number}"))
    return {"number": json.loads(read.body)["number"]}


FIND = sdk.find(
    "/repos/{repo}/issues",
    query={"state": "all", "creator": "{subject}", "sort": "created", "direction": "desc"},
    items="",
    since="/created_at",
    newest_first=True,
    match={"/title": "{input.title}", "/body": "{input.body}", "/user/login": "{subject}"},
)

LIMITED = [
    sdk.error(
        403,
        "rate_limited",
        when=sdk.when(header="x-ratelimit-remaining", equals="0"),
        retry_after=sdk.wait(header="retry-after", reset_header="x-ratelimit-reset", seconds=60),
    ),
    sdk.error(
        403,
        "rate_limited",
        when=sdk.when(contains="secondary rate limit"),
        retry_after=sdk.wait(header="retry-after", seconds=60),
    ),
]


def operations(handler: str = f"{__name__}:file_issue") -> list[sdk.Draft]:
    return [
        sdk.post(
            "issue.create", "/repos/{repo}/issues", input=IssueCreate, output=Issue, scopes=["repo"], reconcile=FIND
        ),
        sdk.patch(
            "issue.close",
            "/repos/{repo}/issues/{issue_number}",
            input=IssueNumber,
            output=Issue,
            scopes=["repo"],
            constants={"state": "closed"},
            reconcile=sdk.find("/repos/{repo}/issues/{issue_number}", match={"/state": "closed"}),
        ),
        sdk.post(
            "comment.create",
            "/repos/{repo}/issues/{issue_number}/comments",
            input=CommentCreate,
            output=Comment,
            scopes=["repo"],
        ),
        sdk.get(
            "issue.list",
            "/repos/{repo}/issues",
            input=IssuePage,
            output=Issues,
            scopes=["repo"],
            pagination=sdk.link_pages(),
            conditional=True,
        ),
        sdk.get("account.fetch", "/user", input=sdk.Input, output=Account, about="Who am I?"),
        sdk.handler("issue.file", handler, effect="create", input=IssueCreate, output=Told, scopes=["repo"]),
    ]


def connector(**changes: Any) -> sdk.Manifest:
    """The connector `acme`, whose service is the GitHub-shaped API."""
    declaration: dict[str, Any] = {
        "version": "1.0.0",
        "description": "Acme's issues.",
        "base_url": "https://api.acme.dev",
        "category": "developer_tools",
        "auth": [
            sdk.token_profile(
                scopes=["repo"],
                probe=sdk.probe(
                    "/user",
                    subject="/login",
                    scopes_header="x-oauth-scopes",
                    expires_header="github-authentication-token-expiration",
                ),
            )
        ],
        "errors": LIMITED,
        "operations": operations(),
    }
    return sdk.Connector("acme", **{**declaration, **changes}).manifest


ACME = connector()


@dataclass
class World:
    """One store, one service, one clock, and any number of processes."""

    store_url: str
    folder: Path
    server: github.GitHub
    clock: Clock
    manifest: sdk.Manifest = field(default_factory=lambda: ACME)
    law: policy.Policy | None = ALLOW

    @property
    def host(self) -> str:
        return self.server.url.removeprefix("http://")

    def settings(self, **changes: Any) -> Settings:
        execution: dict[str, Any] = {"owner_lease": LEASE, "egress_allow": (self.host,), **changes.pop("execution", {})}
        values: dict[str, Any] = {
            "store": self.store_url,
            "folder": self.folder,
            "blobs": ":memory:" if ":memory:" in self.store_url else str(self.folder / "blobs"),
            "actor": "agent",
            "execution": ExecutionSettings(**execution),
            "approvals": ApprovalSettings(),
            "connectors": ConnectorSettings(),
            **changes,
        }
        return Settings(**values)

    async def assemble(
        self,
        *,
        rules: str | None = None,
        manifest: sdk.Manifest | Sequence[sdk.Manifest] | None = None,
        models: inferring.Given | None = None,
        **changes: Any,
    ) -> assembly.Parts:
        """The parts of a process. `rules` is the text of a settings file with policy and budgets."""
        file = None if rules is None else parse_file(self.folder / "interlock.toml", rules)
        return await assembly.assemble(
            self.settings(**changes),
            file=file,
            clock=self.clock,
            ids=Uuid7Ids(self.clock),
            create=True,
            rules=None if rules is not None and "[policy" in rules else self.law,
            more_connectors=manifest if isinstance(manifest, Sequence) else [manifest or self.manifest],
            models=models,
        )

    @asynccontextmanager
    async def process(self, **changes: Any) -> AsyncGenerator["Process"]:
        """A process that ends in good order; every run is then proven."""
        parts = await self.assemble(**changes)
        process = Process(parts)
        try:
            yield process
            await process.prove()
        finally:
            with anyio.CancelScope(shield=True):
                await assembly.close(parts)

    @asynccontextmanager
    async def doomed(self, **changes: Any) -> AsyncGenerator["Process"]:
        """A process that is gone afterwards, without having given up its hold."""
        parts = await self.assemble(**changes)
        try:
            yield Process(parts)
        finally:
            with anyio.CancelScope(shield=True):
                await parts.wiring.node.aclose()
            parts.store.close()

    async def killed(
        self, kind: str, work: Callable[["Process"], Awaitable[object]], *, match: str = "issues/create", **changes: Any
    ) -> None:
        """A process that dies while the service holds its request (`hold`: applied, `hold_before`: never carried out).
        Afterwards its lease has lapsed."""
        async with self.doomed(**changes) as process:

            async def call() -> None:
                with suppress(StoreError):
                    await work(process)

            async with anyio.create_task_group() as group:
                self.server.fault(kind, match=match)
                group.start_soon(call)
                await anyio.to_thread.run_sync(self.server.wait_held)
                process.parts.store.close()
                group.cancel_scope.cancel()
        self.server.release()
        self.advance(LEASE + 1)

    def advance(self, seconds: float) -> None:
        assert isinstance(self.clock, ManualClock)
        self.clock.advance(seconds)


class Process:
    """One simulated process, acting for `agent` unless told otherwise."""

    def __init__(self, parts: assembly.Parts) -> None:
        self.parts = parts
        self.il = Interlock(
            parts, Caller(tenant_id="default", actor="agent", roles=frozenset({"approver"})), operator=True
        )
        self.reviewer = self.il.as_caller(REVIEWER)

    async def connect(self, url: str, **changes: Any) -> connections.Connection:
        return await self.il.connections.connect_token("acme", changes.pop("token", TOKEN), base_url=url, **changes)

    async def create(self, title: str = "Door", **changes: Any) -> runs.Outcome:
        return await self.il.invoke("acme.issue.create", {"repo": "acme/rocket", "title": title}, **changes)

    async def beat(self) -> None:
        """What `Ownership.keep` does once, for a clock that does not run."""
        ownership = self.parts.wiring.ownership
        await ownership.renew()
        for renewal in ownership.renewals:
            await renewal()

    async def sweep(self) -> Sequence[runs.Recovered]:
        """What `Recovery.keep` does once."""
        return await self.parts.recovery.sweep()

    async def states(self) -> Sequence[str]:
        """The states of all runs, oldest first."""
        return [run.state.value for run in reversed(await self.il.runs.list())]

    async def last(self) -> runs.History:
        """The newest run with everything."""
        [run] = await self.il.runs.list(limit=1)
        return await self.il.runs.history(run.run_id)

    async def events(self, run_id: str) -> Sequence[str]:
        return [event.type for event in await self.il.runs.events(run_id)]

    async def prove(self) -> None:
        """Every run's packet verifies and has the published shape, and no ended run has an open attempt."""
        trust = runs.Trust.parse(await self.il.trust())
        for run in await self.il.runs.list(limit=1000):
            packet = await self.il.runs.packet(run.run_id)
            verdict = runs.verify.verify(packet, trust=trust)
            assert verdict.ok, (verdict.status, verdict.problems)
            assert not shapes.flaws("packet", packet)
            history = await self.il.runs.history(run.run_id)
            if run.state is not runs.State.RUNNING:
                assert all(each.state is not runs.AttemptState.RUNNING for each in history.attempts), run.state


def shown(outcome: runs.Outcome) -> dict[str, Any]:
    """The output, which is an object in all operations here."""
    assert isinstance(outcome.output, dict)
    return cast("dict[str, Any]", outcome.output)


def asked(outcome: runs.Outcome) -> str:
    """The approval that a held run waits for."""
    assert outcome.approval_id is not None
    return outcome.approval_id


def run_of(error: BaseException) -> str:
    """The run that an error is about."""
    assert isinstance(error, InterlockError)
    assert error.run_id is not None
    return error.run_id


ENDING = "ghp_that_ends_0123456789"
"""A token that ends an `HOUR` after manual clocks begin."""
HOUR = timedelta(hours=1)


class ServiceClock(ManualClock):
    """The service's clock shows the time of the test that is running."""

    shown: Clock = ManualClock()

    def now(self) -> datetime:
        return self.shown.now()


@pytest.fixture(scope="session")
def running_github() -> Iterator[tuple[github.GitHub, ServiceClock]]:
    ending = github.Token("octo-agent", expires_at=ManualClock().now() + HOUR)
    clock, tokens = ServiceClock(), {TOKEN: "octo-agent", ENDING: ending, "ghp_of_mona_0123456789": "mona"}
    with github.GitHub.start(tokens=tokens, clock=clock) as server:
        yield server, clock


@pytest.fixture
def github_server(running_github: tuple[github.GitHub, ServiceClock], clock: ManualClock) -> github.GitHub:
    """The service as it is after its start."""
    server, service_clock = running_github
    service_clock.shown = clock
    server.reset()
    return server


@pytest.fixture
def root_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_KEY", os.urandom(32).hex())


@pytest.fixture
def clock() -> ManualClock:
    """The time for everybody in a world, the service included."""
    return ManualClock()


@pytest.fixture
def world(store_url: str, tmp_path: Path, github_server: github.GitHub, root_key: None, clock: ManualClock) -> World:
    """A world on each engine in turn."""
    return World(store_url=store_url, folder=tmp_path, server=github_server, clock=clock)


@pytest.fixture
def every_world(
    every_store_url: str, tmp_path: Path, github_server: github.GitHub, root_key: None, clock: ManualClock
) -> World:
    """As `world`, and in memory."""
    return World(store_url=every_store_url, folder=tmp_path, server=github_server, clock=clock)


@pytest.fixture
def file_world(
    sqlite_url: str, tmp_path: Path, github_server: github.GitHub, root_key: None, clock: ManualClock
) -> World:
    """As `world`, on one file, for what is not about stores."""
    return World(store_url=sqlite_url, folder=tmp_path, server=github_server, clock=clock)
