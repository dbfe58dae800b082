"""`interlock tokens`: by what requests from elsewhere show whose they are."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from interlock.cli.frame import command, group

if TYPE_CHECKING:
    from interlock import tokens
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper

_NEVER: Final = "never"


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    issuing = group(tree, "tokens", "Tokens for the HTTP API. Each acts as somebody, in one tenant.")
    command(issuing, "create")(create)
    command(issuing, "list")(list_tokens)
    command(issuing, "revoke")(revoke)


async def create(
    desk: "Desk",
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    subject: Annotated[
        str | None, typer.Option("--for", metavar="ACTOR", help="Whom it acts as; NAME unless given.")
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROLE",
            help="caller: asks for effects; operator: changes all; a reviewer's, such as approver; token-admin.",
        ),
    ] = None,
    capability: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Only this one, or all below: github.issue.*")
    ] = None,
    connection: Annotated[
        list[str] | None, typer.Option(metavar="REF", help="Only this connection, by id or name.")
    ] = None,
    expires: Annotated[
        str, typer.Option(metavar="WHEN", help="How long from now (30d), a day, a moment, or never.")
    ] = "90d",
) -> "Answer":
    """Make a token, and show it once.

    Without --role it reads. `caller` may ask for effects, under policy as everybody; `operator` may also change connections,
    providers and runs; a reviewer's token has the role that approvals ask for, and decides nothing that its own actor asked for.
    `token-admin` may make tokens from elsewhere (--server), and so may be anybody in the tenant; its own is made here.

    Example:
      interlock tokens create ci --role caller --capability 'github.issue.*' --expires 30d
    """
    from interlock.cli.desk import Answer
    from interlock.cli.paper import Ink
    from interlock.cli.times import parse_moment
    from interlock.kernel import SystemClock

    now = SystemClock().now()
    ends = None if expires == _NEVER else parse_moment(expires, option="--expires", now=now, ahead=True)
    async with desk.open() as il:
        made, secret = await il.tokens.create(
            name,
            actor=subject or name,
            roles=role or (),
            capabilities=capability,
            connections=connection,
            expires_at=ends,
        )

    def show(paper: "Paper") -> None:
        paper.line(Ink(secret.reveal(), "strong"))
        paper.fields(_facts(made))
        paper.line("  It is shown this once: keep it as a password, or in INTERLOCK_TOKEN where the client runs.")

    return Answer(document={**made.record(), "token": secret.reveal()}, show=show)


async def list_tokens(
    desk: "Desk",
    cursor: Annotated[str | None, typer.Option(metavar="ID", help="Go on after this token.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 100,
) -> "Answer":
    """List the tokens of this tenant, newest first, also those that have ended.

    Example:
      interlock tokens list
    """
    from interlock.cli.desk import Answer
    from interlock.cli.text import moment
    from interlock.kernel import page

    async with desk.open() as il:
        found = await il.tokens.list(cursor=cursor, limit=limit)

    def show(paper: "Paper") -> None:
        if not found:
            paper.line("There are no tokens yet.")
            return
        rows = [
            (each.token_id, paper.state(_state(each)), each.name, each.actor, " ".join(sorted(each.roles)),
             moment(each.expires_at))
            for each in found
        ]  # fmt: skip
        paper.table(("token", "state", "name", "acts as", "roles", "ends"), rows)

    return Answer(document=page("tokens", [each.record() for each in found], limit=limit, key="token_id"), show=show)


async def revoke(
    desk: "Desk", token_id: Annotated[str, typer.Argument(metavar="TOKEN", help="The token's id.")]
) -> "Answer":
    """End a token: it opens nothing from its next request on.

    Example:
      interlock tokens revoke tok_01890a5d…
    """
    from interlock.cli.desk import Answer
    from interlock.cli.paper import Ink

    async with desk.open() as il:
        found = await il.tokens.revoke(token_id)
    return Answer(
        document=found.record(),
        show=lambda paper: paper.line(paper.state("revoked"), Ink(found.name, "strong"), Ink(found.token_id, "faint")),
    )


def _state(token: "tokens.Token") -> str:
    from interlock.kernel import SystemClock

    if token.revoked_at is not None:
        return "revoked"
    return "active" if token.is_good(SystemClock().now()) else "expired"


def _facts(token: "tokens.Token") -> list[tuple[str, str | None]]:
    from interlock.cli.text import moment

    return [
        ("token", token.token_id),
        ("acts as", f"{token.actor} in {token.tenant_id}"),
        ("roles", " ".join(sorted(token.roles)) or "none: it reads"),
        ("only", " ".join(sorted((*(token.capabilities or ()), *(token.connections or ())))) or None),
        ("ends", moment(token.expires_at) or _NEVER),
    ]
