"""Services that were imported from catalogues. They are imported and removed where the store is: a provider says where secrets
go."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from pydantic import create_model
from starlette.responses import Response

from interlock import catalog
from interlock.kernel import JSON, document
from interlock.server.api.access import Whole
from interlock.server.api.answers import Cursor, Limit, raw
from interlock.server.api.shapes import Table, page

router: Final = APIRouter(prefix="/providers", tags=["providers"])

_KEPT: dict[str, Any] = {
    **dict.fromkeys(
        ("provider_id", "display_name", "digest", "coverage", "format", "source", "source_digest", "entry", "imported_by",
         "imported_at"),
        (str, ...),
    ),
    "missing": (list[str], ...),
    "open_host": (bool, ...),
    "provider": (Table, ...),
}  # fmt: skip
Provider = create_model("Provider", __doc__="A provider, as it was imported, and what it says.", **_KEPT)


@router.get("", response_model=page("providers", Provider), summary="List providers, by name")
async def list_providers(il: Whole, cursor: Cursor = None, limit: Limit = 100) -> Response:
    found = await il.providers.list(cursor=cursor, limit=limit)
    last = found[-1].provider_id if len(found) >= limit else None
    return raw({"providers": [_told(each) for each in found], "next_cursor": last})


@router.get("/{provider_id}", response_model=Provider, summary="One provider")
async def fetch(il: Whole, provider_id: Annotated[str, Path(max_length=200)]) -> Response:
    return raw(_told(await il.providers.fetch(provider_id)))


def _told(kept: catalog.KeptProvider) -> JSON:
    return {**kept.record(), "provider": document(kept.provider)}
