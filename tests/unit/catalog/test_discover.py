import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import fix_connector as fix
from interlock import catalog, sdk

MODULE = """
from interlock import sdk

connector = sdk.Connector(
    __name__, version="1.0.0", description="One of many.", base_url="https://many.example", auth=[sdk.no_auth()],
    operations=[
        sdk.get("search", "/search", input={"type": "object", "additionalProperties": False},
                output={"type": "object", "properties": {}}, about="Search."),
    ],
).manifest
"""


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=catalog.GROUP)


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> sdk.Manifest:
    """A connector that the entry point `fix_connector:acme` leads to."""
    made = fix.connector()
    monkeypatch.setattr(fix, "acme", made, raising=False)
    return made.manifest


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[catalog.Discovery]:
    """Three installed packages, `many_one`, `many_two` and `many_three`, with a connector each."""
    names = ["many_one", "many_two", "many_three"]
    for name in names:
        (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield catalog.discover(entries=[entry(name, f"{name}:connector") for name in names])
    for name in names:
        sys.modules.pop(name, None)


def loaded() -> set[str]:
    return {name for name in sys.modules if name.startswith("many_")}


def test_a_broken_entry_hides_nothing(acme: sdk.Manifest) -> None:
    found = catalog.discover(
        entries=[
            entry("tiny", "fix_connector:acme"),
            entry("missing", "no_such_module:connector"),
            entry("acme", "fix_connector:acme"),
            entry("wrong", "fix_connector:NOW"),
        ]
    )
    assert [(each.entry_point, each.manifest.connector_id) for each in found.connectors] == [("acme", "acme")]
    assert [(each.entry_point, each.code) for each in found.problems] == [
        ("missing", "connector_broken"), ("tiny", "connector_broken"), ("wrong", "connector_broken"),
    ]  # fmt: skip
    assert "no_such_module" in found.problems[0].problem
    assert "the connector is called 'acme', its entry point 'tiny'" in found.problems[1].problem


def test_one_that_ends_the_process_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def __getattr__(name: str) -> object:  # noqa: N807 - a module's own hook
        raise SystemExit(3)

    monkeypatch.setattr(fix, "__getattr__", __getattr__, raising=False)
    assert catalog.discover(entries=[entry("bad", "fix_connector:bad")]).problems[0].problem == "SystemExit: 3"


def test_a_contradictory_declaration_is_a_problem_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def __getattr__(name: str) -> object:  # noqa: N807 - a module's own hook
        return fix.connector(version="one")

    monkeypatch.setattr(fix, "__getattr__", __getattr__, raising=False)
    found = catalog.discover(entries=[entry("bad", "fix_connector:bad")])
    assert found.connectors == ()
    assert found.problems[0].code == "invalid_manifest"
    assert "version" in found.problems[0].problem


def test_what_is_installed_names_its_distribution() -> None:
    found = catalog.discover()
    assert {each.distribution for each in found.connectors} <= {"interlock"}
    nothing = catalog.discover("interlock.no_such_group")
    assert (nothing.connectors, nothing.problems) == ((), ())


def test_only_the_connector_that_is_asked_for_is_loaded(many: catalog.Discovery) -> None:
    full = catalog.Catalog([fix.connector().manifest], installed=many)
    assert full.fetch("acme.ticket.create").connector_id == "acme"
    assert full.find("stranger.thing.fetch") is None
    assert loaded() == set()
    assert full.fetch("many_two.search").manifest is sys.modules["many_two"].connector
    assert full.fetch("many_two.search") is full.fetch("many_two.search")
    assert full.find_connector("many_two") is full.fetch("many_two.search").manifest
    assert loaded() == {"many_two"}


def test_whoever_asks_for_all_gets_all(many: catalog.Discovery) -> None:
    full = catalog.Catalog([fix.connector().manifest], installed=many)
    assert [each.connector_id for each in full.connectors] == ["acme", "many_one", "many_three", "many_two"]
    assert loaded() == {"many_one", "many_two", "many_three"}
    for ask in (
        lambda: catalog.Catalog(installed=many).search("many_one")[0].connector_id,
        lambda: catalog.Catalog(installed=many).list_capabilities().capabilities[0].connector_id,
    ):
        assert ask() == "many_one"
    with pytest.raises(catalog.UnknownCapability, match=r"did you mean many_one\.search"):
        catalog.Catalog(installed=many).fetch("many_one.serch")


def test_one_that_is_broken_has_no_capabilities(many: catalog.Discovery) -> None:
    broken = catalog.discover(
        entries=[entry("broken", "no_such_module:connector"), entry("many_one", "many_one:connector")]
    )
    full = catalog.Catalog(installed=broken)
    for ask in (lambda: full.fetch("broken.thing.fetch"), lambda: full.fetch_connector("broken")):
        with pytest.raises(catalog.ConnectorBroken, match=r"'broken' .* is installed and broken: .*no_such_module"):
            ask()
    with pytest.raises(catalog.UnknownConnector, match=r"no connector 'many_on'; did you mean 'many_one'\?"):
        full.fetch_connector("many_on")
    assert full.fetch_connector("many_one").connector_id == "many_one"
    assert [each.connector_id for each in full.connectors] == ["many_one"]


def test_names_that_stand_twice_are_refused_and_not_loaded(many: catalog.Discovery, acme: sdk.Manifest) -> None:
    twice = catalog.discover(entries=[entry("many_one", "many_one:connector"), entry("many_one", "many_two:connector")])
    full = catalog.Catalog([acme], installed=twice)
    with pytest.raises(
        catalog.DuplicateConnector, match="'many_one': from an unknown package and from an unknown package"
    ):
        full.fetch("many_one.thing.fetch")
    assert [each.connector_id for each in full.connectors] == ["acme"]
    assert [each.code for each in full.problems] == ["duplicate_connector"]
    assert loaded() == set()
    installed = catalog.discover(entries=[entry("acme", "fix_connector:acme")])
    assert catalog.Catalog([acme], installed=installed).connectors == (acme,)
    with pytest.raises(catalog.DuplicateConnector, match=r"acme.*1\.2\.3.*2\.0\.0|acme.*2\.0\.0.*1\.2\.3"):
        catalog.Catalog([fix.connector(version="2.0.0").manifest], installed=installed).fetch_connector("acme")
