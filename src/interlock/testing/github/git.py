"""The caller, repositories, commits, refs, files, statuses and check runs."""

import base64
import binascii
import re
from datetime import datetime
from typing import Any

from interlock.testing.github import code_shapes, events, shapes
from interlock.testing.github.answers import Answer, Ask, Handler, Refusal
from interlock.testing.github.issues import since
from interlock.testing.github.world import Commit, Repository, Status, tree_sha

_REF = re.compile(r"refs/(heads|tags)/[^\s~^:?*\[\\]+")
_SETTLED = {"success": "success", "pending": "pending"}


def get_user(ask: Ask) -> Answer:
    return Answer(body=shapes.account(ask.world, ask.login))


def get_repository(ask: Ask) -> Answer:
    return Answer(body=shapes.full_repository(ask.world, ask.repo))


def list_commits(ask: Ask) -> Answer:
    repo, query = ask.repo, ask.query
    start = repo.find_commit(query.get("sha", repo.default_branch))
    if start is None:
        raise Refusal(404, "Not Found")
    until = datetime.fromisoformat(query["until"]) if "until" in query else None
    found: list[Commit] = []
    for commit in repo.history(start):
        at = datetime.fromisoformat(commit.committer["date"])
        if (
            not since(query, at)
            and (until is None or at <= until)
            and _touches(repo, commit, query.get("path", ""))
            and query.get("author", commit.login) in {commit.login, commit.author["email"]}
            and query.get("committer", commit.login) in {commit.login, commit.committer["email"]}
        ):
            found.append(commit)
    items, links = ask.page(found)
    return Answer(body=[code_shapes.commit(ask.world, repo, commit) for commit in items], headers=links)


def get_commit(ask: Ask) -> Answer:
    commit = ask.repo.find_commit(ask.path["ref"])
    if commit is None:
        raise Refusal(422, f"No commit found for SHA: {ask.path['ref']}")
    return Answer(body=code_shapes.commit(ask.world, ask.repo, commit))


def get_ref(ask: Ask) -> Answer:
    name = f"refs/{ask.path['ref']}"
    if name not in ask.repo.refs:
        raise Refusal(404, "Not Found")
    return Answer(body=code_shapes.git_ref(ask.world, ask.repo, name, ask.repo.refs[name]))


def list_matching_refs(ask: Ask) -> Answer:
    prefix = f"refs/{ask.path['ref']}"
    found = sorted((name, sha) for name, sha in ask.repo.refs.items() if name.startswith(prefix))
    return Answer(body=[code_shapes.git_ref(ask.world, ask.repo, name, sha) for name, sha in found])


def create_ref(ask: Ask) -> Answer:
    name, sha = ask.body["ref"], ask.body["sha"]
    if not _REF.fullmatch(name):
        raise Refusal(422, f"Reference name must start with 'refs/heads/' or 'refs/tags/': {name[:100]}")
    if sha not in ask.repo.commits:
        raise Refusal(422, "Object does not exist")
    if name in ask.repo.refs:
        raise Refusal(422, "Reference already exists")
    ask.repo.refs[name] = sha
    events.push(ask.world, ask.repo, ask.login, name, before=None, after=sha)
    shape = code_shapes.git_ref(ask.world, ask.repo, name, sha)
    return Answer(status=201, body=shape, headers={"location": shape["url"]}, applied=True)


def update_ref(ask: Ask) -> Answer:
    name, sha = f"refs/{ask.path['ref']}", ask.body["sha"]
    if name not in ask.repo.refs:
        raise Refusal(422, "Reference does not exist")
    if sha not in ask.repo.commits:
        raise Refusal(422, "Object does not exist")
    ancestors = {commit.sha for commit in ask.repo.history(ask.repo.commits[sha])}
    if not ask.body.get("force") and ask.repo.refs[name] not in ancestors:
        raise Refusal(422, "Update is not a fast forward")
    before, ask.repo.refs[name] = ask.repo.refs[name], sha
    events.push(ask.world, ask.repo, ask.login, name, before=before, after=sha)
    return Answer(body=code_shapes.git_ref(ask.world, ask.repo, name, sha), applied=True)


def delete_ref(ask: Ask) -> Answer:
    name = f"refs/{ask.path['ref']}"
    if name not in ask.repo.refs:
        raise Refusal(422, "Reference does not exist")
    if name == f"refs/heads/{ask.repo.default_branch}":
        raise Refusal(422, "Cannot delete the default branch")
    events.push(ask.world, ask.repo, ask.login, name, before=ask.repo.refs.pop(name), after=None)
    return Answer(status=204, applied=True)


def get_content(ask: Ask) -> Answer:
    repo, path = ask.repo, ask.path["path"].strip("/")
    ref = ask.query.get("ref", repo.default_branch)
    commit = repo.find_commit(ref)
    if commit is None:
        raise Refusal(404, f"No commit found for the ref {ref}")
    if path in commit.tree:
        sha = commit.tree[path]
        content = base64.encodebytes(repo.blobs[sha]).decode()
        entry = code_shapes.content_entry(ask.world, repo, path, sha, ref=ref)
        return Answer(body={**entry, "content": content, "encoding": "base64"})
    inside = {name[len(path) + 1 :].split("/")[0] for name in commit.tree if name.startswith(f"{path}/")}
    if not inside:
        raise Refusal(404, "Not Found")
    entries: list[Any] = []
    for name in sorted(inside):
        full = f"{path}/{name}"
        below = {key: sha for key, sha in commit.tree.items() if key.startswith(f"{full}/")}
        sha = commit.tree.get(full) or tree_sha(below)
        entries.append(code_shapes.content_entry(ask.world, repo, full, sha, ref=ref, directory=bool(below)))
    return Answer(body=entries)


def put_content(ask: Ask) -> Answer:
    repo, body, path = ask.repo, ask.body, ask.path["path"].strip("/")
    branch = f"refs/heads/{body.get('branch', repo.default_branch)}"
    if branch not in repo.refs:
        raise Refusal(404, f"Branch {body.get('branch')} not found")
    parent = repo.commits[repo.refs[branch]]
    present = parent.tree.get(path)
    if present and "sha" not in body:
        raise Refusal(422, 'Invalid request.\n\n"sha" wasn\'t supplied.')
    if body.get("sha", present) != present:
        raise Refusal(409, f"{path} does not match {body['sha']}")
    try:
        content = base64.b64decode("".join(body["content"].split()), validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(422, "content is not valid Base64") from None
    committer = {**ask.world.signature(ask.login), **body.get("committer", {})}
    author = {**committer, **body.get("author", {})}
    for person in (author, committer):
        try:
            datetime.fromisoformat(person["date"])
        except ValueError:
            raise Refusal(422, f"{person['date'][:50]!r} is not a date") from None
    commit = repo.put_commit(
        tree={**parent.tree, path: repo.put_blob(content)},
        parents=(parent.sha,),
        message=body["message"],
        login=ask.login,
        author=author,
        committer=committer,
    )
    repo.refs[branch] = commit.sha
    events.push(ask.world, repo, ask.login, branch, before=parent.sha, after=commit.sha)
    shape = code_shapes.file_commit(ask.world, repo, commit, path)
    return Answer(status=200 if present else 201, body=shape, applied=True)


def list_statuses(ask: Ask) -> Answer:
    commit = _commit(ask)
    items, links = ask.page(ask.repo.statuses.get(commit.sha, [])[::-1])
    return Answer(body=[code_shapes.status(ask.world, ask.repo, commit.sha, item) for item in items], headers=links)


def get_combined_status(ask: Ask) -> Answer:
    repo, commit = ask.repo, _commit(ask)
    latest = list({item.context: item for item in repo.statuses.get(commit.sha, [])}.values())
    items, links = ask.page(latest)
    states = {_SETTLED.get(item.state, "failure") for item in latest} or {"pending"}
    url = f"{ask.world.url}/repos/{repo.full_name}/commits/{commit.sha}"
    body = {
        "state": "failure" if "failure" in states else "pending" if "pending" in states else "success",
        "statuses": [
            code_shapes.simple_status(code_shapes.status(ask.world, repo, commit.sha, item)) for item in items
        ],
        "sha": commit.sha,
        "total_count": len(latest),
        "repository": shapes.repository(ask.world, repo),
        "commit_url": url,
        "url": f"{url}/status",
    }
    return Answer(body=body, headers=links)


def create_status(ask: Ask) -> Answer:
    repo, sha, body = ask.repo, ask.path["sha"], ask.body
    if sha not in repo.commits:
        raise Refusal(422, f"No commit found for SHA: {sha}")
    item = Status(
        status_id=ask.world.new_id(),
        login=ask.login,
        state=body["state"],
        context=body.get("context", "default"),
        description=body.get("description"),
        target_url=body.get("target_url"),
        created_at=ask.world.now(),
    )
    repo.statuses.setdefault(sha, []).append(item)
    shape = code_shapes.status(ask.world, repo, sha, item)
    return Answer(status=201, body=shape, headers={"location": shape["url"]}, applied=True)


def list_check_runs(ask: Ask) -> Answer:
    query = ask.query
    found = [
        run
        for run in ask.repo.check_runs.get(_commit(ask).sha, [])
        if query.get("check_name", run.name) == run.name
        and query.get("status", run.status) == run.status
        and "app_id" not in query  # no app made them
    ]
    if query["filter"] == "latest":
        found = list({run.name: run for run in found}.values())
    items, links = ask.page(found)
    runs = [code_shapes.check_run(ask.world, ask.repo, run) for run in items]
    return Answer(body={"total_count": len(found), "check_runs": runs}, headers=links)


def _commit(ask: Ask) -> Commit:
    commit = ask.repo.find_commit(ask.path["ref"])
    if commit is None:
        raise Refusal(404, "Not Found")
    return commit


def _touches(repo: Repository, commit: Commit, path: str) -> bool:
    path = path.strip("/")
    return not path or any(name == path or name.startswith(f"{path}/") for name in repo.changed(commit))


OPERATIONS: dict[str, Handler] = {
    "users/get-authenticated": get_user,
    "repos/get": get_repository,
    "repos/list-commits": list_commits,
    "repos/get-commit": get_commit,
    "repos/get-content": get_content,
    "repos/create-or-update-file-contents": put_content,
    "repos/list-commit-statuses-for-ref": list_statuses,
    "repos/get-combined-status-for-ref": get_combined_status,
    "repos/create-commit-status": create_status,
    "checks/list-for-ref": list_check_runs,
    "git/get-ref": get_ref,
    "git/list-matching-refs": list_matching_refs,
    "git/create-ref": create_ref,
    "git/update-ref": update_ref,
    "git/delete-ref": delete_ref,
}
