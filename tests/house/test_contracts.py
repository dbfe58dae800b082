"""The import contracts catch what they promise: a house with one forbidden import falls, an empty house stands."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
WITHIN = (
    "adapters.keys", "adapters.lanes", "adapters.lanes.http", "adapters.sql", "adapters.sql.tables",
    "connectors.github", "connectors.linear", "kernel.clock", "kernel.ids",
)  # fmt: skip

LAYERS = "A room imports only rooms on lines below its own"
SABOTAGE = [
    ("kernel", "import interlock.sdk", LAYERS),
    ("sdk", "import interlock.plane", LAYERS),
    ("policy", "import interlock.budgets", LAYERS),
    ("dispatch", "import interlock.app", LAYERS),
    ("runs", "import interlock.dispatch", LAYERS),
    ("dispatch", "import interlock.triggers", LAYERS),
    ("triggers", "import interlock.app", LAYERS),
    ("app", "import interlock.testing", LAYERS),
    ("app", "import interlock.server", LAYERS),
    ("server", "import interlock.testing", LAYERS),
    ("adapters.keys", "import interlock.app", LAYERS),
    ("connectors.github", "import interlock.sync", LAYERS),
    ("sync", "import interlock.testing", LAYERS),
    ("testing", "import interlock.conformance", LAYERS),
    ("conformance", "import interlock.cli", LAYERS),
    ("cli", "import interlock.__main__", LAYERS),
    ("connections", "import interlock.runs", LAYERS),
    ("catalog", "import interlock.approvals", LAYERS),
    ("approvals", "import interlock.connections", LAYERS),
    ("budgets", "import interlock.catalog", LAYERS),
    ("tokens", "import interlock.approvals", LAYERS),
    ("client", "import interlock.app", LAYERS),
    ("subscriptions", "import interlock.app", LAYERS),
    ("memory", "import interlock.triggers", LAYERS),
    ("agents", "import interlock.triggers", LAYERS),
    ("inference", "import interlock.dispatch", LAYERS),
    ("bridges", "import interlock.cli", LAYERS),
    ("novelty", "", LAYERS),
    ("plane", "from interlock import Interlock", LAYERS),
    ("conformance", "import interlock.adapters.lanes", "Only app imports adapters and connectors"),
    ("testing", "import interlock.adapters.sql", "Only app imports adapters and connectors"),
    ("cli", "import interlock.connectors.github", "Only app imports adapters and connectors"),
    ("connectors.github", "import interlock.runs", "Connectors know only sdk and kernel"),
    ("connectors.github", "import httpx2", "Connectors know only sdk and kernel"),
    ("memory", "import interlock.catalog", "Memory is of use by itself: it knows only the kernel"),
    ("connectors.github", "import interlock.connectors.linear", "Connectors are strangers to each other"),
    ("adapters.lanes", "import interlock.adapters.keys", "Adapters are strangers to each other"),
    (
        "adapters.keys",
        "import sqlalchemy",
        "SQL only in adapters.sql and queues, HTTP only where the network begins",
    ),
    (
        "adapters.sql",
        "import httpx2",
        "SQL only in adapters.sql and queues, HTTP only where the network begins",
    ),
    (
        "app",
        "from sqlalchemy import orm",
        "SQL only in adapters.sql and queues, HTTP only where the network begins",
    ),
    ("runs", "import starlette.responses", "Domain rooms know no web server and no terminal"),
    ("kernel.ids", "import interlock.kernel.clock", "No cycles among siblings, at any depth"),
]


def layers() -> list[list[str]]:
    """The rooms that there are, line by line from the top."""
    lines = next(contract["layers"] for contract in SETTINGS["contracts"] if contract["type"] == "layers")
    names = [[name.strip() for name in line.split("|")] for line in lines]
    return [there for line in names if (there := [name for name in line if not name.startswith("(")])]


def rooms() -> list[str]:
    return [name for line in layers() for name in line]


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the house's walls with nothing inside."""
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    for room in ("", *rooms(), *WITHIN):
        write(tmp_path, room, "")
    write(tmp_path, "", "def __getattr__(name): from interlock.app import Interlock")
    write(tmp_path, "app", "import interlock.adapters.sql, interlock.connectors.github, interlock.runs")
    write(tmp_path, "adapters.sql", "import sqlalchemy.dialects.postgresql, interlock.runs")
    write(tmp_path, "adapters.sql.tables", "import alembic.command, psycopg")
    write(tmp_path, "adapters.lanes", "import httpx2, interlock.plane")
    write(tmp_path, "adapters.lanes.http", "import h11")
    write(tmp_path, "kernel.clock", "import interlock.kernel.ids")
    return tmp_path


def write(house: Path, module: str, source: str) -> None:
    folder = house.joinpath("interlock", *module.split(".")) if module else house / "interlock"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "__init__.py").write_text(source)


def lint(house: Path) -> subprocess.CompletedProcess[str]:
    program = (
        f"import sys; sys.path.insert(0, {str(house)!r}); from importlinter.cli import lint_imports_command as c; c()"
    )
    command = [sys.executable, "-c", program, "--no-cache", "--config", str(house / "pyproject.toml")]
    return subprocess.run(command, cwd=house, capture_output=True, text=True, timeout=60, check=False)


def test_an_orderly_house_stands(house: Path):
    answer = lint(house)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_each_forbidden_import_is_caught(house: Path):
    """All of them in one house, for to look one over takes long. That each is caught by itself is in what is told of it."""
    for room in {room for room, _, _ in SABOTAGE}:
        write(house, room, "\n".join(source for where, source, _ in SABOTAGE if where == room))
    answer = lint(house)
    assert answer.returncode == 1
    missed = [each for each in SABOTAGE if not is_told(answer.stdout, *each)]
    assert not missed, answer.stdout


def is_told(output: str, room: str, source: str, contract: str) -> bool:
    """Whether that contract is said to be broken by that import."""
    of_it = output.partition("Broken contracts\n")[2].partition(f"\n{contract}\n---")[2]
    section = of_it.partition("\n\n\n---")[0]
    for other in SETTINGS["contracts"]:
        section = section.partition(f"\n{other['name']}\n---")[0]
    if not source:
        return f"- interlock.{room}\n" in section
    imported = source.split()[1]
    known = imported if imported.startswith("interlock") else imported.partition(".")[0]
    whole = f"interlock.{room} -> {known} ("
    short = f"- .{room.rpartition('.')[2]} -> .{known.rpartition('.')[2]} ("
    return whole in section or short in section


def test_every_room_has_its_sabotage():
    """The uppermost line may import all the others."""
    tried = {room.partition(".")[0] for room, _, contract in SABOTAGE if contract == LAYERS}
    assert not {name for line in layers()[1:] for name in line} - tried


def test_every_contract_has_its_sabotage():
    assert {contract["name"] for contract in SETTINGS["contracts"]} == {contract for _, _, contract in SABOTAGE}
