"""`python -m bench [names] [--quick] [--json FILE]`."""

import argparse
import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import orjson

from bench import (
    agents,
    calls,
    crowd,
    database,
    flow,
    growth,
    handing,
    intake,
    leases,
    ledger,
    machine,
    memories,
    packets,
    parts,
    report,
    starting,
)
from bench.place import Place
from bench.timing import Pace

SUITES: Mapping[str, Callable[[Place], Awaitable[list[report.Row]]]] = {
    "ledger": ledger.run,
    "call": calls.run,
    "lane": calls.run_lane,
    "flow": flow.run,
    "start": starting.run,
    "packet": packets.run,
    "parts": parts.run,
    "leases": leases.run,
    "intake": intake.run,
    "queue": handing.run,
    "crowd": crowd.run,
    "memory": memories.run,
    "agents": agents.run,
    "growth": growth.run,
}


def main() -> None:
    """Measure, and print the table. Exits 0 whatever the figures are."""
    parser = argparse.ArgumentParser(prog="bench", description="Measures speed as ratios to baselines of the same run.")
    parser.add_argument("names", nargs="*", help=f"which suites: {', '.join(SUITES)} (all)")
    parser.add_argument("--quick", action="store_true", help="few short rounds, to see that it runs")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    names: list[str] = options.names or list(SUITES)
    if unknown := [name for name in names if name not in SUITES]:
        parser.error(f"there is no suite {unknown[0]!r}; there are {', '.join(SUITES)}")
    pace = Pace(rounds=3, seconds=0.3) if options.quick else Pace(rounds=7, seconds=0.8)
    with tempfile.TemporaryDirectory(prefix="interlock-bench-", dir=".") as folder, database.server() as postgres:
        facts = machine.facts(Path(folder))
        rows = asyncio.run(_measure(names, Place(Path(folder), postgres, pace)))
    report.show(rows, facts)
    if options.json:
        options.json.write_bytes(orjson.dumps(report.to_json(rows, facts), option=orjson.OPT_INDENT_2))


async def _measure(names: list[str], place: Place) -> list[report.Row]:
    return [row for name in names for row in await SUITES[name](place)]


if __name__ == "__main__":
    main()
