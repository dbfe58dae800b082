"""What GitHub sends to webhooks, as small as it gets: every member that it promises and we read, and some that are at times
missing or null."""

from typing import Any

ACCOUNT: dict[str, Any] = {"login": "mona", "id": 7, "type": "User"}
REPOSITORY: dict[str, Any] = {
    "id": 42, "name": "rocket", "full_name": "acme/rocket", "private": True, "owner": ACCOUNT, "description": None,
    "html_url": "https://github.com/acme/rocket", "default_branch": "main", "pushed_at": "2026-05-04T03:02:01Z",
}  # fmt: skip
HERE: dict[str, Any] = {"repository": REPOSITORY, "sender": ACCOUNT}
TIMES: dict[str, Any] = {"created_at": "2026-05-04T03:02:01Z", "updated_at": "2026-05-04T03:02:01Z"}
SHA, NOTHING = "6dcb09b5b57875f334f61aebed695e2e4193db5e", "0" * 40

ISSUE: dict[str, Any] = {
    "id": 1, "number": 8, "title": "Valve sticks", "body": "It does.", "state": "open", "user": ACCOUNT,
    "html_url": "https://github.com/acme/rocket/issues/8", "labels": [{"id": 3, "name": "bug"}], "assignees": [],
    "comments": 0, "closed_at": None, **TIMES,
}  # fmt: skip
BARE_ISSUE: dict[str, Any] = {name: value for name, value in ISSUE.items() if name not in ("state", "labels")} | {
    "body": None,
    "user": None,
    "assignees": [None],
}
COMMENT: dict[str, Any] = {
    "id": 2, "body": "Which one?", "user": ACCOUNT, **TIMES,
    "html_url": "https://github.com/acme/rocket/issues/8#issuecomment-2",
}  # fmt: skip
PULL_REQUEST: dict[str, Any] = {
    "id": 5, "number": 9, "title": "Oil it", "body": None, "state": "closed", "draft": False, "user": ACCOUNT,
    "html_url": "https://github.com/acme/rocket/pull/9", "head": {"ref": "oil", "sha": SHA, "repo": None}, "labels": [],
    "base": {"ref": "main", "sha": NOTHING}, "closed_at": TIMES["created_at"], "merged_at": None, **TIMES,
    "merge_commit_sha": None, "merged": None,
}  # fmt: skip
COMMIT: dict[str, Any] = {
    "id": SHA, "tree_id": SHA, "distinct": True, "message": "Oil it", "timestamp": "2026-05-04T05:02:01+02:00",
    "url": "https://github.com/acme/rocket/commit/6dcb09b", "author": {"name": "Mona", "email": None},
    "committer": {"name": "GitHub", "email": "noreply@github.com", "username": "web-flow"}, "added": ["oil"], "removed": [],
    "modified": [],
}  # fmt: skip
PUSH: dict[str, Any] = {
    "ref": "refs/heads/main", "before": NOTHING, "after": SHA, "created": False, "deleted": False, "forced": False,
    "base_ref": None, "compare": "https://github.com/acme/rocket/compare/0...6", "commits": [COMMIT],
    "head_commit": COMMIT, "pusher": {"name": "mona", "email": "mona@example.com"}, **HERE,
}  # fmt: skip
CHECK_RUN: dict[str, Any] = {
    "id": 6, "name": "build", "head_sha": SHA, "status": "completed", "conclusion": "failure",
    "html_url": "https://github.com/acme/rocket/runs/6", "started_at": TIMES["created_at"], "pull_requests": [],
    "completed_at": TIMES["updated_at"], "app": {"slug": "ci", "name": "CI"},
}  # fmt: skip
RELEASE: dict[str, Any] = {
    "id": 11, "tag_name": "v1", "name": None, "body": None, "draft": False, "prerelease": True, "author": ACCOUNT,
    "html_url": "https://github.com/acme/rocket/releases/tag/v1", "target_commitish": "main", "assets": [],
    "created_at": TIMES["created_at"], "published_at": None,
}  # fmt: skip
PING: dict[str, Any] = {
    "zen": "Say it once.",
    "hook_id": 12,
    "hook": {"id": 12, "active": True, "events": ["*"], "type": "Organization"},
}

EVENTS: dict[str, list[dict[str, Any]]] = {
    "issues": [
        {"action": "opened", "issue": ISSUE, **HERE},
        {"action": "edited", "issue": BARE_ISSUE, "changes": {"title": {"from": "?"}}, **HERE},
        {"action": "labeled", "issue": ISSUE, "label": {"id": 3, "name": "bug"}, "organization": ACCOUNT, **HERE},
    ],
    "issue_comment": [
        {"action": "created", "issue": ISSUE, "comment": COMMENT, **HERE},
        {
            "action": "deleted",
            "issue": {**ISSUE, "pull_request": {"url": "https://api.github.com/repos/acme/rocket/pulls/8"}},
            "comment": {**COMMENT, "user": None},
            **HERE,
        },
    ],
    "pull_request": [
        {"action": "closed", "number": 9, "pull_request": PULL_REQUEST, **HERE},
        {"action": "opened", "number": 9, "pull_request": {**PULL_REQUEST, "user": None}, **HERE},
    ],
    "push": [
        PUSH,
        {**PUSH, "after": NOTHING, "deleted": True, "commits": [], "head_commit": None},
        {name: value for name, value in PUSH.items() if name != "sender"},
    ],
    "check_run": [
        {"action": "completed", "check_run": CHECK_RUN, **HERE},
        {
            "action": "created",
            "check_run": {**CHECK_RUN, "app": None, "conclusion": None, "completed_at": None},
            **HERE,
        },
    ],
    "release": [
        {"action": "published", "release": RELEASE, **HERE},
        {"action": "deleted", "release": {**RELEASE, "author": None}, "repository": REPOSITORY},
    ],
    "ping": [PING, {**PING, **HERE}],
}
