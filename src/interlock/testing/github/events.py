"""What a repository's hooks are told: each event with everything that GitHub's description of it requires."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import orjson

from interlock.testing.github import code_shapes, shapes, told_shapes
from interlock.testing.github.hooks import Delivery, Hook, new_guid
from interlock.testing.github.world import CheckRun, Comment, Commit, Issue, Release, Repository, World, tree_sha

_NOTHING: Final = "0" * 40
_ZEN: Final = "Say what happened, once, to those who asked."


def tell(world: World, repo: Repository, login: str, event: str, **payload: Any) -> None:
    """Tell all hooks that want to know. All of them get the same bytes and the same id."""
    wanting = [hook for hook in repo.hooks.values() if hook.wants(event)]
    if wanting:
        _send(world, repo, login, event, payload, wanting)


def ping(world: World, repo: Repository, login: str, hook: Hook) -> None:
    """Tell one hook that it is there."""
    payload = {"zen": _ZEN, "hook_id": hook.hook_id, "hook": told_shapes.hook(world, repo, hook)}
    if hook.wants("ping"):
        _send(world, repo, login, "ping", payload, [hook])


def again(world: World, hook: Hook, delivery: Delivery) -> None:
    """Deliver once more: the same bytes under the same id."""
    world.post.put(hook, delivery.again(world.new_id(), at=world.now()))


def issue(world: World, repo: Repository, login: str, action: str, item: Issue, **more: Any) -> None:
    """Something became of an issue."""
    if repo.hooks:
        tell(world, repo, login, "issues", action=action, issue=shapes.issue(world, repo, item), **more)


def comment(world: World, repo: Repository, login: str, action: str, item: Comment, **more: Any) -> None:
    """Something became of a comment on an issue or a pull request."""
    if repo.hooks:
        about = shapes.issue(world, repo, repo.issues[item.number])
        told = shapes.comment(world, repo, item)
        tell(world, repo, login, "issue_comment", action=action, issue=about, comment=told, **more)


def check_run(world: World, repo: Repository, run: CheckRun) -> None:
    """A check run began, or came to its end."""
    action = "completed" if run.status == "completed" else "created"
    shape = code_shapes.check_run(world, repo, run)
    tell(world, repo, repo.owner, "check_run", action=action, check_run=shape)


def release(world: World, repo: Repository, item: Release) -> None:
    """Something was released."""
    tell(world, repo, item.login, "release", action="published", release=told_shapes.release(world, repo, item))


def push(world: World, repo: Repository, login: str, ref: str, *, before: str | None, after: str | None) -> None:
    """A branch or a tag moved; None is where it was not before, or is no more."""
    if not repo.hooks:
        return
    new = _new_commits(repo, ref, before, after)
    head = repo.commits[after] if after else None
    at = datetime.fromisoformat(head.committer["date"]) if head else world.now()
    tell(
        world,
        repo,
        login,
        "push",
        ref=ref,
        before=before or _NOTHING,
        after=after or _NOTHING,
        created=before is None,
        deleted=after is None,
        forced=False,
        base_ref=None,
        compare=f"{shapes.WEB}/{repo.full_name}/compare/{(before or _NOTHING)[:12]}...{(after or _NOTHING)[:12]}",
        commits=[_commit(repo, each) for each in reversed(new)],
        head_commit=_commit(repo, head) if head else None,
        pusher={"name": login, "email": f"{login}@users.noreply.github.com"},
        pushed_at=int(at.timestamp()),
    )


def _send(world: World, repo: Repository, login: str, event: str, payload: dict[str, Any], hooks: list[Hook]) -> None:
    about: dict[str, Any] = {
        **shapes.repository(world, repo),
        "web_commit_signoff_required": False,
        "custom_properties": {},
    }
    pushed_at = payload.pop("pushed_at", None)
    if pushed_at is not None:  # of a push, and of nothing else, these are seconds since 1970
        about |= {"pushed_at": pushed_at, "created_at": int(repo.created_at.timestamp())}
    body = orjson.dumps({**payload, "repository": about, "sender": shapes.user(world, login)})
    guid = new_guid()
    for hook in hooks:
        delivery = Delivery(
            delivery_id=world.new_id(),
            guid=guid,
            event=event,
            action=payload.get("action"),
            payload=body,
            delivered_at=world.now(),
        )
        world.post.put(hook, delivery)


def _new_commits(repo: Repository, ref: str, before: str | None, after: str | None) -> list[Commit]:
    """The commits that nothing else led to before, newest first."""
    if after is None:
        return []
    others = [before] if before else [sha for name, sha in repo.refs.items() if name != ref]
    known = {each.sha for sha in others for each in repo.history(repo.commits[sha])}
    return [each for each in repo.history(repo.commits[after]) if each.sha not in known]


def _commit(repo: Repository, commit: Commit) -> dict[str, Any]:
    before: Mapping[str, str] = repo.commits[commit.parents[0]].tree if commit.parents else {}
    changed = repo.changed(commit)
    return {
        "id": commit.sha,
        "tree_id": tree_sha(commit.tree),
        "distinct": True,
        "message": commit.message,
        "timestamp": commit.committer["date"],
        "url": f"{shapes.WEB}/{repo.full_name}/commit/{commit.sha}",
        "author": {"name": commit.author["name"], "email": commit.author["email"], "username": commit.login},
        "committer": {"name": commit.committer["name"], "email": commit.committer["email"], "username": commit.login},
        "added": [each for each in changed if each not in before],
        "removed": [each for each in changed if each not in commit.tree],
        "modified": [each for each in changed if each in before and each in commit.tree],
    }
