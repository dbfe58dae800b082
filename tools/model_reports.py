"""What came of it when every kind of provider was asked for every feature: `make model-reports`.

Each kind is asked through our wire by its provider's own library, of a server that plays the shapes of its API, and `compatible`
also of llama.cpp's server with a model of random weights, where `.tools/llama` has one (`make rig` builds it). What was seen
stands in `docs/model-reports.json`, with the versions of the libraries; the table of it in `docs/models.md`. Without --write it
is said whether they are of these features and of the versions that are pinned.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio

import fix_llama
import fix_models
from interlock.app import Interlock, Settings
from model_features import FEATURES, OF_A_REAL_MODEL, Trial

ROOT = Path(__file__).parents[1]
REPORT = ROOT / "docs" / "model-reports.json"
PAGE = ROOT / "docs" / "models.md"
BEGIN, END = "<!-- made by tools/model_reports.py -->", "<!-- to here -->"
LLAMA = "llama.cpp"
KINDS = (*fix_models.PATHS, LLAMA)
LIBRARIES = ("pydantic-ai-slim", "openai", "anthropic", "google-genai")


def main(arguments: Sequence[str]) -> int:
    """Check, or write; 1 if something does not hold."""
    parser = argparse.ArgumentParser(description="What comes of it when every kind of provider is asked.")
    parser.add_argument("--write", action="store_true")
    if parser.parse_args(arguments).write:
        anyio.run(write)
    for problem in (found := problems()):
        sys.stdout.write(f"{problem}\n")
    return 1 if found else 0


async def write() -> None:
    """Ask all of them. Where there is no llama.cpp, what was seen of it stays."""
    report = read()
    seen = {kind: await tried(kind) for kind in fix_models.PATHS}
    libraries = {name: version(name) for name in LIBRARIES}
    if fix_llama.PYTHON.exists():
        seen[LLAMA] = await tried_llama()
        command = [fix_llama.PYTHON, "-c", "from importlib.metadata import version; print(version('llama-cpp-python'))"]
        libraries["llama-cpp-python"] = (await anyio.run_process(command)).stdout.decode().strip()
    else:
        seen[LLAMA] = report["seen"][LLAMA]
        libraries["llama-cpp-python"] = report["libraries"]["llama-cpp-python"]
    REPORT.write_text(json.dumps({"libraries": libraries, "seen": seen}, indent=1, ensure_ascii=False) + "\n")
    head, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{table()}{END}{rest.partition(END)[2]}")


async def tried(kind: str) -> dict[str, str | None]:
    """What is seen of a kind whose API is played."""
    sys.stdout.write(f"{kind} …\n")
    os.environ["IT_KEY"] = fix_models.KEY
    with fix_models.played() as api:
        provider: dict[str, Any] = {"kind": kind, "base_url": api.url + fix_models.PATHS[kind], "api_key": "env:IT_KEY"}
        if kind == "compatible":
            provider |= {"input_usd": 1, "output_usd": 2}
        async with _opened(provider, api.url.removeprefix("http://")) as il:
            trial = Trial(il=il, model=f"it:{fix_models.NAMES[kind]}", api=api)
            return {name: await feature(trial) for name, feature in FEATURES.items()}


async def tried_llama() -> dict[str, str | None]:
    """What is seen of a model that runs here."""
    sys.stdout.write(f"{LLAMA} …\n")
    with tempfile.TemporaryDirectory(prefix="llama-") as folder, fix_llama.served(Path(folder)) as host:
        provider = {
            "kind": "compatible",
            "base_url": f"http://{host}/v1",
            "api_key": "",
            "options": ["response_format"],
        }
        async with _opened(provider | {"input_usd": 0, "output_usd": 0}, host) as il:
            trial = Trial(il=il, model="it:tiny", api=None)
            return {name: await feature(trial) for name, feature in OF_A_REAL_MODEL.items()}


@asynccontextmanager
async def _opened(provider: Mapping[str, Any], host: str) -> AsyncGenerator[Interlock]:
    told: dict[str, Any] = {"store": ":memory:", "inference": {"providers": {"it": provider}}}
    settings = Settings.model_validate(told | {"execution": {"egress_allow": (host,)}})
    async with Interlock.open(settings=settings) as il:
        yield il


def problems() -> list[str]:
    """What is not as it is to be: of other features, of other versions, or not in the table."""
    report, found = read(), list[str]()
    for kind in KINDS:
        if list(report["seen"].get(kind, ())) != list(OF_A_REAL_MODEL if kind == LLAMA else FEATURES):
            found.append(f"{kind}: the report is of other features")
    if report["libraries"] != (due := pinned()):
        found.append(f"the report is of {report['libraries']}, and pinned is {due}")
    if table() not in PAGE.read_text():
        found.append(f"{PAGE.name}: the table is not that of the report")
    return [f"{each}; `make model-reports` makes it anew" for each in found]


def pinned() -> dict[str, str]:
    """The versions that the project is developed with."""
    written = (ROOT / "requirements" / "dev.txt").read_text() + (ROOT / "Makefile").read_text()
    found = re.findall(r"^(?:LLAMA := ')?([a-z-]+)(?:\[server\])?==([\w.]+)", written, re.MULTILINE)
    return {name: dict(found)[name] for name in (*LIBRARIES, "llama-cpp-python")}


def read() -> Mapping[str, Any]:
    """What was seen."""
    return json.loads(REPORT.read_text()) if REPORT.exists() else {"libraries": {}, "seen": {LLAMA: {}}}


def table() -> str:
    """The features, a line for each."""
    report = read()
    lines = [f"| | {' | '.join(f'`{kind}`' if kind != LLAMA else kind for kind in KINDS)} |", "|---" * 7 + "|"]
    for name in FEATURES:
        seen = [report["seen"].get(kind, {}).get(name) or "–" for kind in KINDS]
        lines.append(f"| {name} | {' | '.join(seen)} |")
    versions = ", ".join(f"{name} {number}" for name, number in report["libraries"].items())
    return "\n".join(lines) + f"\n\nSeen with {versions}.\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
