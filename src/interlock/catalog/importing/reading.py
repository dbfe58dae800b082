"""From a file to its entries."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final, cast

from interlock import sdk
from interlock.catalog.importing import grant, nango
from interlock.catalog.importing.report import Entry, Format, Imported
from interlock.kernel import InvalidJson, JsonLimits, check_json, parse_json, parse_yaml

MAX_BYTES: Final = 8 * 1_048_576
"""The largest catalogue."""

LIMITS: Final = JsonLimits(max_bytes=MAX_BYTES, max_depth=24, max_nodes=500_000)
_MOST_ENTRIES: Final = 5_000


class _Refused(ValueError):
    pass


def read_catalogue(content: bytes, *, form: Format, source: str) -> Imported:
    """The entries of a catalogue, in its own order; `source` names it in messages. At most 8 MiB of YAML or JSON, strictly: no
    anchors, no repeated keys. Raises InvalidProvider for what is no catalogue at all, or for a provider of ours that is wrong."""
    try:
        value = _parsed(content)
    except (ValueError, InvalidJson) as error:
        raise sdk.InvalidProvider(source, [sdk.Problem(path="$", problem=str(error))]) from error
    made = tuple(_own(value, source) if form == "interlock" else _others(value, form, source))
    return Imported(format=form, source=source, digest=f"sha256:{hashlib.sha256(content).hexdigest()}", entries=made)


def _parsed(content: bytes) -> object:
    if len(content) > MAX_BYTES:
        raise _Refused(f"it is larger than {MAX_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Refused(f"it is not UTF-8: byte {error.start + 1}") from error
    if text.lstrip().startswith("{"):
        return parse_json(text, limits=LIMITS, what="catalogue", unique=True)
    value = parse_yaml(text, limits=LIMITS, what="catalogue")
    check_json(value, limits=LIMITS, what="catalogue")
    return value


def _own(value: object, source: str) -> list[Entry]:
    provider = sdk.read_provider(value, source=source)
    return [Entry(entry_id=provider.provider_id, provider=provider)]


def _others(value: object, form: Format, source: str) -> list[Entry]:
    if not isinstance(value, Mapping) or not value:
        problem = "a mapping of names to entries is expected"
        raise sdk.InvalidProvider(source, [sdk.Problem(path="$", problem=problem)])
    document = cast("Mapping[str, Any]", value)
    if len(document) > _MOST_ENTRIES:
        problem = f"there are {len(document)} entries; the limit is {_MOST_ENTRIES}"
        raise sdk.InvalidProvider(source, [sdk.Problem(path="$", problem=problem)])
    return list((nango if form == "nango" else grant).entries(document))
