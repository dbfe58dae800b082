"""The contracts as JSON Schema files: `schemas/<kind>/v1.json`, made from the models.

`python tools/schemas.py` says what differs; `--write` puts the files in order. A contract is a model whose field
`contract` is a literal such as "interlock.receipt/v1". One that others write (its `contract` has no default) is described
as it is read, one that Interlock writes as it is written. A published version never changes: a change is a new version.
Beside them lie what `interlock conformance` writes, and the description of the HTTP API, which grows.
"""

import argparse
import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

import interlock
from interlock import conformance
from interlock.server import api

FOLDER = Path(__file__).parents[1] / "schemas"
ASIDE = ("runs.shapes",)
"""Modules with contracts that no door exports."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def contracts() -> dict[str, type[BaseModel]]:
    """Every contract of every room, by name and version."""
    for room in (*(room.name for room in pkgutil.iter_modules(interlock.__path__)), *ASIDE):
        importlib.import_module(f"interlock.{room}")
    found: dict[str, type[BaseModel]] = {}
    for model in _derived(BaseModel):
        if model.__module__.startswith("interlock.") and "contract" in model.model_fields:
            (name,) = get_args(model.model_fields["contract"].annotation)
            if found.setdefault(name, model) is not model:
                raise ValueError(f"two contracts are called {name}: {found[name]} and {model}")
    return found


def files() -> dict[Path, str]:
    """What should lie in the folder: path to text."""
    made: dict[Path, str] = {}
    for name, model in contracts().items():
        kind, _, version = name.removeprefix("interlock.").partition("/")
        required = model.model_fields["contract"].is_required()
        schema = model.model_json_schema(mode="validation" if required else "serialization")
        text = json.dumps({"$schema": DIALECT, **schema}, indent=2, sort_keys=True, ensure_ascii=False)
        made[FOLDER / kind / f"{version}.json"] = text + "\n"
    report = {"$schema": DIALECT, **conformance.ReportRecord.model_json_schema()}
    made[FOLDER / "conformance-report" / "v1.json"] = (
        json.dumps(report, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    )
    made[FOLDER / "http-api" / "v1.json"] = (
        json.dumps(api.openapi(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    )
    return made


def differences() -> list[str]:
    """What is missing, changed or left over in the folder."""
    wanted = files()
    there = set(FOLDER.rglob("*.json"))
    found = dict.fromkeys(wanted.keys() - there, "missing")
    found |= dict.fromkeys(there - wanted.keys(), "no model has this contract")
    found |= {path: "differs from its model" for path in there & wanted.keys() if path.read_text() != wanted[path]}
    return [f"{path.relative_to(FOLDER.parent)}: {what}" for path, what in sorted(found.items())]


def _derived(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for child in model.__subclasses__():
        yield child
        yield from _derived(child)


def main() -> None:
    """Compare, or write."""
    parser = argparse.ArgumentParser(description="The contracts as JSON Schema files.")
    parser.add_argument("--write", action="store_true", help="write what is missing or differs")
    if parser.parse_args().write:
        for path, text in files().items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    if found := differences():
        sys.exit("\n".join([*found, "`make schemas` writes what the models say."]))


if __name__ == "__main__":
    main()
