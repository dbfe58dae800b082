"""API tokens, for who has the role that makes them. One is told once."""

from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, ConfigDict, create_model
from starlette.responses import Response

from interlock import tokens
from interlock.server.api.access import Issuing
from interlock.server.api.answers import Cursor, Key, Limit, id_of, paged, raw, told
from interlock.server.api.shapes import page, shape

router: Final = APIRouter(prefix="/tokens", tags=["tokens"])

Token = shape(tokens.Token)
_MADE: dict[str, Any] = {"token": (str, ...)}
MadeToken = create_model("MadeToken", __base__=Token, __doc__="A token, and what shows it: told this once.", **_MADE)

TokenId = Annotated[str, id_of("token", "tok")]


class CreateToken(BaseModel):
    """Whom it acts as, and what it may; without `expires_at` it lasts until it is revoked."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "ci", "actor": "ci", "roles": ["caller"]}]}
    )
    name: str
    actor: str
    roles: list[str] = []
    capabilities: list[str] | None = None
    connections: list[str] | None = None
    expires_at: AwareDatetime | None = None


@router.get("", response_model=page("tokens", Token), summary="List tokens, newest first")
async def list_tokens(il: Issuing, cursor: Cursor = None, limit: Limit = 100) -> Response:
    """Also those that have ended."""
    return paged("tokens", await il.tokens.list(cursor=cursor, limit=limit), limit=limit, key="token_id")


@router.post("", response_model=MadeToken, summary="Make a token of this tenant")
async def create(il: Issuing, asked: CreateToken, key: Key = None) -> Response:
    """None with the role that makes tokens: that one is made where the store is."""
    given = asked.model_dump()
    made, shown = await il.tokens.create(given.pop("name"), **given, idempotency_key=key)
    return raw({**made.record(), "token": shown.reveal()})


@router.post("/{token_id}/revoke", response_model=Token, summary="End a token, from its next request on")
async def revoke(il: Issuing, token_id: TokenId) -> Response:
    return told(await il.tokens.revoke(token_id))
