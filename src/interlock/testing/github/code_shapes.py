"""How pull requests and git objects look in GitHub's answers."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from interlock.testing.github.shapes import (
    WEB,
    Shape,
    assigned,
    association,
    label,
    node_id,
    reactions,
    repository,
    user,
)
from interlock.testing.github.world import (
    CheckRun,
    Comment,
    Commit,
    Issue,
    Pull,
    Repository,
    Review,
    Status,
    World,
    timestamp,
    tree_sha,
)


def _tip(world: World, repo: Repository, branch: str) -> Shape:
    return {
        "label": f"{repo.owner}:{branch}",
        "ref": branch,
        "sha": repo.refs.get(f"refs/heads/{branch}", "0" * 40),
        "user": user(world, repo.owner),
        "repo": repository(world, repo),
    }


def pull(world: World, repo: Repository, item: Issue, parts: Pull) -> Shape:
    """A pull request as lists show it."""
    base = f"{world.url}/repos/{repo.full_name}"
    url = f"{base}/pulls/{item.number}"
    html_url = f"{WEB}/{repo.full_name}/pull/{item.number}"
    head = _tip(world, repo, parts.head)
    links = {
        "html_url": html_url,
        "issue_url": f"{base}/issues/{item.number}",
        "comments_url": f"{base}/issues/{item.number}/comments",
        "review_comments_url": f"{url}/comments",
        "review_comment_url": base + "/pulls/comments{/number}",
        "commits_url": f"{url}/commits",
        "statuses_url": f"{base}/statuses/{head['sha']}",
    }
    return {
        "id": item.issue_id,
        "node_id": node_id("PullRequest", item.issue_id),
        "url": url,
        **links,
        "diff_url": f"{html_url}.diff",
        "patch_url": f"{html_url}.patch",
        "number": item.number,
        "state": item.state,
        "locked": False,
        "title": item.title,
        "body": item.body,
        "user": user(world, item.login),
        "labels": [label(world, repo, repo.labels[name]) for name in item.labels],
        **assigned(world, item),
        "requested_reviewers": [],
        "requested_teams": [],
        "milestone": None,
        "draft": parts.draft,
        "created_at": timestamp(item.created_at),
        "updated_at": timestamp(item.updated_at),
        "closed_at": timestamp(item.closed_at) if item.closed_at else None,
        "merged_at": None,
        "merge_commit_sha": None,
        "head": head,
        "base": _tip(world, repo, parts.base),
        "author_association": association(repo, item.login),
        "auto_merge": None,
        "active_lock_reason": None,
        "_links": {
            "self": {"href": url},
            **{name.removesuffix("_url"): {"href": href} for name, href in links.items()},
        },
    }


def full_pull(world: World, repo: Repository, item: Issue, parts: Pull, *, commits: list[Commit]) -> Shape:
    """A pull request at its own address."""
    files = {path for commit_ in commits for path in repo.changed(commit_)}
    return {
        **pull(world, repo, item, parts),
        "merged": False,
        "mergeable": True,
        "rebaseable": True,
        "mergeable_state": "clean",
        "merged_by": None,
        "comments": sum(comment_.number == item.number for comment_ in repo.comments.values()),
        "review_comments": sum(comment_.number == item.number for comment_ in repo.review_comments.values()),
        "maintainer_can_modify": parts.maintainer_can_modify,
        "commits": len(commits),
        "additions": len(files),
        "deletions": 0,
        "changed_files": len(files),
    }


def review(world: World, repo: Repository, number: int, item: Review) -> Shape:
    """A review of a pull request."""
    pull_url = f"{world.url}/repos/{repo.full_name}/pulls/{number}"
    html_url = f"{WEB}/{repo.full_name}/pull/{number}#pullrequestreview-{item.review_id}"
    shape: Shape = {
        "id": item.review_id,
        "node_id": node_id("PullRequestReview", item.review_id),
        "user": user(world, item.login),
        "body": item.body,
        "state": item.state,
        "html_url": html_url,
        "pull_request_url": pull_url,
        "author_association": association(repo, item.login),
        "_links": {"html": {"href": html_url}, "pull_request": {"href": pull_url}},
        "commit_id": item.commit_id,
    }
    if item.submitted_at:
        shape["submitted_at"] = timestamp(item.submitted_at)
    return shape


_PLACED = ("commit_id", "line", "start_line", "position")
"""Where a comment was when it was made: GitHub keeps that beside where it is now."""


def review_comment(world: World, repo: Repository, item: Comment) -> Shape:
    """A comment on a line (or file) of a pull request."""
    base = f"{world.url}/repos/{repo.full_name}"
    url = f"{base}/pulls/comments/{item.comment_id}"
    html_url = f"{WEB}/{repo.full_name}/pull/{item.number}#discussion_r{item.comment_id}"
    pull_url = f"{base}/pulls/{item.number}"
    return {
        "id": item.comment_id,
        "node_id": node_id("PullRequestReviewComment", item.comment_id),
        "url": url,
        "html_url": html_url,
        "pull_request_url": pull_url,
        "pull_request_review_id": item.review_id,
        "diff_hunk": "@@ -1 +1 @@",
        **item.place,
        **{f"original_{name}": item.place[name] for name in _PLACED if name in item.place},
        "body": item.body,
        "user": user(world, item.login),
        "created_at": timestamp(item.created_at),
        "updated_at": timestamp(item.updated_at),
        "author_association": association(repo, item.login),
        "reactions": reactions(url),
        "_links": {"self": {"href": url}, "html": {"href": html_url}, "pull_request": {"href": pull_url}},
    }


def git_ref(world: World, repo: Repository, name: str, sha: str) -> Shape:
    """A reference; all point at commits here."""
    base = f"{world.url}/repos/{repo.full_name}/git"
    return {
        "ref": name,
        "node_id": node_id("Ref", f"{repo.repository_id}:{name}"),
        "url": f"{base}/{quote(name)}",
        "object": {"type": "commit", "sha": sha, "url": f"{base}/commits/{sha}"},
    }


def _git_commit(world: World, repo: Repository, item: Commit, *, url: str) -> Shape:
    tree = tree_sha(item.tree)
    return {
        "url": url,
        "author": dict(item.author),
        "committer": dict(item.committer),
        "message": item.message,
        "tree": {"sha": tree, "url": f"{world.url}/repos/{repo.full_name}/git/trees/{tree}"},
        "verification": {
            "verified": False,
            "reason": "unsigned",
            **dict.fromkeys(("signature", "payload", "verified_at")),
        },
    }


def _commit_links(world: World, repo: Repository, sha: str) -> Shape:
    return {
        "sha": sha,
        "url": f"{world.url}/repos/{repo.full_name}/commits/{sha}",
        "html_url": f"{WEB}/{repo.full_name}/commit/{sha}",
    }


def commit(world: World, repo: Repository, item: Commit) -> Shape:
    """A commit as lists show it."""
    links = _commit_links(world, repo, item.sha)
    git_url = f"{world.url}/repos/{repo.full_name}/git/commits/{item.sha}"
    return {
        **links,
        "node_id": node_id("Commit", item.sha),
        "comments_url": f"{links['url']}/comments",
        "commit": {**_git_commit(world, repo, item, url=git_url), "comment_count": 0},
        "author": user(world, item.login),
        "committer": user(world, item.login),
        "parents": [_commit_links(world, repo, sha) for sha in item.parents],
    }


def file_commit(world: World, repo: Repository, item: Commit, path: str) -> Shape:
    """What writing a file answers: the file without its content, and the commit."""
    content = content_entry(world, repo, path, item.tree[path], ref=repo.default_branch)
    links = _commit_links(world, repo, item.sha)
    return {
        "content": content,
        "commit": {
            **_git_commit(world, repo, item, url=links["url"]),
            **links,
            "node_id": node_id("Commit", item.sha),
            "parents": [_commit_links(world, repo, sha) for sha in item.parents],
        },
    }


def content_entry(world: World, repo: Repository, path: str, sha: str, *, ref: str, directory: bool = False) -> Shape:
    """A file or directory, without what is in it."""
    kind = "dir" if directory else "file"
    base = f"{world.url}/repos/{repo.full_name}"
    page = f"{WEB}/{repo.full_name}/{'tree' if directory else 'blob'}/{quote(ref)}/{quote(path)}"
    raw = f"https://raw.githubusercontent.com/{repo.full_name}/{quote(ref)}/{quote(path)}"
    url = f"{base}/contents/{quote(path)}?{'ref=' + quote(ref)}"
    git_url = f"{base}/git/{'trees' if directory else 'blobs'}/{sha}"
    return {
        "name": path.rsplit("/", 1)[-1],
        "path": path,
        "sha": sha,
        "size": 0 if directory else len(repo.blobs[sha]),
        "url": url,
        "html_url": page,
        "git_url": git_url,
        "download_url": None if directory else raw,
        "type": kind,
        "_links": {"self": url, "git": git_url, "html": page},
    }


def status(world: World, repo: Repository, sha: str, item: Status) -> Shape:
    """A commit status as lists show it."""
    return {
        "id": item.status_id,
        "node_id": node_id("StatusContext", item.status_id),
        "url": f"{world.url}/repos/{repo.full_name}/statuses/{sha}",
        "avatar_url": user(world, item.login)["avatar_url"],
        "state": item.state,
        "description": item.description,
        "target_url": item.target_url,
        "context": item.context,
        "created_at": timestamp(item.created_at),
        "updated_at": timestamp(item.created_at),
        "creator": user(world, item.login),
    }


def simple_status(shape: Mapping[str, Any]) -> Shape:
    """A commit status inside the combined one: without its creator."""
    return {name: value for name, value in shape.items() if name != "creator"}


def check_run(world: World, repo: Repository, item: CheckRun) -> Shape:
    """A check run."""
    url = f"{world.url}/repos/{repo.full_name}/check-runs/{item.check_run_id}"
    page = f"{WEB}/{repo.full_name}/runs/{item.check_run_id}"
    done = timestamp(item.started_at) if item.status == "completed" else None
    return {
        "id": item.check_run_id,
        "node_id": node_id("CheckRun", item.check_run_id),
        "head_sha": item.head_sha,
        "external_id": "",
        "name": item.name,
        "url": url,
        "html_url": page,
        "details_url": page,
        "status": item.status,
        "conclusion": item.conclusion,
        "started_at": timestamp(item.started_at),
        "completed_at": done,
        "output": {
            **dict.fromkeys(("title", "summary", "text")),
            "annotations_count": 0,
            "annotations_url": f"{url}/annotations",
        },
        "check_suite": {"id": item.check_run_id},
        "app": None,
        "pull_requests": [],
    }
