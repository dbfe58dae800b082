"""What a reviewer may put in the place of what an agent wants to do."""

from typing import Any, cast

from interlock import approvals, runs
from interlock.kernel import JSON, canonical


class Edits:
    """`runs.Edits`: arguments fit the schema of their operation, in the spec with which the turn was asked for."""

    def check(self, run: runs.Run, approval: approvals.Approval, edit: dict[str, JSON]) -> None:
        from interlock import agents  # here, because few processes review what agents want

        if cast("dict[str, Any]", approval.summary).get("call_id") is None:
            raise approvals.InvalidEdit(
                "what goes into a turn, and what comes out of it, cannot be edited",
                next_step="Approve it as it is, or deny it.",
                run_id=run.run_id,
            )
        if "spec" not in runs.input_of(run):
            raise approvals.InvalidEdit(
                "what another framework's agent wants cannot be edited",
                next_step="Approve it as it is, or deny it and say why: its model is told.",
                run_id=run.run_id,
            )
        plan = agents.turns.Plan(agents.Spec.model_validate_json(canonical(runs.input_of(run)["spec"])))
        name = approval.binding.capability_id.removeprefix(f"{run.capability}.")
        operation = plan.find(name)
        problems = ["the agent has no such operation"] if operation is None else plan.mismatches(operation, edit)
        if problems:
            raise approvals.InvalidEdit(
                f"the edited input of {name} does not fit: {'; '.join(problems)}", run_id=run.run_id
            )
