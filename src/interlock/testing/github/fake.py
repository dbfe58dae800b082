"""The state of one fake service, and what can be done to it from the control channel."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import anyio

from interlock import kernel
from interlock.testing.github import events, told_shapes, webhooks
from interlock.testing.github.answers import Refusal
from interlock.testing.github.description import Description
from interlock.testing.github.faults import Fault, make_fault, matches
from interlock.testing.github.hooks import Hook
from interlock.testing.github.posting import Post
from interlock.testing.github.traffic import Exchange, Limits, Log
from interlock.testing.github.wire import Hold, Receive, Wires
from interlock.testing.github.world import CheckRun, Release, Repository, World


@dataclass(frozen=True, slots=True)
class Token:
    """Whose a token is, and what it may do. Without scope `repo` it can only read what is public. From `expires_at` on it is
    a bad one."""

    login: str
    scopes: tuple[str, ...] = ("repo",)
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How a fake starts, and what `reset` returns to."""

    tokens: Mapping[str, Token]
    repos: Sequence[str]
    clock: kernel.Clock
    rate_limit: int
    check_answers: bool
    issues: Sequence[str] = ()
    """Titles of open issues in the first repository, of the first token's login."""


class Fake:
    """One GitHub-shaped service. Lives on one event loop; nothing but the waiting is asynchronous."""

    def __init__(self, setup: Setup, *, url: str) -> None:
        self.setup = setup
        self.url = url
        self.wires = Wires()
        self.post = Post()
        self.description = Description.load()
        self._holds: dict[Hold, Exchange] = {}
        self._another_hold = anyio.Event()
        self.reset()

    def reset(self) -> None:
        """The state after the start. Requests that wait are dropped."""
        self.drop_holds()
        setup = self.setup
        logins = frozenset(token.login for token in setup.tokens.values())
        self._faults: list[Fault] = []
        self.log = Log()
        self.limits = Limits(setup.rate_limit, setup.clock)
        self.world = World(url=self.url, clock=setup.clock, logins=logins, post=self.post)
        for full_name in setup.repos:
            self.world.add_repository(full_name)
        for title in setup.issues:
            login = next(iter(setup.tokens.values())).login
            self.world.add_issue(self._repository(setup.repos[0]), login=login, title=title, body=None)

    def drop_holds(self) -> None:
        """End every wait without an answer."""
        for hold in self._holds:
            hold.settle("dropped")

    def fault(self, **fault: Any) -> None:
        """Order a fault."""
        self._faults.append(make_fault(**fault))

    def clear_faults(self) -> None:
        """Forget the faults that were not met yet."""
        self._faults.clear()

    def take_fault(self, exchange: Exchange) -> Fault | None:
        """The oldest fault that means this request, counted down."""
        for fault in self._faults:
            if matches(fault.match, operation_id=exchange.operation_id, line=exchange.line):
                fault.times -= 1
                if not fault.times:
                    self._faults.remove(fault)
                return fault
        return None

    def effects(self, match: str) -> int:
        """How many matching requests changed something."""
        return self.log.effects(match)

    def requests(self, match: str) -> list[dict[str, Any]]:
        """The matching requests."""
        return [asdict(exchange) for exchange in self.log.requests(match)]

    async def wait(
        self, hold: Hold, exchange: Exchange, *, receive: Receive | None, seconds: float | None = None
    ) -> str:
        """Hold a request; see `Hold.wait`."""
        self._holds[hold] = exchange
        self._another_hold.set()
        self._another_hold = anyio.Event()
        try:
            return await hold.wait(receive, seconds=seconds)
        finally:
            del self._holds[hold]

    async def wait_held(self, count: int, timeout: float) -> list[dict[str, Any]]:  # noqa: ASYNC109 - the caller's word
        """The requests that are held now, once they are so many. Raises TimeoutError."""
        with anyio.fail_after(timeout):
            while len(self._held()) < count:
                await self._another_hold.wait()
        return [asdict(self._holds[hold]) for hold in self._held()]

    def release(self) -> int:
        """Let every held request go on."""
        held = self._held()
        for hold in held:
            hold.settle("released")
        return len(held)

    def limit(self, remaining: int, reset_in: float) -> None:
        """Set the primary limit of every login."""
        for token in self.setup.tokens.values():
            self.limits.set(token.login, remaining=remaining, reset_in=reset_in)

    def add_repository(self, full_name: str, *, private: bool) -> None:
        """Add a repository. Raises ValueError for a bad or taken name."""
        self.world.add_repository(full_name, private=private)

    def add_issues(self, full_name: str, count: int, title: str) -> None:
        """Add numbered issues. Raises ValueError for an unknown repository."""
        repo = self._repository(full_name)
        for number in range(1, count + 1):
            issue = self.world.add_issue(repo, login=repo.owner, title=f"{title} {number}", body=None)
            events.issue(self.world, repo, repo.owner, "opened", issue)

    def add_check_run(self, full_name: str, ref: str, name: str, status: str, conclusion: str | None) -> None:
        """Add a check run. Raises ValueError for an unknown repository or commit."""
        repo = self._repository(full_name)
        commit = repo.find_commit(ref)
        if commit is None:
            raise ValueError(f"no commit {ref!r} in {full_name!r}")
        run = CheckRun(
            check_run_id=self.world.new_id(),
            head_sha=commit.sha,
            name=name,
            status=status,
            conclusion=conclusion,
            started_at=self.world.now(),
        )
        repo.check_runs.setdefault(commit.sha, []).append(run)
        events.check_run(self.world, repo, run)

    def add_release(self, full_name: str, tag: str) -> None:
        """Release something. Raises ValueError for an unknown repository."""
        repo, world = self._repository(full_name), self.world
        item = Release(release_id=world.new_id(), tag=tag, login=repo.owner, created_at=world.now())
        repo.releases.append(item)
        events.release(world, repo, item)

    def add_hook(self, full_name: str, url: str, secret: str | None, wanted: list[str]) -> int:
        """Add a webhook. Raises ValueError for an unknown repository and a bad hook."""
        repo = self._repository(full_name)
        try:
            hook = webhooks.add_hook(self.world, repo, url=url, secret=secret, wanted=wanted)
        except Refusal as refusal:
            raise ValueError(f"no hook to {url!r}: {refusal.answer.body}") from refusal
        events.ping(self.world, repo, repo.owner, hook)
        return hook.hook_id

    async def wait_delivered(self, hook_id: int, count: int, timeout: float) -> list[dict[str, Any]]:  # noqa: ASYNC109 - the caller's word
        """All deliveries of a hook, oldest first, once something came of so many. Raises TimeoutError and ValueError."""
        hook = self._hook(hook_id)
        with anyio.fail_after(timeout):
            found = await self.post.wait(hook, count)
        return [{**told_shapes.delivery(each, hook), "payload": each.payload.decode()} for each in found]

    def redeliver(self, hook_id: int, delivery_id: int) -> None:
        """Deliver once more. Raises ValueError for an unknown delivery."""
        hook = self._hook(hook_id)
        for each in hook.deliveries:
            if each.delivery_id == delivery_id:
                return events.again(self.world, hook, each)
        raise ValueError(f"no delivery {delivery_id} of hook {hook_id}")

    def _repository(self, full_name: str) -> Repository:
        repo = self.world.find_repository(full_name)
        if repo is None:
            raise ValueError(f"no repository {full_name!r}")
        return repo

    def _hook(self, hook_id: int) -> Hook:
        hooks = (repo.hooks.get(hook_id) for repo in self.world.repositories.values())
        found = next((each for each in hooks if each is not None), None)
        if found is None:
            raise ValueError(f"no hook {hook_id}")
        return found

    def _held(self) -> list[Hold]:
        return [hold for hold in self._holds if hold.listed and not hold.outcome]
