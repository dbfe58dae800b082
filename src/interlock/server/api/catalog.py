"""What can be asked for."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from pydantic import create_model
from starlette.responses import Response

from interlock import catalog, sdk
from interlock.kernel import JSON, document
from interlock.server.api.access import Reading
from interlock.server.api.answers import Cursor, raw
from interlock.server.api.shapes import Table, page

router: Final = APIRouter(tags=["catalog"])

_SUMMARY: dict[str, Any] = {
    **dict.fromkeys(
        ("capability_id", "connector_id", "connector_version", "manifest_digest", "display_name", "description"),
        (str, ...),
    ),
    "effect": (sdk.Effect, ...),
    "runtime_class": (str, ...),
    "idempotency": (str, ...),
    "scopes": (list[str], ...),
    "surface": (Table, ...),
}
Summary = create_model("Summary", __doc__="A capability, without its schemas.", **_SUMMARY)
Capability = create_model(
    "Capability", __doc__="A capability.", **_SUMMARY, input_schema=(Table, ...), output_schema=(Table, ...)
)
_CONNECTOR: dict[str, Any] = {
    **dict.fromkeys(("connector_id", "version", "display_name", "description"), (str, ...)),
    "operations": (int, ...),
}
_CONNECTORS: dict[str, Any] = {"connectors": (list[create_model("Connector", **_CONNECTOR)], ...)}
Connectors = create_model("Connectors", **_CONNECTORS)

Named = Annotated[str, Path(max_length=200)]


@router.get("/connectors", response_model=Connectors, summary="The services that can be spoken to")
async def list_connectors(il: Reading) -> Response:
    found: list[JSON] = [
        {
            "connector_id": each.connector_id,
            "version": each.version,
            "display_name": each.display_name,
            "description": each.description,
            "operations": len(each.operations),
        }
        for each in il.catalog.connectors
    ]
    return raw({"connectors": found})


@router.get("/connectors/{connector_id}", response_model=Table, summary="A connector's manifest")
async def fetch_connector(il: Reading, connector_id: Named) -> Response:
    """As in a manifest file (`schemas/connector/v1.json`)."""
    return raw((await il.catalog.fetch_connector_for(il.caller.tenant_id, connector_id)).to_json())


@router.get("/capabilities", response_model=page("capabilities", Summary), summary="List capabilities, or search them")
async def list_capabilities(
    il: Reading,
    *,
    search: Annotated[
        str | None, Query(max_length=200, description="Only those with all these words, best first, without pages.")
    ] = None,
    connector: Annotated[str | None, Query(max_length=200)] = None,
    effect: sdk.Effect | None = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    wanted = catalog.Filter(connector_id=connector, effect=effect)
    if search is None:
        found = il.catalog.list_capabilities(wanted, cursor=cursor, limit=limit)
        fitting, more = found.capabilities, found.next_cursor
    else:
        fitting, more = il.catalog.search(search, wanted, limit=limit), None
    return raw({"capabilities": [_summary(each) for each in fitting], "next_cursor": more})


@router.get("/capabilities/{capability_id}", response_model=Capability, summary="A capability with its schemas")
async def fetch_capability(il: Reading, capability_id: Named) -> Response:
    return raw(document(await il.catalog.fetch_for(il.caller.tenant_id, capability_id)))


def _summary(capability: catalog.Capability) -> JSON:
    return {name: value for name, value in capability.to_json().items() if name in _SUMMARY}
