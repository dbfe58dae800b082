"""`interlock connections`: the accounts at services that are connected."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import checking, leasing
from interlock.cli.frame import command, group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock import connections
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper, Words

_Ref = Annotated[str, typer.Argument(metavar="CONNECTION", help="The connection's id or name.")]

_NEAR = timedelta(days=7)
"""How long before its end a credential is said to end soon."""


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    connecting = group(tree, "connections", "Accounts at services, whose credentials are kept sealed.")
    command(connecting, "list")(list_connections)
    command(connecting, "show")(show)
    command(connecting, "check")(checking.check)
    command(connecting, "refresh")(checking.refresh)
    command(connecting, "events")(events)
    command(connecting, "leases")(leasing.leases)
    command(connecting, "revoke")(revoke)


async def list_connections(
    desk: "Desk",
    connector: Annotated[str | None, typer.Option(metavar="ID", help="Only of this connector.")] = None,
    cursor: Annotated[str | None, typer.Option(metavar="ID", help="Go on after this connection.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 100,
) -> "Answer":
    """List connections, newest first.

    Example:
      interlock connections list --connector github
    """
    from interlock.cli.desk import Answer
    from interlock.kernel import page

    async with desk.open() as il:
        found = await il.connections.list(connector=connector, cursor=cursor, limit=limit)

    def show_page(paper: "Paper") -> None:
        if not found:
            paper.line("No connections yet: `interlock connect CONNECTOR` makes one.")
            return
        rows = [
            (each.connection_id, each.name, each.connector_id, each.subject or "", paper.state(_state(each)),
             " ".join(sorted(each.scopes)), _end(each) or "")
            for each in found
        ]  # fmt: skip
        paper.table(("connection", "name", "connector", "account", "state", "scopes", "token ends"), rows)

    document = page("connections", [each.record() for each in found], limit=limit, key="connection_id")
    return Answer(document=document, show=show_page)


async def show(desk: "Desk", ref: _Ref) -> "Answer":
    """Show one connection. Secrets are never shown.

    Example:
      interlock connections show github
    """
    async with desk.open() as il:
        return _described(await il.connections.fetch(ref))


async def events(
    desk: "Desk",
    ref: _Ref,
    after: Annotated[int, typer.Option(metavar="SEQ", min=0, help="Go on after this event.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 100,
) -> "Answer":
    """Show what happened to a connection, in order.

    Example:
      interlock connections events github
    """
    from interlock.cli.desk import Answer
    from interlock.cli.text import moment
    from interlock.kernel import page

    async with desk.open() as il:
        found = await il.connections.events(ref, after_seq=after, limit=limit)
    records = [each.record() for each in found]

    def show_events(paper: "Paper") -> None:
        if not found:
            paper.line("Nothing happened to it since.")
            return
        rows = [
            (str(each.seq), moment(each.at), each.type.value, str(told["actor"]), str(told["reason"] or ""))
            for each, told in zip(found, records, strict=True)
        ]
        paper.table(("event", "at", "what", "by", "why"), rows)

    return Answer(document=page("events", list(records), limit=limit, key="seq"), show=show_events)


async def revoke(
    desk: "Desk",
    ref: _Ref,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is recorded.")] = "",
    *,
    only_here: Annotated[bool, typer.Option("--only-here", help="Do not ask the service to end the token.")] = False,
) -> "Answer":
    """Revoke a connection.

    Every version of its credential is erased, and nothing can use it any more. Then the service is asked to end the token, if
    it is known how; if not, or if that fails, it is said, and the token lives on there: end it there as well.

    Example:
      interlock connections revoke github --reason 'laptop lost'
    """
    async with desk.open() as il:
        made = await il.connections.revoke(ref, reason=reason, at_provider=not only_here)
        [last] = await il.connections.events(made.connection_id, after_seq=made.head_seq - 1)
    return _described(made, [("at the service", _fate(last))])


def _fate(last: "connections.ConnectionEvent") -> "Words":
    """What became of the token at the service, by the last event of a connection that was revoked."""
    from interlock import connections
    from interlock.cli.paper import Ink

    match last.type:
        case connections.Happening.PROVIDER_REVOKED:
            return "ended, too"
        case connections.Happening.PROVIDER_REVOKE_FAILED:
            return Ink(f"may live on ({last.record()['reason']}): end it there", "warn")
        case _:
            return "lives on: end it there"


def _state(made: "connections.Connection") -> str:
    """Its state in a word; of one that would serve if its token had not ended, `expired`."""
    from interlock import connections
    from interlock.kernel import SystemClock

    ends = made.credential_expires_at
    over = ends is not None and ends <= SystemClock().now()
    return "expired" if over and made.state in connections.USABLE else made.state.value


def _end(made: "connections.Connection") -> "Words | None":
    """When its token ends, and a warning if that is near, or over, and nobody renews it; None if nobody said when, or it is
    erased."""
    from interlock import connections
    from interlock.cli.paper import Ink
    from interlock.cli.text import moment
    from interlock.kernel import SystemClock

    ends = made.credential_expires_at
    if ends is None or made.state is connections.State.REVOKED:
        return None
    left = ends - SystemClock().now()
    if made.state in connections.USABLE and made.refresh.due_at is not None:
        if made.state is connections.State.CONNECTED:
            return f"{moment(ends)} (renewed by itself)"
        over = "it has ended; " if left <= timedelta() else ""
        return Ink(f"{moment(ends)} ({over}renewal is tried again)", "warn")
    if left > _NEAR:
        return moment(ends)
    told = "it has ended" if left <= timedelta() else f"in {left.days} d" if left.days else "in less than a day"
    return Ink(f"{moment(ends)} ({told}: connect again)", "warn")


def _place(made: "connections.Connection") -> str | None:
    """Where its secret stays; None if it is sealed here."""
    kind = made.secret_source.value
    return ", ".join(f"{name} from {kind}:{place}" for name, place in (made.source or {}).items()) or None


def _described(made: "connections.Connection", more: "Sequence[tuple[str, Words]]" = ()) -> "Answer":
    from interlock.cli.desk import Answer
    from interlock.cli.paper import Ink
    from interlock.cli.text import moment

    def show_one(paper: "Paper") -> None:
        paper.line(paper.state(_state(made)), Ink(made.name, "strong"), Ink(made.connection_id, "faint"))
        paper.fields(
            [
                ("connector", f"{made.connector_id} ({made.profile_id})"),
                ("account", made.subject),
                ("service", made.base_url),
                ("secret", _place(made)),
                ("scopes", " ".join(sorted(made.scopes)) or None),
                ("token ends", _end(made)),
                ("reason", made.reason),
                ("made", f"{moment(made.created_at)} by {made.created_by}"),
                ("changed", moment(made.updated_at)),
                *more,
            ]
        )

    return Answer(document=made.record(), show=show_one)
