"""`interlock connections leases`: who may use a connection's credential just now."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper


async def leases(
    desk: "Desk",
    ref: Annotated[str, typer.Argument(metavar="CONNECTION", help="The connection's id or name.")],
    revoke: Annotated[str | None, typer.Option(metavar="ID", help="End this lease first.")] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is recorded.")] = "",
    cursor: Annotated[str | None, typer.Option(metavar="ID", help="Go on after this lease.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 100,
) -> "Answer":
    """List the leases on a connection that are good now, newest first, or end one.

    A lease lets one run, or one program, use the credential for at most five minutes. One that is revoked opens nothing any
    more, also for a process that uses it just now.

    Example:
      interlock connections leases github
    """
    from interlock.cli.desk import Answer
    from interlock.cli.text import moment
    from interlock.kernel import page

    async with desk.open() as il:
        if revoke is not None:
            await il.connections.leases.revoke(revoke, reason=reason)
        found = await il.connections.leases.list(ref, cursor=cursor, limit=limit)

    def show(paper: "Paper") -> None:
        if revoke is not None:
            paper.line(f"{revoke} opens nothing any more.")
        if not found:
            paper.line("Nobody holds a lease on it now.")
            return
        rows = [
            (each.lease_id, each.run_id or "", " ".join(sorted(each.scopes)), " ".join(sorted(each.hosts)),
             moment(each.expires_at))
            for each in found
        ]  # fmt: skip
        paper.table(("lease", "run", "scopes", "for", "ends"), rows)

    return Answer(document=page("leases", [each.record() for each in found], limit=limit, key="lease_id"), show=show)
