"""The questions that policy put to people. A human's yes takes that human's own token: it names who decides."""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from interlock import approvals
from interlock.server.api.access import Asking, Reading
from interlock.server.api.answers import Cursor, Limit, id_of, paged, told
from interlock.server.api.calls import STATES, answer
from interlock.server.api.runs import Approval, Outcome
from interlock.server.api.shapes import Table, page

router: Final = APIRouter(prefix="/approvals", tags=["approvals"])

ApprovalId = Annotated[str, id_of("approval", "apr")]


class Approve(BaseModel):
    """With `edited_input`, the consent is for that input instead."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}]})
    edited_input: Table | None = None


class Deny(BaseModel):
    """The requester and the record will see why."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "wrong repository"}]})
    reason: str


@router.get("", response_model=page("approvals", Approval), summary="List approvals, newest first")
async def list_approvals(
    il: Reading,
    state: Annotated[list[approvals.State] | None, Query(max_length=20, description="Only in these states.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    found = await il.approvals.list(states=state or (), cursor=cursor, limit=limit)
    return paged("approvals", found, limit=limit, key="approval_id")


@router.get("/{approval_id}", response_model=Approval, summary="Who asks for what, with which input, and why")
async def fetch(il: Reading, approval_id: ApprovalId) -> Response:
    return told(await il.approvals.fetch(approval_id))


@router.post("/{approval_id}/approve", response_model=Approval, summary="Say yes, as whose token this is")
async def approve(il: Reading, approval_id: ApprovalId, asked: Approve) -> Response:
    """The token has the role that the approval asks for, and is not the requester's. `execute` then does it."""
    return told(await il.approvals.approve(approval_id, edited_input=asked.edited_input))


@router.post("/{approval_id}/deny", response_model=Approval, summary="Say no, as whose token this is")
async def deny(il: Reading, approval_id: ApprovalId, asked: Deny) -> Response:
    """The held run is denied for good."""
    return told(await il.approvals.deny(approval_id, reason=asked.reason))


@router.post("/{approval_id}/execute", response_model=Outcome, responses=STATES, summary="Execute what was approved")
async def execute(il: Asking, approval_id: ApprovalId) -> Response:
    """It spends the approval. Who decided, or asked, may do so, with a token that may ask for effects."""
    return answer(await il.approvals.execute(approval_id))
