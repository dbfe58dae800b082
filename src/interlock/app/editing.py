"""What a reviewer may put in the place of what an agent wants to do."""

from collections.abc import Sequence
from typing import Any, cast

from interlock import approvals, catalog, runs
from interlock.kernel import JSON, InvalidJson, canonical, check_json


class Edits:
    """`runs.Edits`: arguments fit the schema of their operation, in the spec with which the turn was asked for."""

    def check(self, run: runs.Run, approval: approvals.Approval, edit: dict[str, JSON]) -> None:
        if cast("dict[str, Any]", approval.summary).get("call_id") is None:
            raise approvals.InvalidEdit(
                "what goes into a turn, and what comes out of it, cannot be edited",
                next_step="Approve it as it is, or deny it.",
                run_id=run.run_id,
            )
        name = approval.binding.capability_id.removeprefix(f"{run.capability}.")
        is_ours = "spec" in runs.input_of(run)
        problems = _of_ours(run, name, edit) if is_ours else _of_guest(run, name, approval, edit)
        if problems:
            raise approvals.InvalidEdit(
                f"the edited input of {name} does not fit: {'; '.join(problems)}", run_id=run.run_id
            )


def _of_ours(run: runs.Run, name: str, edit: dict[str, JSON]) -> Sequence[str]:
    from interlock import agents  # here, because few processes review what agents want

    plan = agents.turns.Plan(agents.Spec.model_validate_json(canonical(runs.input_of(run)["spec"])))
    operation = plan.find(name)
    return ["the agent has no such operation"] if operation is None else plan.mismatches(operation, edit)


def _of_guest(run: runs.Run, name: str, approval: approvals.Approval, edit: dict[str, JSON]) -> Sequence[str]:
    """By the schema that its program has put on record with the question: the program itself may be away."""
    from interlock import agents

    schema = cast("dict[str, Any]", approval.summary).get("input_schema")
    try:
        check = None if schema is None else catalog.compile_schema(schema)
    except ValueError:
        check = None
    if check is None:
        raise approvals.InvalidEdit(
            f"what is asked for {name} cannot be edited: what the tool takes is not on record",
            next_step="Approve it as it is, or deny it and say why: its model is told.",
            run_id=run.run_id,
        )
    try:
        check_json(edit, limits=agents.turns.ARGUMENTS, what="edited input")
    except InvalidJson as error:
        return [error.message]
    return [str(each) for each in check(edit)]
