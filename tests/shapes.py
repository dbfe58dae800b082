"""Holds files to their published shapes."""

import json
from functools import lru_cache
from pathlib import Path

import jsonschema_rs

SCHEMAS = Path(__file__).parents[1] / "schemas"


@lru_cache
def _validator(kind: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(json.loads((SCHEMAS / kind / "v1.json").read_text()), offline=True)


def flaws(kind: str, text: bytes) -> list[str]:
    """Where a file is not of its published shape."""
    return [f"{error.instance_path}: {error.message[:200]}" for error in _validator(kind).iter_errors(json.loads(text))]
