"""Capabilities as operations: what a manifest says of them, and what keeps a spec to it."""

import pytest

from fix_app import ACME, connector, operations
from interlock import agents, catalog, sdk
from interlock.agents.sourcing import options
from interlock.kernel import JSON


def registry(manifest: sdk.Manifest = ACME) -> agents.Registry:
    return agents.Registry(sources=[agents.Capabilities(lambda: catalog.Catalog([manifest]))])


def document(ref: str = "acme.issue.create", **members: JSON) -> dict[str, JSON]:
    operation: dict[str, JSON] = {"name": "it", "source": {"kind": "capability", "ref": ref}, "approval": {}, **members}
    return {"id": "desk", "instructions": "Help.", "operations": [operation]}


def operation(ref: str) -> agents.Operation:
    [found] = agents.assemble(document(ref), source="test", registry=registry()).operations
    return found


@pytest.mark.parametrize(
    ("ref", "what"),
    [
        ("acme.account.fetch", "pure"),
        ("acme.issue.list", "pure"),
        ("acme.issue.create", "reconcile"),
        ("acme.comment.create", "unsafe_once"),
        ("acme.issue.file", "unsafe_once"),
        ("acme.proxy.get", "pure"),
        ("acme.proxy.post", "unsafe_once"),
    ],
)
def test_what_a_second_time_means_comes_from_the_manifest(ref: str, what: str):
    assert operation(ref).idempotency.value == what


def test_a_key_of_the_service_is_one_of_ours():
    keyed = sdk.post("pay", "/pay", input=sdk.Input, output=sdk.Record, idempotency="key", idempotency_header="Key")
    there = registry(connector(operations=[keyed]))
    [found] = agents.assemble(document("acme.pay"), source="test", registry=there).operations
    assert found.idempotency is agents.Idempotency.DEDUPE


def test_a_model_is_shown_the_schemas_without_what_is_for_programs():
    found = operation("acme.issue.create")
    assert found.description
    assert set(found.input["properties"]) == {"repo", "title", "body"}
    assert found.output is not None
    assert "x-from" not in str(found.output)
    assert "author" in found.output["properties"]
    assert found.metadata == {"effect": "create"}


def test_a_property_may_be_called_as_annotations_are():
    schema = {"type": "object", "properties": {"x-from": {"type": "string", "x-from": "/a"}}}
    plain = options.without_annotations(schema)
    assert plain == {"type": "object", "properties": {"x-from": {"type": "string"}}}


def test_what_is_wrong_is_told_with_its_place_and_the_nearest_name():
    wrong = document("acme.issue.creat", source={"kind": "capability", "ref": "acme.issue.creat"})
    with pytest.raises(agents.InvalidSpec, match=r"operations\[0\]\.source\.ref.*did you mean 'acme\.issue\.create'"):
        agents.assemble(wrong, source="test", registry=registry())
    options = {"kind": "capability", "ref": "acme.issue.create", "options": {"connexion": "a", "timeout_s": 0}}
    with pytest.raises(agents.InvalidSpec) as raised:
        agents.assemble(document(source=options), source="test", registry=registry())
    assert "did you mean 'connection'" in str(raised.value)
    assert "options.timeout_s" in str(raised.value)


def test_a_manifest_that_cannot_be_read_is_told_where_its_capability_is_missing():
    unread = catalog.Broken(
        entry_point="books.yaml", distribution=None, code="invalid_manifest", problem="it has 3 problems:\n…"
    )
    there = agents.Registry(sources=[agents.Capabilities(lambda: catalog.Catalog([ACME], unread=[unread]))])
    with pytest.raises(
        agents.InvalidSpec, match=r"could not be read: books\.yaml: it has 3 problems \(`interlock doctor`"
    ):
        agents.assemble(document("books.open"), source="test", registry=there)
    with pytest.raises(agents.InvalidSpec, match=r"there is no capability 'acme\.open'"):
        agents.assemble(document("acme.open"), source="test", registry=there)


def test_a_spec_that_was_made_of_another_capability_is_told_so():
    made = agents.assemble(document(), source="test", registry=registry())
    assert agents.read_spec(agents.write_spec(made), registry=registry()) == made
    more = connector(
        version="1.1.0", operations=[*operations(), sdk.get("x", "/x", input=sdk.Input, output=sdk.Record)]
    )
    assert agents.read_spec(agents.write_spec(made), registry=registry(more)) == made

    other = sdk.post("issue.create", "/elsewhere", input=sdk.Input, output=sdk.Record, scopes=["repo"])
    with pytest.raises(
        agents.InvalidSpec, match=r"operations\[0\]\.pinned: the capability acme\.issue\.create is another"
    ):
        agents.read_spec(agents.write_spec(made), registry=registry(connector(operations=[other])))


def test_what_is_not_here_is_told_by_name_where_all_has_to_be():
    elsewhere = document("acme.issue.lost", idempotency="pure")
    assert agents.assemble(elsewhere, source="test", registry=registry())
    with pytest.raises(
        agents.InvalidSpec, match=r"source\.ref: there is no capability 'acme\.issue\.lost' \(did you mean"
    ):
        agents.assemble(elsewhere, source="test", registry=registry(), complete=True)
    strange = document(source={"kind": "wiki", "ref": "start"}, idempotency="pure")
    with pytest.raises(agents.InvalidSpec, match=r"source\.kind: nobody resolves the kind 'wiki'"):
        agents.assemble(strange, source="test", registry=registry(), complete=True)
    imported = document(f"{sdk.PROVIDER_PREFIX}pets.proxy.get", idempotency="pure")
    assert agents.assemble(imported, source="test", registry=registry(), complete=True)
