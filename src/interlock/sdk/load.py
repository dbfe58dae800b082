"""Manifest files: YAML or JSON text into plain data, strictly, within limits, and from there to a manifest."""

from pathlib import Path

from interlock.kernel import InvalidJson, parse_json, parse_yaml
from interlock.sdk.assemble import LIMITS, assemble
from interlock.sdk.errors import InvalidManifest, Problem
from interlock.sdk.manifest import Manifest


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
        raw = _from_json(text) if text.lstrip().startswith("{") else parse_yaml(text, limits=LIMITS, what="manifest")
    except (OSError, ValueError) as error:
        raise InvalidManifest(source, [Problem(path="$", problem=str(error))]) from error
    return assemble(raw, source=source)


def _from_json(text: str) -> object:
    try:
        return parse_json(text, limits=LIMITS, what="manifest", unique=True)
    except InvalidJson as error:
        raise _Refused(error.message) from error
