"""What the GitHub connector says of itself."""

import pytest

from fix_github import CATALOG, GITHUB_OPERATIONS, OPERATIONS, WRITES
from interlock import catalog, sdk
from interlock.connectors.github import connector

EFFECTS = {
    "comment.create": "create", "comment.update": "update", "contents.upsert": "update", "git.ref.create": "create",
    "git.ref.delete": "delete", "issue.close": "update", "issue.create": "create", "issue.label": "update",
    "issue.update": "update", "pr.create": "create", "pr.review.create": "create",
    "pr.review_comment.create": "create", "pr.update": "update",
}  # fmt: skip
ONCE = {"comment.create", "contents.upsert", "git.ref.create", "issue.create", "pr.create", "pr.review.create",
        "pr.review_comment.create"}  # fmt: skip


def test_it_has_exactly_these_capabilities():
    listed = CATALOG.list_capabilities().capabilities
    assert {capability.capability_id for capability in listed} == {f"github.{name}" for name in GITHUB_OPERATIONS}
    assert len(listed) == 24


def test_effects_and_what_repeating_means():
    assert {name: OPERATIONS[name].effect.value for name in WRITES} == EFFECTS
    assert {name for name, each in OPERATIONS.items() if each.idempotency is sdk.Idempotency.NONE} == ONCE


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_every_operation_is_complete(operation_id: str):
    operation = OPERATIONS[operation_id]
    assert operation.http is not None
    assert operation.scopes == ("repo",)
    assert operation.description.endswith(".")
    if operation.effect is sdk.Effect.READ:
        assert operation.http.conditional
        assert operation.reconcile is None
        assert ("max_pages" in operation.input_schema["properties"]) == (operation.pagination is not None)
    else:
        assert operation.reconcile is not None
        # GitHub ends requests after ten seconds: nothing is proven absent before.
        assert operation.settle_seconds is not None
        assert operation.settle_seconds > 10
    assert {"repo", "actor"} <= operation.output_schema["properties"].keys()
    assert "auth_binding" not in operation.output_schema["properties"]


def test_work_items_have_the_common_surface():
    common = {name: each.surface.normalized_id for name, each in OPERATIONS.items() if each.surface.mode == "common"}
    assert common == {
        "comment.create": "comment.create",
        "comment.update": "comment.update",
        "issue.close": "work_item.close",
        "issue.create": "work_item.create",
        "issue.fetch": "work_item.fetch",
        "issue.list": "work_item.list",
        "issue.update": "work_item.update",
    }
    assert all(each.surface.reason for each in OPERATIONS.values() if each.surface.mode == "local")


def test_it_is_found_by_its_entry_point_and_survives_a_file():
    found = catalog.discover()
    assert connector.manifest.digest in {each.manifest.digest for each in found.connectors}
    assert sdk.load_manifest(_as_text(connector.manifest), source="here").digest == connector.manifest.digest


def _as_text(manifest: sdk.Manifest) -> str:
    import orjson

    return orjson.dumps(manifest.to_json()).decode()
