"""Git references: branches and tags."""

from collections.abc import Mapping
from typing import Annotated, Final, TypeAlias

from pydantic import Field

from interlock import sdk
from interlock.connectors.github import rest
from interlock.kernel import JSON

_SURFACE: Final = sdk.local("git references are what a code host has; other services have nothing alike")

FullRef: TypeAlias = Annotated[
    str, Field(pattern=r"^refs/(heads|tags)/.+$", description="refs/heads/BRANCH or refs/tags/TAG"), sdk.slashes()
]


class RefCreate(sdk.Input):
    """Create a branch or a tag at a commit."""

    repo: sdk.Repo
    ref: FullRef
    sha: rest.Sha


class Ref(rest.Here):
    ref: str
    sha: str = sdk.at("/object/sha")
    object_type: str = sdk.at("/object/type")
    url: str
    node_id: str


class RefDelete(sdk.Input):
    """Delete a branch or a tag."""

    repo: sdk.Repo
    ref: FullRef


class Deleted(rest.Here):
    ref: str = sdk.echo("ref")
    deleted: bool = sdk.constant(value=True)


# The list of refs that begin alike, not the ref itself: an empty list proves absence, while 404 may also mean that the
# repository is out of sight. The path names a ref without `refs/`.
_MATCHING: Final = "/repos/{repo}/git/matching-refs/{ref}"
_PRESENT: Final = rest.rule(_MATCHING, items="", match={"/ref": "refs/{input.ref}"}, max_pages=20)
_GONE: Final = _PRESENT.model_copy(update={"gone": True})


def settle_create(operation: sdk.Operation, input: Mapping[str, JSON], facts: sdk.Facts) -> sdk.Reconciliation:  # noqa: A002
    """By the ref and where it points. A ref has no author: one at our commit is what was meant; one at another commit
    is somebody else's, or ours that has moved on."""
    found = yield from rest.settle(operation, [_PRESENT], {**input, "ref": _short(input)}, facts)
    output = found.output
    if found.verdict is not sdk.Verdict.HAPPENED or (isinstance(output, Mapping) and output["sha"] == input["sha"]):
        return found
    return sdk.Reconciled(
        verdict=sdk.Verdict.UNCLEAR, reason="the ref is there, but not at the commit that was meant", matches=1
    )


def settle_delete(operation: sdk.Operation, input: Mapping[str, JSON], facts: sdk.Facts) -> sdk.Reconciliation:  # noqa: A002
    """By the ref's absence."""
    found = yield from rest.settle(operation, [_GONE], {**input, "ref": _short(input)}, facts)
    if found.verdict is not sdk.Verdict.HAPPENED or not isinstance(found.output, Mapping):
        return found
    return sdk.Reconciled(
        verdict=found.verdict, reason=found.reason, output={**found.output, "ref": input["ref"]}, matches=found.matches
    )


def _short(input: Mapping[str, JSON]) -> str:  # noqa: A002
    return str(input["ref"]).removeprefix("refs/")


OPERATIONS: Final = [
    rest.post(
        "git.ref.create",
        "/repos/{repo}/git/refs",
        input=RefCreate,
        output=Ref,
        surface=_SURFACE,
        errors=[sdk.error(422, "resource_conflict", when=sdk.when(pointer="/message", contains="already exists"))],
        reconcile=sdk.settle_by(settle_create),
    ),
    rest.delete(
        "git.ref.delete",
        # `ref` begins with `refs/`, and so does this path after `git/`.
        "/repos/{repo}/git/{ref}",
        input=RefDelete,
        output=Deleted,
        surface=_SURFACE,
        errors=[sdk.error(422, "resource_not_found", when=sdk.when(pointer="/message", contains="does not exist"))],
        reconcile=sdk.settle_by(settle_delete),
    ),
]
