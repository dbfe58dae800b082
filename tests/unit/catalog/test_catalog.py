from functools import partial
from typing import Any

import pytest

import fix_connector as fix
from interlock import catalog, sdk
from interlock.kernel import RequestError, digest


def other(connector_id: str = "zeta") -> sdk.Manifest:
    draft = sdk.get("thing.fetch", "/thing", input=fix.Search, output=fix.Found, about="Fetch a ticket-like thing.")
    return sdk.Connector(
        connector_id,
        version="0.1.0",
        description="Z.",
        base_url="https://z.example",
        auth=[sdk.no_auth()],
        operations=[draft],
    ).manifest


@pytest.fixture(name="full")
def _full() -> catalog.Catalog:
    return catalog.Catalog([other(), fix.connector().manifest])


def test_a_capability_pins_version_and_digest(full: catalog.Catalog) -> None:
    found = full.fetch("acme.ticket.create")
    manifest = fix.connector().manifest
    assert (found.connector_id, found.connector_version, found.manifest_digest) == ("acme", "1.2.3", manifest.digest)
    assert found.operation.operation_id == "ticket.create"
    assert [each.connector_id for each in full.connectors] == ["acme", "zeta"]
    assert full.find("acme.nothing") is None
    assert full.find_connector("acme") == manifest


def contract(draft: sdk.Draft) -> str:
    """The contract of an operation, in a connector of its own."""
    manifest = sdk.Connector(
        "tools",
        version="1.0.0",
        description="T.",
        base_url="https://tools.example",
        auth=[sdk.no_auth()],
        operations=[draft],
    ).manifest
    return catalog.Capability(manifest, manifest.operations[0]).contract_digest


def test_the_contract_of_a_request_is_its_schemas_effect_and_scopes(full: catalog.Catalog) -> None:
    found = full.fetch("acme.ticket.create")
    stored = {
        "effect": found.operation.effect.value,
        "input_schema": found.operation.input_schema,
        "output_schema": found.operation.output_schema,
        "scopes": sorted(found.operation.scopes),
    }
    assert found.contract_digest == digest(stored)  # of runs that wait in stores: it stays as it is


def test_the_contract_of_a_program_holds_what_it_does() -> None:
    shape: dict[str, Any] = {"input": fix.Search, "output": fix.Found}
    scripts = [
        sdk.script("s", source, actions=actions, **shape)
        for source in ("1", "2")
        for actions in ({}, {"look": "acme.ticket.fetch"}, {"look": "acme.ticket.search"})
    ]
    commands = [
        sdk.command("s", argv, targets=["local-process"], **shape) for argv in (["/bin/true"], ["/bin/true", "-v"])
    ]
    assert len({contract(each) for each in [*scripts, *commands]}) == 8


def test_an_unknown_capability_comes_with_the_nearest_names(full: catalog.Catalog) -> None:
    with pytest.raises(catalog.UnknownCapability, match=r"did you mean acme\.ticket\.create") as raised:
        full.fetch("acme.ticket.craete")
    nearest = raised.value.details["nearest"]
    assert isinstance(nearest, list)
    assert nearest[0] == "acme.ticket.create"
    with pytest.raises(catalog.UnknownCapability) as raised:
        full.fetch("x" * 100_000)
    assert len(raised.value.message) < 300


def test_listing_pages_through_everything_once(full: catalog.Catalog) -> None:
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(20):
        page = full.list_capabilities(cursor=cursor, limit=2)
        seen += [each.capability_id for each in page.capabilities]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == sorted(seen)
    assert len(seen) == len(fix.operations()) + 1
    with pytest.raises(RequestError, match="limit"):
        full.list_capabilities(limit=0)


def test_filters(full: catalog.Catalog) -> None:
    def ids(**wanted: object) -> list[str]:
        return [each.capability_id for each in full.list_capabilities(catalog.Filter(**wanted)).capabilities]  # type: ignore[arg-type]

    assert ids(connector_id="zeta") == ["zeta.thing.fetch"]
    assert ids(effect=sdk.Effect.DELETE) == ["acme.ref.delete"]
    assert ids(surface="common") == ["acme.ticket.create"]
    assert ids(runtime_class=sdk.RuntimeClass.STREAM) == []


def test_search_wants_every_word_and_ranks_ids_first(full: catalog.Catalog) -> None:
    assert full.search("TICKET create")[0].capability_id == "acme.ticket.create"
    found = [each.capability_id for each in full.search("ticket fetch")]
    assert found == ["zeta.thing.fetch"]
    assert full.search("ticket nonsense") == ()
    assert full.search("") == ()


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("tikcet create", "acme.ticket.create"),
        ("TICKT create", "acme.ticket.create"),
        ("ticket crate", "acme.ticket.create"),
        ("ticket craete", "acme.ticket.create"),
        ("paymnt", "acme.payment.create"),
    ],
)
def test_a_search_forgives_a_typo(full: catalog.Catalog, text: str, first: str) -> None:
    assert full.search(text)[0].capability_id == first


@pytest.mark.parametrize("text", ["ticket", "tickt"])
def test_what_is_said_of_the_connector_is_not_said_of_each_of_its_capabilities(
    full: catalog.Catalog, text: str
) -> None:
    found = {each.capability_id for each in full.search(text)}
    assert "acme.ticket.create" in found
    assert "acme.payment.create" not in found
    every = {each.capability_id for each in full.list_capabilities(catalog.Filter(connector_id="acme")).capabilities}
    assert {each.capability_id for each in full.search("tickets")} - {"zeta.thing.fetch"} <= every


def test_what_has_the_words_hides_what_has_them_nearly(full: catalog.Catalog) -> None:
    found = ["ticket" in each.capability_id for each in full.search("tickt")]
    assert found == sorted(found, reverse=True)  # an id goes before a text
    assert found[0]
    exact = full.search("ticket.list")
    assert [each.capability_id for each in exact] == ["acme.ticket.list"]
    assert full.search("tkt") == ()
    assert full.search("tickt nonsense") == ()


def test_of_two_connectors_with_one_id_neither_is_used() -> None:
    versions = [fix.connector(version=version).manifest for version in ("1.0.0", "2.0.0", "3.0.0")]
    for count in (2, 3):
        twice = catalog.Catalog([*versions[:count], other()])
        for ask in (partial(twice.fetch, "acme.ticket.list"), partial(twice.fetch_connector, "acme")):
            with pytest.raises(
                catalog.DuplicateConnector, match=r"'acme': versions 1\.0\.0 and 2\.0\.0; neither is used"
            ):
                ask()
        assert [each.connector_id for each in twice.connectors] == ["zeta"]
        assert [each.entry_point for each in twice.problems] == ["acme"]
        assert {each.connector_id for each in twice.search("ticket")} == {"zeta"}


def test_what_could_not_be_read_may_be_what_is_asked_for() -> None:
    unread = catalog.Broken.of("x.yaml", catalog.ConnectorBroken("it has 2 problems:\n  a\n  b"))
    known = catalog.Catalog([fix.connector().manifest], unread=[unread])
    with pytest.raises(
        catalog.ConnectorBroken, match=r"no connector 'tiny', unless .*x\.yaml: it has 2 problems$"
    ) as told:
        known.fetch("tiny.thing.fetch")
    assert told.value.details["problems"] == [unread.problem]
    with pytest.raises(catalog.UnknownCapability):
        known.fetch("acme.ticket.lst")
    assert known.problems == (unread,)


def test_a_search_counts_only_what_fits(full: catalog.Catalog) -> None:
    every = full.search("ticket")
    last = every[-1]
    wanted = catalog.Filter(connector_id=last.connector_id, effect=last.operation.effect)
    assert next(each for each in every if wanted.fits(each)) == full.search("ticket", wanted, limit=1)[0]
    assert every[0].connector_id != last.connector_id or every[0].operation.effect is not last.operation.effect
