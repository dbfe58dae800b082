"""From a document to a connector."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, cast

from interlock import sdk
from interlock.catalog.openapi.operations import METHODS, draft, operation_id
from interlock.catalog.openapi.schemas import Raw, Unsayable, lookup
from interlock.kernel import JSON, InvalidJson, JsonLimits, check_json, read_written

LIMITS: Final = JsonLimits(max_bytes=8 * 1_048_576, max_depth=64, max_nodes=500_000)
_VERSION: Final = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What the connector does not have of the document, and why."""

    what: str
    why: str

    def to_json(self) -> dict[str, JSON]:
        return {"what": self.what, "why": self.why}


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A document as it was read."""

    manifest: sdk.Manifest
    left_out: tuple[LeftOut, ...]


def read_openapi(
    document: bytes | str | Mapping[str, Any],
    *,
    connector_id: str,
    source: str = "an OpenAPI document",
    base_url: str | None = None,
    only: Sequence[str] = (),
) -> Described:
    """The connector of an OpenAPI document (3.0 or 3.1), as JSON, YAML or what was read of them. `base_url` is where the service
    lives, if the document does not say; `only` names the operations to take, by our ids or patterns such as `pets.*`.

    A GET reads, a PUT and a DELETE may be done twice, of a POST and a PATCH nobody knows: where the service says more, the
    manifest can be told. Raises sdk.InvalidManifest.
    """
    raw = _raw(document, source)
    if not re.match(r"3\.[01](\.|$)", str(raw.get("openapi", ""))):
        raise _wrong(source, "openapi", "a document of OpenAPI 3.0 or 3.1 is expected")
    left_out: list[LeftOut] = []
    drafts: dict[str, sdk.Draft] = {}
    for method, path, item, said in _operations(raw):
        name = operation_id(method, path, said)
        if only and not any(fnmatchcase(name, each) for each in only):
            continue
        try:
            if name in drafts:
                raise Unsayable("another operation has this name")
            drafts[name] = draft(raw, path, method, item, said)
        except Unsayable as why:
            left_out.append(LeftOut(what=f"{name} ({method.upper()} {path})"[:300], why=str(why)))
    head = _head(raw, connector_id, source, base_url, left_out)
    return _described(head, drafts, left_out, source)


def _described(head: Raw, drafts: dict[str, sdk.Draft], left_out: list[LeftOut], source: str) -> Described:
    """With what stands; an operation that makes no part of a manifest is left out, and told."""
    if not drafts:
        why = f"; {left_out[0].what}: {left_out[0].why}" if left_out else ""
        raise _wrong(source, "paths", f"there is no operation that could be taken{why}")
    try:
        manifest = sdk.assemble_manifest({**head, "operations": list(drafts.values())}, source=source)
    except sdk.InvalidManifest as error:
        wrong = {name: each.problem for each in error.problems if (name := _about(each.path)) in drafts}
        if not wrong:
            raise
        left_out += (LeftOut(what=name, why=why) for name, why in wrong.items())
        return _described(head, {name: each for name, each in drafts.items() if name not in wrong}, left_out, source)
    return Described(manifest=manifest, left_out=tuple(left_out))


def _about(path: str) -> str:
    found = re.match(r"operations\[([a-z0-9_.]+)\]", path)
    return found[1] if found else ""


def _raw(document: bytes | str | Mapping[str, Any], source: str) -> Raw:
    try:
        if isinstance(document, Mapping):
            raw: object = dict(document)
            check_json(raw, limits=LIMITS, what="document")
        else:
            raw = read_written(document, limits=LIMITS, what="document").value
    except (ValueError, InvalidJson) as error:
        raise _wrong(source, "$", str(error)) from error
    if not isinstance(raw, dict):
        raise _wrong(source, "$", "an OpenAPI document is a mapping")
    return cast("Raw", raw)


def _operations(raw: Raw) -> Iterator[tuple[str, str, Raw, Raw]]:
    paths = raw.get("paths")
    for path, found in cast("Raw", paths).items() if isinstance(paths, Mapping) else ():
        if not isinstance(found, Mapping) or not path.startswith("/"):
            continue
        item = cast("Raw", found)
        for method in METHODS:
            if isinstance(said := item.get(method), Mapping):
                yield method, path, item, cast("Raw", said)


def _head(raw: Raw, connector_id: str, source: str, base_url: str | None, left_out: list[LeftOut]) -> Raw:
    info = cast("Raw", raw.get("info")) if isinstance(raw.get("info"), Mapping) else {}
    version = _VERSION.fullmatch(str(info.get("version", "")))
    title = str(info.get("title") or connector_id)[:200]
    address = base_url or _address(raw)
    if address is None:
        raise _wrong(
            source, "servers", "it does not say where the service lives, as an https address: give the base address"
        )
    return {
        "contract": sdk.CONTRACT,
        "connector_id": connector_id,
        "version": version[0] if version else "1.0.0",
        "display_name": title,
        "description": str(info.get("description") or title)[:2000],
        "auth": [{"base_url": address.rstrip("/"), **each} for each in _profiles(raw, left_out)],
    }


def _address(raw: Raw) -> str | None:
    servers = raw.get("servers")
    for each in cast("list[object]", servers) if isinstance(servers, list) else ():
        url = cast("Raw", each).get("url") if isinstance(each, Mapping) else None
        if isinstance(url, str) and url.startswith("https://") and "{" not in url:
            return url
    return None


def _profiles(raw: Raw, left_out: list[LeftOut]) -> list[sdk.Draft]:
    parts = raw.get("components")
    schemes = cast("Raw", parts).get("securitySchemes") if isinstance(parts, Mapping) else None
    made: dict[str, sdk.Draft] = {}
    for name, each in cast("Raw", schemes).items() if isinstance(schemes, Mapping) else ():
        try:
            profile = _profile(lookup(raw, each))
            if profile is None or profile["profile_id"] in made:
                raise Unsayable("it is asked for in a way that people cannot be asked for here, or stands twice")
            made[profile["profile_id"]] = profile
        except Unsayable as why:
            left_out.append(LeftOut(what=f"the security scheme {name}"[:300], why=str(why)))
    return list(made.values()) or [sdk.no_auth()]


def _profile(scheme: Raw) -> sdk.Draft | None:
    name = str(scheme.get("name", ""))
    match (scheme.get("type"), scheme.get("scheme", scheme.get("in"))):
        case ("http", str(kind)) if kind.lower() == "bearer":
            return sdk.token_profile()
        case ("http", str(kind)) if kind.lower() == "basic":
            return sdk.basic()
        case ("apiKey", "header"):
            return sdk.api_key(header=name)
        case ("apiKey", "query"):
            return sdk.api_key(query=name)
        case _:
            return None


def _wrong(source: str, path: str, problem: str) -> sdk.InvalidManifest:
    return sdk.InvalidManifest(source, [sdk.Problem(path=path, problem=problem)])
