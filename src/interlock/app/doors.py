"""The doors by which one piece of work asks for another."""

from dataclasses import dataclass

from interlock import approvals, runs
from interlock.kernel import Caller


@dataclass(frozen=True, slots=True)
class Doors:
    """`runs.Doors`."""

    invoker: runs.Invoker
    holding: runs.Holding
    desk: approvals.Approvals

    async def invoke(self, caller: Caller, request: runs.Request) -> runs.Outcome:
        return await self.invoker.invoke(caller, request)

    async def execute(self, caller: Caller, run_id: str) -> runs.Outcome:
        return await self.holding.execute(caller, run_id)

    async def approval(self, caller: Caller, approval_id: str) -> approvals.Approval:
        return await self.desk.fetch_approval(caller, approval_id)
