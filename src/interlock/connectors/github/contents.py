"""Files, written as commits."""

from typing import Annotated, Final

from interlock import sdk
from interlock.connectors.github import rest

_CONTENT: Final = "/repos/{repo}/contents/{path}"


class Person(sdk.Input):
    """An author or committer."""

    name: rest.Text
    email: rest.Text
    date: rest.Moment | None = None


class ContentsUpsert(sdk.Input):
    """Write a text file and commit it. To replace a file, give the `sha` of the blob that is there."""

    repo: sdk.Repo
    path: Annotated[str, sdk.slashes()]
    message: rest.Text
    content: str
    branch: rest.Text | None = None
    sha: rest.Sha | None = None
    committer: Person | None = None
    author: Person | None = None


class Written(rest.Here):
    path: str = sdk.echo("path")
    content_sha: str | None = sdk.at("/content/sha")
    commit_sha: str | None = sdk.at(
        "/commit/sha", required=False, description="Absent if the write was settled by reading the file."
    )
    html_url: str | None = sdk.at("/content/html_url", required=False)


OPERATIONS: Final = [
    rest.put(
        "contents.upsert",
        _CONTENT,
        input=ContentsUpsert,
        output=Written,
        encode={"content": "base64"},
        # Sending it twice makes two commits, or fails because the first one changed the blob.
        idempotency="none",
        surface=sdk.local("a file that is written as a commit on a branch; other services' files have no such history"),
        errors=[sdk.error(422, "resource_conflict", when=sdk.when(pointer="/message", contains="wasn't supplied"))],
        # A branch that holds the content holds the effect, whoever wrote it. If it holds another, writing again is
        # refused unless the blob is still the one that `sha` names.
        reconcile=sdk.find(
            _CONTENT,
            query={"ref": "{input.branch}"},
            match={"/sha": "{input.content|git_blob_sha}"},
            absent_status=[404],
            output={"content_sha": "/sha", "html_url": "/html_url", "commit_sha": "/commit_sha"},
        ),
    )
]
