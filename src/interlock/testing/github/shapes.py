"""How people, repositories and issues look in GitHub's answers: every field that the description requires."""

import base64
from typing import Any
from urllib.parse import quote

from interlock.testing.github.world import Comment, Issue, Label, Repository, World, timestamp

Shape = dict[str, Any]
WEB = "https://github.com"
_USER_LINKS = {
    "followers_url": "/followers",
    "following_url": "/following{/other_user}",
    "gists_url": "/gists{/gist_id}",
    "starred_url": "/starred{/owner}{/repo}",
    "subscriptions_url": "/subscriptions",
    "organizations_url": "/orgs",
    "repos_url": "/repos",
    "events_url": "/events{/privacy}",
    "received_events_url": "/received_events",
}
_REPOSITORY_LINKS = {
    "archive_url": "/{archive_format}{/ref}",
    "assignees_url": "/assignees{/user}",
    "blobs_url": "/git/blobs{/sha}",
    "branches_url": "/branches{/branch}",
    "collaborators_url": "/collaborators{/collaborator}",
    "comments_url": "/comments{/number}",
    "commits_url": "/commits{/sha}",
    "compare_url": "/compare/{base}...{head}",
    "contents_url": "/contents/{+path}",
    "contributors_url": "/contributors",
    "deployments_url": "/deployments",
    "downloads_url": "/downloads",
    "events_url": "/events",
    "forks_url": "/forks",
    "git_commits_url": "/git/commits{/sha}",
    "git_refs_url": "/git/refs{/sha}",
    "git_tags_url": "/git/tags{/sha}",
    "hooks_url": "/hooks",
    "issue_comment_url": "/issues/comments{/number}",
    "issue_events_url": "/issues/events{/number}",
    "issues_url": "/issues{/number}",
    "keys_url": "/keys{/key_id}",
    "labels_url": "/labels{/name}",
    "languages_url": "/languages",
    "merges_url": "/merges",
    "milestones_url": "/milestones{/number}",
    "notifications_url": "/notifications{?since,all,participating}",
    "pulls_url": "/pulls{/number}",
    "releases_url": "/releases{/id}",
    "stargazers_url": "/stargazers",
    "statuses_url": "/statuses/{sha}",
    "subscribers_url": "/subscribers",
    "subscription_url": "/subscription",
    "tags_url": "/tags",
    "teams_url": "/teams",
    "trees_url": "/git/trees{/sha}",
}
_REACTIONS = ("+1", "-1", "laugh", "confused", "heart", "hooray", "eyes", "rocket")


def node_id(kind: str, number: object) -> str:
    """GitHub's opaque global id."""
    return base64.b64encode(f"{len(kind):03}:{kind}{number}".encode()).decode()


def account_id(login: str) -> int:
    """The same number for the same login, always."""
    return int.from_bytes(login.lower().encode()[:6], "big")


def user(world: World, login: str) -> Shape:
    """Somebody, as they appear inside other answers."""
    url = f"{world.url}/users/{login}"
    return {
        "login": login,
        "id": account_id(login),
        "node_id": node_id("User", account_id(login)),
        "avatar_url": f"https://avatars.githubusercontent.com/u/{account_id(login)}?v=4",
        "gravatar_id": "",
        "url": url,
        "html_url": f"{WEB}/{login}",
        "type": "User",
        "user_view_type": "public",
        "site_admin": False,
        **{name: url + path for name, path in _USER_LINKS.items()},
    }


def account(world: World, login: str) -> Shape:
    """The caller's own profile."""
    since = "2020-01-01T00:00:00Z"
    nothing = dict.fromkeys(("name", "company", "location", "email", "hireable", "bio", "twitter_username"))
    counts = dict.fromkeys(
        (
            *("public_repos", "public_gists", "followers", "following", "private_gists", "total_private_repos"),
            *("owned_private_repos", "disk_usage", "collaborators"),
        ),
        0,
    )
    return {
        **user(world, login),
        **nothing,
        **counts,
        "user_view_type": "private",
        "blog": "",
        "created_at": since,
        "updated_at": since,
        "two_factor_authentication": True,
    }


def repository(world: World, repo: Repository) -> Shape:
    """A repository, in full."""
    url = f"{world.url}/repos/{repo.full_name}"
    issues = sum(issue.state == "open" for issue in repo.issues.values())
    counts = dict.fromkeys(("stargazers_count", "watchers_count", "watchers", "forks_count", "forks", "size"), 0)
    return {
        "id": repo.repository_id,
        "node_id": node_id("Repository", repo.repository_id),
        "name": repo.name,
        "full_name": repo.full_name,
        "private": repo.private,
        "owner": user(world, repo.owner),
        "html_url": f"{WEB}/{repo.full_name}",
        "description": f"The repository {repo.full_name}.",
        "fork": False,
        "url": url,
        **{name: url + path for name, path in _REPOSITORY_LINKS.items()},
        "created_at": timestamp(repo.created_at),
        "updated_at": timestamp(repo.created_at),
        "pushed_at": timestamp(repo.created_at),
        "git_url": f"git://github.com/{repo.full_name}.git",
        "ssh_url": f"git@github.com:{repo.full_name}.git",
        "clone_url": f"{WEB}/{repo.full_name}.git",
        "svn_url": f"{WEB}/{repo.full_name}",
        **counts,
        **dict.fromkeys(("homepage", "language", "mirror_url", "license")),
        **dict.fromkeys(("has_issues", "has_projects", "has_downloads", "has_wiki"), True),
        **dict.fromkeys(("has_pages", "has_discussions", "archived", "disabled", "is_template"), False),
        "open_issues_count": issues,
        "open_issues": issues,
        "visibility": "private" if repo.private else "public",
        "default_branch": repo.default_branch,
        "topics": [],
        "permissions": {"admin": False, "maintain": False, "push": True, "triage": True, "pull": True},
    }


def full_repository(world: World, repo: Repository) -> Shape:
    """What only the repository's own address shows."""
    return {**repository(world, repo), "network_count": 0, "subscribers_count": 0}


def label(world: World, repo: Repository, item: Label) -> Shape:
    return {
        "id": item.label_id,
        "node_id": node_id("Label", item.label_id),
        "url": f"{world.url}/repos/{repo.full_name}/labels/{quote(item.name)}",
        "name": item.name,
        "description": None,
        "color": item.color,
        "default": item.default,
    }


def association(repo: Repository, login: str) -> str:
    return "OWNER" if login == repo.owner else "COLLABORATOR"


def reactions(url: str) -> Shape:
    return {"url": f"{url}/reactions", "total_count": 0, **dict.fromkeys(_REACTIONS, 0)}


def assigned(world: World, item: Issue) -> Shape:
    people = [user(world, login) for login in item.assignees]
    return {"assignee": people[0] if people else None, "assignees": people}


def issue(world: World, repo: Repository, item: Issue) -> Shape:
    """An issue; a pull request carries its addresses."""
    base = f"{world.url}/repos/{repo.full_name}"
    url = f"{base}/issues/{item.number}"
    kind = "pull" if item.pull else "issues"
    html_url = f"{WEB}/{repo.full_name}/{kind}/{item.number}"
    shape: Shape = {
        "id": item.issue_id,
        "node_id": node_id("Issue", item.issue_id),
        "url": url,
        "repository_url": base,
        "labels_url": url + "/labels{/name}",
        "comments_url": f"{url}/comments",
        "events_url": f"{url}/events",
        "timeline_url": f"{url}/timeline",
        "html_url": html_url,
        "number": item.number,
        "state": item.state,
        "state_reason": item.state_reason,
        "title": item.title,
        "body": item.body,
        "user": user(world, item.login),
        "labels": [label(world, repo, repo.labels[name]) for name in item.labels],
        **assigned(world, item),
        "milestone": None,
        "locked": False,
        "active_lock_reason": None,
        "comments": sum(comment.number == item.number for comment in repo.comments.values()),
        "closed_at": timestamp(item.closed_at) if item.closed_at else None,
        "closed_by": user(world, item.closed_by) if item.closed_by else None,
        "created_at": timestamp(item.created_at),
        "updated_at": timestamp(item.updated_at),
        "author_association": association(repo, item.login),
        "reactions": reactions(url),
        "performed_via_github_app": None,
    }
    if item.pull:
        pull_url = f"{base}/pulls/{item.number}"
        shape["draft"] = item.pull.draft
        shape["pull_request"] = {
            "url": pull_url,
            "html_url": html_url,
            "diff_url": f"{html_url}.diff",
            "patch_url": f"{html_url}.patch",
            "merged_at": None,
        }
    return shape


def comment(world: World, repo: Repository, item: Comment) -> Shape:
    """A comment on an issue or pull request."""
    base = f"{world.url}/repos/{repo.full_name}"
    kind = "pull" if repo.issues[item.number].pull else "issues"
    url = f"{base}/issues/comments/{item.comment_id}"
    return {
        "id": item.comment_id,
        "node_id": node_id("IssueComment", item.comment_id),
        "url": url,
        "html_url": f"{WEB}/{repo.full_name}/{kind}/{item.number}#issuecomment-{item.comment_id}",
        "issue_url": f"{base}/issues/{item.number}",
        "body": item.body,
        "user": user(world, item.login),
        "created_at": timestamp(item.created_at),
        "updated_at": timestamp(item.updated_at),
        "author_association": association(repo, item.login),
        "reactions": reactions(url),
        "performed_via_github_app": None,
    }
