"""One question to a model, as it is carried out."""

from dataclasses import dataclass, replace
from datetime import datetime

from interlock import budgets, runs
from interlock.inference import records
from interlock.inference.endpoints import Endpoint
from interlock.inference.messages import Request
from interlock.inference.port import Purse, Told
from interlock.kernel import Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question, as it is carried out."""

    caller: Caller
    request: Request
    task: runs.Task
    size: int
    endpoint: Endpoint
    told: Told | None
    timeout_s: float
    purse: Purse | None = None

    @property
    def deadline_at(self) -> datetime:
        """When it has to be over."""
        assert self.task.deadline_at is not None
        return self.task.deadline_at

    def too_late(self, endpoint: Endpoint) -> runs.DeadlinePassed:
        """That its time went by while that model was asked."""
        return runs.DeadlinePassed(f"{endpoint.ref} did not answer in full within {self.timeout_s:g} s")

    def call_of(self, endpoint: Endpoint) -> budgets.Call:
        """It, as budgets count it where it is asked of that model."""
        return budgets.Call(
            tenant_id=self.caller.tenant_id,
            capability_id=f"{records.PREFIX}{endpoint.provider}",
            connector_id=records.PREFIX.rstrip("."),
            connection_id=None,
            effect="execute",
            environment=self.task.environment,
        )

    def in_place(self, endpoint: Endpoint) -> runs.Task:
        """The task as it is judged if another model is asked in its place."""
        return replace(self.task, name=f"{records.PREFIX}{endpoint.provider}", model=endpoint.ref)
