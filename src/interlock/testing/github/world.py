"""What the fake service knows: repositories with their issues, pull requests, git objects, statuses and check runs.

Plain mutable records, touched only by the server's event loop. How they look from outside is said in `shapes`.
"""

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from interlock import kernel
from interlock.testing.github.hooks import Hook
from interlock.testing.github.posting import Post


@dataclass(slots=True, kw_only=True)
class Commit:
    """A commit; `tree` holds the blob of every path."""

    sha: str
    tree: Mapping[str, str]
    parents: tuple[str, ...]
    message: str
    login: str
    author: Mapping[str, str]
    committer: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Comment:
    """A comment on an issue (`number`) or on a pull request's code (then with `place` and perhaps a `review_id`)."""

    comment_id: int
    number: int
    login: str
    body: str
    created_at: datetime
    updated_at: datetime
    review_id: int | None = None
    place: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(slots=True, kw_only=True)
class Review:
    """A review of a pull request; `submitted_at` is None while it is pending."""

    review_id: int
    login: str
    body: str
    state: str
    commit_id: str
    submitted_at: datetime | None


@dataclass(slots=True, kw_only=True)
class Pull:
    """What a pull request has beyond its issue."""

    head: str
    base: str
    draft: bool
    maintainer_can_modify: bool
    reviews: dict[int, Review] = field(default_factory=dict[int, Review])


@dataclass(slots=True, kw_only=True)
class Issue:
    """An issue; a pull request is one too."""

    issue_id: int
    number: int
    login: str
    title: str
    body: str | None
    created_at: datetime
    updated_at: datetime
    state: str = "open"
    state_reason: str | None = None
    closed_at: datetime | None = None
    closed_by: str | None = None
    labels: list[str] = field(default_factory=list[str])
    assignees: list[str] = field(default_factory=list[str])
    pull: Pull | None = None


@dataclass(slots=True, kw_only=True)
class Status:
    """A commit status."""

    status_id: int
    login: str
    state: str
    context: str
    description: str | None
    target_url: str | None
    created_at: datetime


@dataclass(slots=True, kw_only=True)
class CheckRun:
    """A check run; only the control channel makes them, as only GitHub Apps do on the real service."""

    check_run_id: int
    head_sha: str
    name: str
    status: str
    conclusion: str | None
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release; only the control channel makes them."""

    release_id: int
    tag: str
    login: str
    created_at: datetime


@dataclass(slots=True, kw_only=True)
class Label:
    """A label of the repository."""

    label_id: int
    name: str
    color: str
    default: bool


@dataclass(slots=True, kw_only=True)
class Repository:
    """A repository with everything in it. `refs` maps full names (`refs/heads/main`) to commits."""

    repository_id: int
    owner: str
    name: str
    private: bool
    created_at: datetime
    default_branch: str = "main"
    labels: dict[str, Label] = field(default_factory=dict[str, Label])
    issues: dict[int, Issue] = field(default_factory=dict[int, Issue])
    comments: dict[int, Comment] = field(default_factory=dict[int, Comment])
    review_comments: dict[int, Comment] = field(default_factory=dict[int, Comment])
    refs: dict[str, str] = field(default_factory=dict[str, str])
    commits: dict[str, Commit] = field(default_factory=dict[str, Commit])
    blobs: dict[str, bytes] = field(default_factory=dict[str, bytes])
    statuses: dict[str, list[Status]] = field(default_factory=dict[str, list[Status]])
    check_runs: dict[str, list[CheckRun]] = field(default_factory=dict[str, list[CheckRun]])
    releases: list[Release] = field(default_factory=list[Release])
    hooks: dict[int, Hook] = field(default_factory=dict[int, Hook])

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"

    def find_commit(self, ref: str) -> Commit | None:
        """The commit that a branch, tag, ref or (abbreviated) SHA names."""
        for name in (ref, f"refs/{ref}", f"refs/heads/{ref}", f"refs/tags/{ref}"):
            if name in self.refs:
                return self.commits[self.refs[name]]
        if ref in self.commits:
            return self.commits[ref]
        matches = [sha for sha in self.commits if sha.startswith(ref)] if len(ref) >= 7 else []
        return self.commits[matches[0]] if len(matches) == 1 else None

    def history(self, commit: Commit) -> Iterator[Commit]:
        """The commit and its ancestors, newest first."""
        yield commit
        while commit.parents:
            commit = self.commits[commit.parents[0]]
            yield commit

    def changed(self, commit: Commit) -> list[str]:
        """The paths whose content differs from the parent's."""
        before: Mapping[str, str] = self.commits[commit.parents[0]].tree if commit.parents else {}
        return sorted(path for path in {*before, *commit.tree} if before.get(path) != commit.tree.get(path))

    def put_blob(self, content: bytes) -> str:
        """Keep a blob; its name is git's own."""
        sha = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        self.blobs[sha] = content
        return sha

    def put_commit(
        self,
        *,
        tree: Mapping[str, str],
        parents: tuple[str, ...],
        message: str,
        login: str,
        author: Mapping[str, str],
        committer: Mapping[str, str],
    ) -> Commit:
        """Keep a commit under a name that its content determines."""
        content = [tree_sha(tree), list(parents), message, dict(author), dict(committer)]
        sha = hashlib.sha1(b"commit " + kernel.canonical(content), usedforsecurity=False).hexdigest()
        commit = Commit(
            sha=sha, tree=tree, parents=parents, message=message, login=login, author=author, committer=committer
        )
        return self.commits.setdefault(sha, commit)


def tree_sha(tree: Mapping[str, str]) -> str:
    """A name for a tree that its content determines (not git's own: trees are never shown whole)."""
    return hashlib.sha1(b"tree " + kernel.canonical(dict(tree)), usedforsecurity=False).hexdigest()


class World:
    """All repositories of one service, the people who may be assigned, and the post that tells others of what happens."""

    def __init__(self, *, url: str, clock: kernel.Clock, logins: frozenset[str], post: Post | None = None) -> None:
        self.url = url
        self.post = post or Post()
        self.repositories: dict[str, Repository] = {}
        self._clock = clock
        self._logins = logins
        self._ids = itertools.count(1001)

    def now(self) -> datetime:
        """The time in whole seconds, as GitHub keeps it."""
        return self._clock.now().replace(microsecond=0)

    def new_id(self) -> int:
        """The next id; ids only grow, over all kinds."""
        return next(self._ids)

    def knows(self, login: str) -> bool:
        """Whether somebody of that name exists."""
        return login in self._logins or any(repo.owner == login for repo in self.repositories.values())

    def find_repository(self, full_name: str) -> Repository | None:
        """Names are compared without regard to case, as on GitHub."""
        return self.repositories.get(full_name.lower())

    def add_repository(self, full_name: str, *, private: bool = False) -> Repository:
        """A repository with a branch, one commit, a README and a few labels. Raises ValueError for a bad or taken
        name."""
        owner, _, name = full_name.partition("/")
        if not owner or not name or "/" in name or full_name.lower() in self.repositories:
            raise ValueError(f"{full_name!r} is not a free name of the form owner/name")
        now = self.now()
        repo = Repository(
            repository_id=self.new_id(), owner=owner, name=name, private=private, created_at=now - timedelta(days=30)
        )
        blob = repo.put_blob(f"# {name}\n\nThe repository {full_name}.\n".encode())
        person = self.signature(owner)
        commit = repo.put_commit(
            tree={"README.md": blob}, parents=(), message="Initial commit", login=owner, author=person, committer=person
        )
        repo.refs[f"refs/heads/{repo.default_branch}"] = commit.sha
        for label, color in (("bug", "d73a4a"), ("enhancement", "a2eeef"), ("question", "d876e3")):
            self.add_label(repo, label, color=color, default=True)
        self.repositories[full_name.lower()] = repo
        return repo

    def signature(self, login: str) -> dict[str, str]:
        """Author or committer of a commit made now."""
        return {"name": login, "email": f"{login}@users.noreply.github.com", "date": timestamp(self.now())}

    def add_label(self, repo: Repository, name: str, *, color: str = "ededed", default: bool = False) -> Label:
        """The label of that name, made if it does not exist (GitHub does so when an issue names it)."""
        for known in repo.labels.values():
            if known.name.lower() == name.lower():
                return known
        label = repo.labels[name] = Label(label_id=self.new_id(), name=name, color=color, default=default)
        return label

    def add_issue(
        self, repo: Repository, *, login: str, title: str, body: str | None, pull: Pull | None = None
    ) -> Issue:
        """A new open issue, or pull request."""
        now = self.now()
        issue = Issue(
            issue_id=self.new_id(),
            number=len(repo.issues) + 1,
            login=login,
            title=title,
            body=body,
            created_at=now,
            updated_at=now,
            pull=pull,
        )
        repo.issues[issue.number] = issue
        return issue


def timestamp(moment: datetime) -> str:
    """`2026-01-01T00:00:00Z`, GitHub's form."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
