"""`interlock invoke`: ask for one effect."""

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.frame import command

if TYPE_CHECKING:
    from datetime import datetime

    from interlock import runs
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.facade import Facade
    from interlock.cli.paper import Paper
    from interlock.kernel import InterlockError

_POLL_SECONDS = 0.25
_GRACE_SECONDS = 2.0
"""Whoever approves usually executes as well; this long they are left to it."""


_Source = Annotated[str | None, typer.Option("--input", metavar="FILE", help="The input as JSON; - is stdin.")]
_Target = Annotated[list[str] | None, typer.Option(metavar="CLASS", help="An acceptable target class; best first.")]
_Later = Annotated[bool, typer.Option("--later", help="Leave it to a worker: `interlock worker`.")]
_At = Annotated[str | None, typer.Option(metavar="TIME", help="Not before then, by a worker: 30m, 2026-01-31 …")]


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    command(tree, "invoke")(invoke)


async def invoke(
    desk: "Desk",
    *,
    capability: Annotated[str, typer.Argument(metavar="CAPABILITY", help="Which one: `interlock capabilities list`.")],
    fields: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="The input's fields.")] = None,
    source: _Source = None,
    connection: Annotated[str | None, typer.Option(metavar="REF", help="The connection's id or name.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(metavar="KEY", help="The same key never acts twice.")] = None,
    wait_approval: Annotated[
        bool, typer.Option("--wait-approval", help="If it is held, wait for the reviewer, up to --timeout.")
    ] = False,
    environment: Annotated[str | None, typer.Option(metavar="NAME", help="Recorded, and judged by policy.")] = None,
    target: _Target = None,
    sandbox: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="The least isolation: none, standard or strict.")
    ] = None,
    cost: Annotated[
        list[str] | None, typer.Option(metavar="UNIT=AMOUNT", help="What it takes from a budget of spend.")
    ] = None,
    seconds: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="For the call; reading after a lost answer has more.")
    ] = 120.0,
    later: _Later = False,
    at: _At = None,
) -> "Answer":
    """Ask for one effect on a service.

    Policy decides first: the effect happens, is denied, or is held for an approval. Fields are read as the input's schema
    says: text stays text; numbers, booleans, arrays and objects are JSON. `key:=JSON` is always JSON.

    Example:
      interlock invoke github.issue.create repo=octocat/hello title='It broke' labels='["bug"]'
    """
    from interlock.cli import inputs
    from interlock.kernel import InterlockError

    async with desk.open(acting=True) as il:
        found = await il.catalog.fetch_for(il.caller.tenant_id, capability)
        value = inputs.collect(fields or (), source, found.operation.input_schema)
        ask = partial(il.dispatch.invoke, due_at=_ahead(at)) if later or at else il.invoke
        try:
            outcome = await ask(
                capability,
                value,
                connection=connection,
                idempotency_key=idempotency_key,
                target=target or None,
                environment=environment,
                sandbox=sandbox,
                cost=inputs.amounts(cost or ()),
                timeout=seconds,
            )
            if wait_approval and outcome.approval_id is not None and outcome.state.value == "held":
                outcome = await wait(il, outcome.run_id, outcome.approval_id, seconds=seconds)
        except InterlockError as error:
            raise await in_doubt(il, error) from error
    return answer(outcome)


def _ahead(at: str | None) -> "datetime | None":
    """The moment that is meant. Raises Usage."""
    from interlock.cli.times import parse_moment
    from interlock.kernel import SystemClock

    return None if at is None else parse_moment(at, option="--at", now=SystemClock().now(), ahead=True)


async def wait(il: "Facade", run_id: str, approval_id: str, *, seconds: float) -> "runs.Outcome":
    """The outcome of a held run, once somebody has decided; if nobody has in that time, it is still held. Raises what it
    fails with, and ApprovalExpired."""
    import anyio

    from interlock import approvals

    sys.stderr.write(f"{run_id} waits for {approval_id}: `interlock approvals approve {approval_id}`\n")
    sys.stderr.flush()
    approval = await il.approvals.fetch(approval_id)
    with anyio.move_on_after(seconds):
        while approval.state is approvals.State.PENDING:
            await anyio.sleep(_POLL_SECONDS)
            approval = await il.approvals.fetch(approval_id)
    if approval.state is approvals.State.PENDING:
        return await il.runs.outcome(run_id)
    if approval.state is approvals.State.EXPIRED:
        raise approvals.ApprovalExpired(f"nobody decided {approval_id} in time", run_id=run_id)
    if approval.state is approvals.State.APPROVED:
        await anyio.sleep(_GRACE_SECONDS)
    return await execute(il, run_id, approval_id)


async def execute(il: "Facade", run_id: str, approval_id: str) -> "runs.Outcome":
    """The outcome of an approved run: executed here, or by whoever is at it already."""
    import anyio

    from interlock import runs
    from interlock.kernel import ConflictError

    run = await il.runs.fetch(run_id)
    if run.state is runs.State.HELD:
        try:
            return await il.approvals.execute(approval_id)
        except (ConflictError, runs.StaleRun):
            run = await il.runs.fetch(run_id)
            if run.state is runs.State.HELD:
                raise
    while run.state is runs.State.RUNNING:
        await anyio.sleep(_POLL_SECONDS)
        run = await il.runs.fetch(run_id)
    return await il.runs.outcome(run_id)


async def execute_given(il: "Facade", run_id: str, approval_id: str) -> "runs.Outcome":
    """The outcome of a run that somebody else approved, executed here. Raises AlreadyDecided if others are at it: then this
    reviewer's yes has decided nothing."""
    from interlock import approvals, runs

    try:
        return await il.approvals.execute(approval_id)
    except (approvals.AlreadySpent, runs.RunNotHeld, runs.StaleRun) as error:
        found = await il.approvals.fetch(approval_id)
        if found.state is approvals.State.APPROVED:
            raise
        raise approvals.AlreadyDecided(
            f"approval {approval_id} is {found.state.value} by {found.reviewer}, and its run is executed already",
            next_step=f"`interlock runs show {run_id}` shows how it stands.",
            run_id=run_id,
            details={"state": found.state.value},
        ) from error


async def in_doubt(il: "Facade", error: "InterlockError") -> "InterlockError":
    """The error, unless its run now waits because nobody knows whether it happened: then that is the news."""
    from interlock import runs
    from interlock.kernel import InterlockError, UnknownOutcome

    if error.run_id is None or isinstance(error, UnknownOutcome):
        return error
    try:
        run = await il.runs.fetch(error.run_id)
    except InterlockError:
        return error  # it was never admitted, or the store fails: the first error says why
    if run.state is not runs.State.WAITING:
        return error
    return UnknownOutcome(error.message, run_id=error.run_id, details=error.details)


def answer(outcome: "runs.Outcome", **more: object) -> "Answer":
    """How a call stands, and the exit code that says it."""
    from interlock.cli.complaint import DENIED, DONE, HELD, UNKNOWN
    from interlock.cli.desk import Answer
    from interlock.kernel import document

    codes = {"completed": DONE, "held": HELD, "denied": DENIED, "shed": DENIED, "queued": DONE}
    told = {**outcome.to_json(), **{name: document(value) for name, value in more.items()}}
    return Answer(
        document=told, show=lambda paper: show(paper, outcome), exit_code=codes.get(outcome.state.value, UNKNOWN)
    )


def show(paper: "Paper", outcome: "runs.Outcome") -> None:
    """An outcome for people."""
    from interlock.cli.paper import Ink

    again = (Ink("(told again: this key was used before)", "faint"),) if outcome.replayed else ()
    paper.line(
        paper.state(outcome.state.value), Ink(outcome.capability, "strong"), Ink(outcome.run_id, "faint"), *again
    )
    if outcome.state.value in ("held", "denied", "shed"):
        for reason in outcome.reasons:
            paper.line("  because", reason)
    if outcome.state.value == "held":
        paper.line("  next: a reviewer runs", Ink(f"interlock approvals approve {outcome.approval_id}", "code"))
    if outcome.state.value == "queued":
        paper.line("  next: a worker does it;", Ink(f"interlock runs wait {outcome.run_id}", "code"))
    if outcome.output is not None:
        paper.data(outcome.output)
