"""`interlock connections check` and `refresh`: whether credentials still work, and new ones for those that can be renewed."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock import connections
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper
    from interlock.kernel import JSON


async def check(
    desk: "Desk",
    ref: Annotated[str | None, typer.Argument(metavar="CONNECTION", help="The connection's id or name.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All connections of the tenant.")] = False,
) -> "Answer":
    """Ask services whether they still take credentials.

    The connection then has the account and the scopes that the service says; one that is refused is renewed, or needs a new
    credential by a person. The exit code is 1 if the service refuses one, did not answer, or names another account.

    Example:
      interlock connections check --all
    """
    from interlock import connections
    from interlock.cli.desk import Answer
    from interlock.cli.errors import Usage

    if (ref is None) is not everything:
        raise Usage("name a connection, or say --all")
    async with desk.open() as il:
        found = await il.connections.check_all() if ref is None else [await il.connections.check(ref)]

    def show(paper: "Paper") -> None:
        if not found:
            paper.line("There is nothing to check: `interlock connect CONNECTOR` makes a connection.")
            return
        rows = [
            (each.connection.name, each.connection.connector_id, each.connection.subject or "", each.verdict.value,
             paper.state(each.connection.state.value), " ".join(sorted(each.connection.scopes)),
             each.reason or "" if each.verdict is connections.Verdict.UNASKED else "")
            for each in found
        ]  # fmt: skip
        paper.table(("connection", "connector", "account", "verdict", "state", "scopes", "why"), rows)

    error = _unwell(found)
    document: dict[str, JSON] = {"checks": [each.record() for each in found]}
    if error is not None:
        document["error"] = error.to_json()
    return Answer(document=document, show=show, exit_code=0 if error is None else 1, error=error)


async def refresh(
    desk: "Desk", ref: Annotated[str, typer.Argument(metavar="CONNECTION", help="The connection's id or name.")]
) -> "Answer":
    """Renew a credential now.

    An open Interlock renews by itself ahead of the end. What only a person can give anew is connected again.

    Example:
      interlock connections refresh work
    """
    from interlock import connections
    from interlock.cli.desk import Answer
    from interlock.cli.text import moment

    async with desk.open() as il:
        before = await il.connections.fetch(ref)
        after = await il.connections.refresh(before.connection_id)
    if after.current_credential_id == before.current_credential_id:
        raise connections.NotRenewed(after)

    def show(paper: "Paper") -> None:
        ends = after.credential_expires_at
        until = "" if ends is None else f", until {moment(ends)}"
        paper.line(paper.state(after.state.value), f"{after.name} has a new credential{until}")

    return Answer(document=after.record(), show=show)


def _unwell(found: "Sequence[connections.Checked]") -> "connections.ProbeFailed | None":
    """What is said of those that are not well."""
    from interlock import connections

    well = (connections.Verdict.ACCEPTED, connections.Verdict.UNASKED)
    bad = [each for each in found if each.verdict not in well]
    if not bad:
        return None
    told = "; ".join(f"{each.connection.name}: {each.reason}" for each in bad)
    names = ", ".join(each.connection.name for each in bad)
    step = f"Look at {names} with `interlock connections show`, and connect again what is refused."
    return connections.ProbeFailed(
        told, next_step=step, details={"connections": [each.connection.name for each in bad]}
    )
