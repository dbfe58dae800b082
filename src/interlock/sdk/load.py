"""Manifest files: YAML or JSON text into plain data, strictly, within limits, and from there to a manifest."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

from interlock.kernel import Written, read_written
from interlock.sdk.assemble import LIMITS, assemble
from interlock.sdk.errors import InvalidManifest, Problem
from interlock.sdk.manifest import Manifest

_IDS: Final = {"auth": "profile_id", "operations": "operation_id", "triggers": "trigger_id"}


def load_manifest(file: Path | str | bytes, *, source: str | None = None) -> Manifest:
    """The manifest in a file (a Path), or in a text. A text that starts with `{` is JSON, any other is YAML.

    At most 1 MiB. YAML is read as JSON would be: no anchors, aliases or tags, no repeated keys, and `no`, `on` or dates
    are texts. Raises InvalidManifest with all problems; `source` names the origin in messages.
    """
    source = source or (str(file) if isinstance(file, Path) else "a manifest text")
    try:
        if isinstance(file, Path):
            with file.open("rb") as stream:
                file = stream.read(LIMITS.max_bytes + 1)
        written = read_written(file, limits=LIMITS, what="manifest")
    except (OSError, ValueError) as error:
        raise InvalidManifest(source, [Problem(path="$", problem=str(error))]) from error
    try:
        return assemble(written.value, source=source)
    except InvalidManifest as error:
        placed = [replace(each, line=_line(each.path, written)) for each in error.problems]
        raise InvalidManifest(source, sorted(placed, key=lambda each: each.line or 0)) from error


def _line(path: str, written: Written) -> int | None:
    """The line of a problem's path, or of the nearest thing around it. Paths name parts by their ids, and lines by number."""
    raw = written.value
    for name, key in _IDS.items():
        if path.startswith(f"{name}[") and isinstance(raw, dict):
            listed = cast("dict[str, Any]", raw).get(name)
            for index, each in enumerate(cast("list[object]", listed) if isinstance(listed, list) else ()):
                named = cast("dict[str, object]", each).get(key) if isinstance(each, dict) else None
                path = path.replace(f"{name}[{named}]", f"{name}[{index}]", 1) if named else path
    return written.line(path)
