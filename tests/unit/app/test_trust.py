"""Which connectors' Python runs inside the process, and that what says so is right."""

import json
from pathlib import Path

import anyio
import pytest

from interlock import Interlock, app
from interlock.app import provided
from interlock.kernel import JSON

OBJECT: JSON = {"type": "object", "additionalProperties": False, "properties": {}}

DATA: dict[str, JSON] = {"http": {"method": "POST", "path": "/things"}}
HANDLED: dict[str, JSON] = {"handler": "code_of_a_file:make"}
SETTLED: dict[str, JSON] = {**DATA, "reconcile": {"function": "code_of_a_file:settle"}}


def settings(folder: Path, carried: dict[str, JSON], **connectors: JSON) -> app.Settings:
    document: JSON = {
        "contract": "interlock.connector/v1",
        "connector_id": "filed",
        "version": "1.0.0",
        "display_name": "Filed",
        "description": "From a file.",
        "auth": [{"profile_id": "none", "grant": {"type": "none"}, "base_url": "https://example.com"}],
        "operations": [
            {
                "operation_id": "thing.make",
                "display_name": "Make",
                "description": "Make a thing.",
                "effect": "create",
                "input_schema": OBJECT,
                "output_schema": {"type": "object", "properties": {}},
                **carried,
            }
        ],
    }
    path = folder / "filed.json"
    path.write_text(json.dumps(document))
    return app.load(None, {"store": ":memory:", "connectors": {"manifests": [str(path)], **connectors}})


@pytest.mark.parametrize(
    ("carried", "isolated", "trusted"),
    [
        (DATA, [], False),
        (HANDLED, [], True),
        (SETTLED, [], True),
        (DATA, ["filed"], False),
        (HANDLED, ["filed"], False),
    ],
)
def test_what_a_file_names_is_trusted_unless_it_is_isolated(
    tmp_path: Path, carried: dict[str, JSON], isolated: list[JSON], *, trusted: bool
):
    chosen = settings(tmp_path, carried, isolated=isolated)
    discovery, known = app.read_catalog(chosen)
    manifest = known.find_connector("filed")
    assert manifest is not None
    assert app.trusts(chosen, discovery, manifest) is trusted
    github = known.find_connector("github")
    assert github is not None
    assert app.trusts(chosen, discovery, github)  # its declaration was imported


def test_what_settles_in_the_process_is_not_isolated(tmp_path: Path):
    chosen = settings(tmp_path, SETTLED, isolated=["filed"])

    async def use() -> None:
        async with Interlock.open(settings=chosen):
            pass

    with pytest.raises(provided.CannotIsolate, match=r"Python functions settle thing\.make"):
        anyio.run(use)
    with pytest.raises(provided.CannotIsolate):
        app.read_catalog(chosen)


@pytest.mark.parametrize(
    ("name", "hint"), [("fled", "did you mean 'filed'[?]"), ("quite-else", r"installed: .*filed, github")]
)
def test_a_misspelt_name_isolates_nothing_and_is_refused(tmp_path: Path, name: str, hint: str):
    chosen = settings(tmp_path, HANDLED, isolated=[name])

    async def use() -> None:
        async with Interlock.open(settings=chosen):
            pass

    with pytest.raises(provided.CannotIsolate, match=rf"there is no connector '{name}'; {hint}"):
        anyio.run(use)
    file = tmp_path / app.FILE_NAME
    file.write_text(f'store = ":memory:"\n[connectors]\nmanifests = ["filed.json"]\nisolated = ["{name}"]\n')
    [check] = [check for check in anyio.run(app.examine, file, dict[str, JSON]()) if check.name == "connectors"]
    assert check.health is app.Health.FAIL
    assert f"there is no connector '{name}'" in check.found


def test_one_that_is_passed_from_python_may_be_named_where_it_is_not(tmp_path: Path):
    """Nothing here could have been meant: no handler runs inside this process."""
    chosen = settings(tmp_path, HANDLED, isolated=["filed", "passed"])
    app.read_catalog(chosen)
    file = tmp_path / app.FILE_NAME
    file.write_text('store = ":memory:"\n[connectors]\nmanifests = ["filed.json"]\nisolated = ["filed", "passed"]\n')
    found = {check.name: check for check in anyio.run(app.examine, file, dict[str, JSON]())}
    assert found["connector passed"].health is app.Health.WARN
    assert found["connector filed"].health is app.Health.OK
