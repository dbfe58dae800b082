"""Manifest files: YAML or JSON text into plain data, strictly, within limits, and from there to a manifest."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

from interlock.kernel import InvalidJson, json_places, parse_json, parse_yaml
from interlock.sdk.assemble import LIMITS, assemble
from interlock.sdk.errors import InvalidManifest, Problem
from interlock.sdk.manifest import Manifest

_IDS: Final = {"auth": "profile_id", "operations": "operation_id", "triggers": "trigger_id"}


class _Refused(ValueError):
    pass


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
        data = file.encode("utf-8", "surrogatepass") if isinstance(file, str) else file
        if len(data) > LIMITS.max_bytes:
            raise _Refused(f"it is larger than {LIMITS.max_bytes} bytes")
        text = data.decode("utf-8-sig")
        lines: dict[str, int] = {}
        is_json = text.lstrip().startswith("{")
        raw = _from_json(text) if is_json else parse_yaml(text, limits=LIMITS, what="manifest", lines=lines)
    except (OSError, ValueError) as error:
        raise InvalidManifest(source, [Problem(path="$", problem=str(error))]) from error
    try:
        return assemble(raw, source=source)
    except InvalidManifest as error:
        lines = _json_lines(text) if is_json else lines
        placed = [replace(each, line=_line(each.path, raw, lines)) for each in error.problems]
        raise InvalidManifest(source, sorted(placed, key=lambda each: each.line or 0)) from error


def _line(path: str, raw: object, lines: Mapping[str, int]) -> int | None:
    """The line of a problem's path, or of the nearest thing around it. Paths name parts by their ids, and lines by number."""
    for name, key in _IDS.items():
        if path.startswith(f"{name}[") and isinstance(raw, dict):
            listed = cast("dict[str, Any]", raw).get(name)
            for index, each in enumerate(cast("list[object]", listed) if isinstance(listed, list) else ()):
                named = cast("dict[str, object]", each).get(key) if isinstance(each, dict) else None
                path = path.replace(f"{name}[{named}]", f"{name}[{index}]", 1) if named else path
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path)


def _json_lines(text: str) -> dict[str, int]:
    """The line of every value under its path, such as `a.b[0]`."""
    return {
        "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip("."): line
        for path, (line, _) in json_places(text).items()
        if path
    }


def _from_json(text: str) -> object:
    try:
        return parse_json(text, limits=LIMITS, what="manifest", unique=True)
    except InvalidJson as error:
        raise _Refused(error.message) from error
