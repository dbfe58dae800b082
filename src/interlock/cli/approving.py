"""`interlock approvals`: the questions that policy put to people."""

from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from interlock.cli.frame import command, group

if TYPE_CHECKING:
    from interlock import approvals, runs
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper

_Id = Annotated[str, typer.Argument(metavar="APPROVAL", help="The approval's id.")]


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    approving = group(tree, "approvals", "Calls that wait for a person's consent.")
    command(approving, "list")(list_approvals)
    command(approving, "show")(show)
    command(approving, "approve")(approve)
    command(approving, "deny")(deny)


async def list_approvals(
    desk: "Desk",
    *,
    state: Annotated[
        list[str] | None, typer.Option(metavar="STATE", help="Only these; `pending` and `approved` unless given.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="In every state.")] = False,
    cursor: Annotated[str | None, typer.Option(metavar="ID", help="Go on after this approval.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 50,
) -> "Answer":
    """List what waits for a decision, or was approved and not executed, newest first.

    Example:
      interlock approvals list --all
    """
    from interlock import approvals
    from interlock.cli.desk import Answer
    from interlock.cli.paper import Ink
    from interlock.cli.text import moment
    from interlock.cli.words import states
    from interlock.kernel import page

    wanted = () if every else states(state or ["pending", "approved"], approvals.State)
    async with desk.open() as il:
        found = await il.approvals.list(states=wanted, cursor=cursor, limit=limit)

    def show_page(paper: "Paper") -> None:
        if not found:
            paper.line("No approval waits." if not every else "There are no approvals yet.")
            return
        rows = [
            (each.approval_id, paper.state(each.state.value), each.binding.capability_id, each.requester, each.role,
             moment(each.expires_at))
            for each in found
        ]  # fmt: skip
        paper.table(("approval", "state", "capability", "requester", "reviewer role", "expires"), rows)
        if any(each.state is approvals.State.APPROVED for each in found):
            paper.line("Approved, and not executed:", Ink("interlock approvals approve APPROVAL", "code"), "does it.")

    document = page("approvals", [each.to_json() for each in found], limit=limit, key="approval_id")
    return Answer(document=document, show=show_page)


async def show(desk: "Desk", approval_id: _Id) -> "Answer":
    """Show one approval.

    Who asks for what, with which input, and why it needs a person.

    Example:
      interlock approvals show apr_01890a5d…
    """
    from interlock.cli.desk import Answer

    async with desk.open() as il:
        found = await il.approvals.fetch(approval_id)
    return Answer(document=found.to_json(), show=lambda paper: _show(paper, found))


async def approve(
    desk: "Desk",
    *,
    approval_id: _Id,
    edit: Annotated[
        str | None, typer.Option(metavar="FILE", help="Approve with this input instead; - is stdin.")
    ] = None,
    no_run: Annotated[bool, typer.Option("--no-run", help="Only decide; somebody else executes.")] = False,
) -> "Answer":
    """Say yes, and execute the held run.

    The approval is good for exactly one call with exactly this input. With --no-run the decision is recorded and nothing
    is sent; running `approve` again then executes it. The turn of an agent goes on by itself if it was left to workers, and
    else by `interlock agent resume`.

    Example:
      interlock approvals approve apr_01890a5d…
    """
    from interlock import approvals, runs
    from interlock.cli import inputs, invoking
    from interlock.cli.desk import Answer
    from interlock.kernel import InterlockError

    edited = None if edit is None else inputs.read_object(edit)
    async with desk.open(acting=True) as il:
        found = await il.approvals.fetch(approval_id)
        given = found.state is approvals.State.APPROVED and edited is None and not no_run
        if not given:
            found = await il.approvals.approve(approval_id, edited_input=edited)
        run = None if found.run_id is None else await il.runs.fetch(found.run_id)
        if run is not None and run.kind is runs.Kind.AGENT_TURN:
            turn = run
            document = {"approval": found.to_json(), "outcome": None}
            return Answer(document=document, show=lambda paper: _turn_decided(paper, found, turn))
        if no_run or found.run_id is None:
            return Answer(
                document={"approval": found.to_json(), "outcome": None}, show=lambda paper: _decided(paper, found)
            )
        try:
            carry_out = invoking.execute_given if given else invoking.execute
            outcome = await carry_out(il, found.run_id, approval_id)
        except InterlockError as error:
            raise await invoking.in_doubt(il, error) from error
        found = await il.approvals.fetch(approval_id)
    told = invoking.answer(outcome)

    def show_both(paper: "Paper") -> None:
        _decided(paper, found)
        told.show(paper)

    document = {"approval": found.to_json(), "outcome": told.document}
    return Answer(document=document, show=show_both, exit_code=told.exit_code)


async def deny(
    desk: "Desk",
    approval_id: _Id,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; the requester and the record will see it.")],
) -> "Answer":
    """Say no, also to what was approved and not executed. The held run is denied for good.

    The turn of an agent goes on, and its model is told.

    Example:
      interlock approvals deny apr_01890a5d… --reason 'wrong repository'
    """
    from interlock.cli.desk import Answer

    async with desk.open() as il:
        found = await il.approvals.deny(approval_id, reason=reason)
        run = None if found.run_id is None else await il.runs.fetch(found.run_id)
    return Answer(document={"approval": found.to_json()}, show=lambda paper: _turn_decided(paper, found, run))


def _decided(paper: "Paper", found: "approvals.Approval") -> None:
    from interlock.cli.paper import Ink

    own = ("(their own request)",) if found.self_reviewed else ()
    paper.line(paper.state(found.state.value), Ink(found.approval_id, "strong"), f"by {found.reviewer}", *own)


def _turn_decided(paper: "Paper", found: "approvals.Approval", run: "runs.Run | None") -> None:
    """A decision, and how the run goes on if it is an agent's turn: others have ended with it."""
    from interlock import agents, runs
    from interlock.cli.paper import Ink

    _decided(paper, found)
    if run is None or run.kind is not runs.Kind.AGENT_TURN:
        return
    if run.state is runs.State.HELD and agents.harness.is_guest(run):
        paper.line("  next: run its program again")
    elif run.state is runs.State.HELD:
        paper.line("  next:", Ink(f"interlock agent resume {run.run_id}", "code"))
    else:
        paper.line("  its turn is", paper.state(run.state.value), Ink(run.run_id, "faint"))


def _show(paper: "Paper", found: "approvals.Approval") -> None:
    from interlock import approvals
    from interlock.cli.paper import Ink
    from interlock.cli.text import moment

    summary = cast("dict[str, Any]", found.summary)
    paper.line(paper.state(found.state.value), Ink(found.approval_id, "strong"))
    paper.fields(
        [
            ("asks for", f"{found.binding.capability_id} ({summary.get('effect')})"),
            ("requester", found.requester),
            ("agent", summary.get("agent")),
            ("control", summary.get("control")),
            ("account", summary.get("account")),
            ("service", summary.get("service")),
            ("environment", summary.get("environment")),
            ("because", "; ".join(summary.get("reasons", ()))),
            ("reviewer role", found.role),
            ("run", found.run_id),
            ("asked", moment(found.created_at)),
            ("expires", moment(found.expires_at)),
            ("decided", f"{moment(found.decided_at)} by {found.reviewer}" if found.reviewer else None),
            ("reason", found.reason),
            ("spent by", found.spent_by),
        ]
    )
    paper.heading("Input")
    paper.data(summary.get("input"))
    if found.edited_input is not None:
        paper.heading("Input as the reviewer edited it")
        paper.data(found.edited_input)
    if found.state in (approvals.State.PENDING, approvals.State.APPROVED):
        paper.heading("Next")
        paper.line(Ink(f"  interlock approvals approve {found.approval_id}", "code"))
        paper.line(Ink(f"  interlock approvals deny {found.approval_id} --reason TEXT", "code"))
