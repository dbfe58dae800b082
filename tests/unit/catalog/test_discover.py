from importlib.metadata import EntryPoint

import pytest

from interlock import catalog


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=catalog.GROUP)


def test_a_broken_entry_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import fix_connector as fix

    monkeypatch.setattr(fix, "acme", fix.connector(), raising=False)
    monkeypatch.setattr(fix, "tiny", fix.connector().manifest, raising=False)
    found = catalog.discover(
        entries=[
            entry("tiny", "fix_connector:tiny"),
            entry("missing", "no_such_module:connector"),
            entry("acme", "fix_connector:acme"),
            entry("wrong", "fix_connector:NOW"),
        ]
    )
    assert [(each.entry_point, each.manifest.connector_id) for each in found.connectors] == [
        ("acme", "acme"),
        ("tiny", "acme"),
    ]
    assert all(each.trusted_in_process for each in found.connectors)
    assert [(each.entry_point, each.code) for each in found.problems] == [
        ("missing", "connector_broken"), ("wrong", "connector_broken"),
    ]  # fmt: skip
    assert "no_such_module" in found.problems[0].problem


def test_a_contradictory_declaration_is_a_problem_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    import fix_connector as fix

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
    assert catalog.discover("interlock.no_such_group") == catalog.Discovery(connectors=(), problems=())
