"""`interlock subscriptions`: who is told what happens."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from interlock.cli.frame import command, group

if TYPE_CHECKING:
    from interlock import subscriptions
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper
    from interlock.kernel import JSON

_Id = Annotated[str, typer.Argument(metavar="SUBSCRIPTION", help="The subscription's id.")]


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    subscribing = group(tree, "subscriptions", "Places that are told of events, as Standard Webhooks.")
    command(subscribing, "create")(create)
    command(subscribing, "list")(list_subscriptions)
    command(subscribing, "show")(show)
    command(subscribing, "test")(test)
    command(subscribing, "pause")(pause)
    command(subscribing, "resume")(resume)
    command(subscribing, "rotate")(rotate)
    command(subscribing, "delete")(delete)
    command(subscribing, "deliveries")(deliveries)
    command(subscribing, "redeliver")(redeliver)


async def create(
    desk: "Desk",
    url: Annotated[str, typer.Argument(metavar="URL", help="Where events are sent to.")],
    types: Annotated[
        list[str], typer.Option("--type", metavar="TYPE", help="Events of this type: run.completed, run.*, or *.")
    ],
    capability: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Only about runs of these capabilities.")
    ] = None,
    connection: Annotated[list[str] | None, typer.Option(metavar="REF", help="Only about this connection.")] = None,
    signature: Annotated[
        Literal["v1", "v1a"], typer.Option(metavar="SCHEME", help="v1: HMAC by a secret; v1a: Ed25519.")
    ] = "v1",
) -> "Answer":
    """Have events from now on sent to an address.

    The secret that messages are signed with is shown here and never again; with v1a it is a public key, and no secret.
    Workers send them: `interlock worker`.

    Example:
      interlock subscriptions create https://example.com/hooks --type 'run.*' --type connection.broken
    """
    async with desk.open() as il:
        made = await il.subscriptions.create(
            url, types, capabilities=capability or (), connections=connection or (), signature=signature
        )
    return _keyed(made)


async def list_subscriptions(
    desk: "Desk",
    cursor: Annotated[str | None, typer.Option(metavar="ID", help="Go on after this subscription.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 100,
) -> "Answer":
    """List subscriptions, newest first.

    Example:
      interlock subscriptions list
    """
    from interlock.cli.desk import Answer
    from interlock.kernel import page

    async with desk.open() as il:
        found = await il.subscriptions.list(cursor=cursor, limit=limit)

    def show_page(paper: "Paper") -> None:
        if not found:
            paper.line("No subscriptions yet: `interlock subscriptions create URL --type TYPE` makes one.")
            return
        rows = [
            (
                each.subscription_id,
                paper.state(each.state.value),
                each.reason or "",
                " ".join(each.wish.types),
                each.url,
            )
            for each in found
        ]
        paper.table(("subscription", "state", "why", "types", "address"), rows)

    records = [each.record() for each in found]
    return Answer(document=page("subscriptions", [*records], limit=limit, key="subscription_id"), show=show_page)


async def show(desk: "Desk", subscription: _Id) -> "Answer":
    """Show one subscription.

    Example:
      interlock subscriptions show sub_0193…
    """
    async with desk.open() as il:
        return _described(await il.subscriptions.fetch(subscription))


async def test(desk: "Desk", subscription: _Id) -> "Answer":
    """Send a message of the type subscription.test now, and say what came of it.

    Example:
      interlock subscriptions test sub_0193…
    """
    from interlock.cli.desk import Answer

    async with desk.open() as il:
        sent = await il.subscriptions.test(subscription)
    told = f"It was taken ({sent.status})." if sent.taken else f"It was not taken: {sent.error}"
    return Answer(
        document={"taken": sent.taken, "status": sent.status, "error": sent.error},
        show=lambda paper: paper.line(told),
        exit_code=0 if sent.taken else 1,
    )


async def pause(
    desk: "Desk",
    subscription: _Id,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for whoever looks at it.")] = "",
) -> "Answer":
    """Let what happens wait, for two weeks at most.

    Example:
      interlock subscriptions pause sub_0193… --reason "moving the receiver"
    """
    async with desk.open() as il:
        return _described(await il.subscriptions.pause(subscription, reason=reason))


async def resume(desk: "Desk", subscription: _Id) -> "Answer":
    """Go on with a subscription that is paused or disabled, first with what waits.

    Example:
      interlock subscriptions resume sub_0193…
    """
    async with desk.open() as il:
        return _described(await il.subscriptions.resume(subscription))


async def rotate(
    desk: "Desk",
    subscription: _Id,
    overlap: Annotated[str, typer.Option(metavar="TIME", help="How long the key before signs, too.")] = "1d",
) -> "Answer":
    """Sign with a new key, and for a while with the present one, too.

    Example:
      interlock subscriptions rotate sub_0193… --overlap 12h
    """
    from interlock.cli.times import parse_span

    seconds = parse_span(overlap, option="--overlap").total_seconds()
    async with desk.open() as il:
        return _keyed(await il.subscriptions.rotate(subscription, overlap=seconds))


async def delete(desk: "Desk", subscription: _Id) -> "Answer":
    """Tell nothing more there; what waits is dropped.

    Example:
      interlock subscriptions delete sub_0193…
    """
    from interlock.cli.desk import Answer

    async with desk.open() as il:
        await il.subscriptions.delete(subscription)
    return Answer(
        document={"subscription_id": subscription, "deleted": True},
        show=lambda paper: paper.line(f"{subscription} is deleted."),
    )


async def deliveries(
    desk: "Desk",
    subscription: _Id,
    state: Annotated[
        Literal["pending", "delivered", "failed"] | None,
        typer.Option(metavar="STATE", help="Only those: pending, delivered or failed."),
    ] = None,
    cursor: Annotated[str | None, typer.Option(metavar="ID", help="Go on after this message.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 50,
) -> "Answer":
    """List what was and is to be sent, newest first.

    Example:
      interlock subscriptions deliveries sub_0193… --state failed
    """
    from interlock import subscriptions
    from interlock.cli.desk import Answer
    from interlock.cli.text import moment
    from interlock.kernel import page

    wanted = None if state is None else subscriptions.MessageState(state)
    async with desk.open() as il:
        found = await il.subscriptions.deliveries(subscription, state=wanted, cursor=cursor, limit=limit)

    def show_page(paper: "Paper") -> None:
        if not found:
            paper.line("Nothing was sent there yet.")
            return
        rows = [
            (each.message_id, each.type, paper.state(each.state.value), str(each.tries), each.error or "",
             moment(each.due_at) if each.state is subscriptions.MessageState.PENDING else "")
            for each in found
        ]  # fmt: skip
        paper.table(("message", "type", "state", "tries", "last error", "next try"), rows)

    records: list[JSON] = [each.record() for each in found]
    return Answer(document=page("deliveries", records, limit=limit, key="message_id"), show=show_page)


async def redeliver(
    desk: "Desk",
    message: Annotated[str, typer.Argument(metavar="MESSAGE", help="The message's id.")],
) -> "Answer":
    """Have a message that was delivered or has failed sent once more, or one that waits tried now, under the same id.

    Example:
      interlock subscriptions redeliver msg_0193…
    """
    from interlock.cli.desk import Answer

    async with desk.open() as il:
        found = await il.subscriptions.redeliver(message)
    return Answer(
        document=found.record(), show=lambda paper: paper.line(found.message_id, paper.state(found.state.value))
    )


def _keyed(made: "subscriptions.Keyed") -> "Answer":
    from interlock.cli.desk import Answer

    secret = None if made.secret is None else made.secret.reveal()

    def show(paper: "Paper") -> None:
        paper.line(made.subscription.subscription_id, paper.state(made.subscription.state.value))
        paper.fields([("secret", secret), ("public key", next(iter(made.subscription.public_keys), None))])
        if secret is not None:
            paper.line("Keep the secret for the receiver: it is not shown again.")

    return Answer(document={**made.subscription.record(), "secret": secret}, show=show)


def _described(found: "subscriptions.Subscription") -> "Answer":
    from interlock.cli.desk import Answer
    from interlock.cli.text import moment

    def show(paper: "Paper") -> None:
        paper.line(found.subscription_id, paper.state(found.state.value))
        failing = None if found.failing_since is None else moment(found.failing_since)
        paper.fields(
            [
                ("address", found.url),
                ("types", " ".join(found.wish.types)),
                ("capabilities", " ".join(found.wish.capabilities) or None),
                ("connections", " ".join(found.wish.connections) or None),
                ("signature", found.scheme.value),
                ("public keys", " ".join(found.public_keys) or None),
                ("why", found.reason),
                ("takes nothing since", failing),
                ("made", f"{moment(found.created_at)} by {found.created_by}"),
            ]
        )

    return Answer(document=found.record(), show=show)
