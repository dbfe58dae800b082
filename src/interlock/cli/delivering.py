"""`interlock triggers` and `interlock deliveries`: what is done about events, and what came."""

from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import trying
from interlock.cli.frame import command, group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock import triggers
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper

_Trigger = Annotated[str, typer.Argument(metavar="TRIGGER", help="The trigger's id.")]
_Delivery = Annotated[str, typer.Argument(metavar="DELIVERY", help="The delivery's id.")]
_OnRoute = Annotated[str | None, typer.Option("--route", metavar="ROUTE", help="Only of this route.")]
_Limit = Annotated[int, typer.Option(min=1, max=500, help="How many.")]

_LONGEST = 80


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    triggers = group(tree, "triggers", "What is done about the events that services report.")
    command(triggers, "list")(list_triggers)
    command(triggers, "show")(show_trigger)
    command(triggers, "enable")(enable)
    command(triggers, "disable")(disable)
    command(triggers, "test")(try_out)
    deliveries = group(tree, "deliveries", "What came on routes, and what became of it.")
    command(deliveries, "list")(list_deliveries)
    command(deliveries, "show")(show_delivery)
    command(deliveries, "replay")(replay)


async def list_triggers(
    desk: "Desk",
    route: _OnRoute = None,
    cursor: Annotated[str | None, typer.Option(metavar="ID", help="Go on after this trigger.")] = None,
    limit: _Limit = 100,
) -> "Answer":
    """List triggers: what is done about events that come on routes, and about those that polls ask for.

    Example:
      interlock triggers list
    """
    from interlock.cli.desk import Answer
    from interlock.kernel import page

    async with desk.open() as il:
        found = await il.triggers.list(route_id=route, cursor=cursor, limit=limit)

    def show_page(paper: "Paper") -> None:
        if not found:
            paper.line(
                "No triggers yet: `interlock routes create CONNECTOR --on TRIGGER=HANDLER` and `polls create` make some."
            )
            return
        rows = [
            (each.trigger_id, each.name, each.delivery, each.handler, _state(each), _config(each)) for each in found
        ]
        paper.table(("trigger", "event", "by", "handler", "state", "only"), rows)

    return Answer(
        document=page("triggers", [each.record() for each in found], limit=limit, key="trigger_id"), show=show_page
    )


async def show_trigger(desk: "Desk", trigger: _Trigger) -> "Answer":
    """Show one trigger.

    Example:
      interlock triggers show trg_0193
    """
    async with desk.open() as il:
        return _trigger(await il.triggers.fetch(trigger))


async def enable(
    desk: "Desk",
    trigger: _Trigger,
    retry: Annotated[str | None, typer.Option(metavar="JSON", help=f"{trying.HELP}.")] = None,
) -> "Answer":
    """Have a trigger's events handled again; a poll is resumed.

    With --retry, also of a trigger that is enabled, its work is tried so often from now on.

    Example:
      interlock triggers enable trg_0193 --retry '{"max_attempts":3,"deadline_seconds":600}'
    """
    asked = None if retry is None else trying.parse(retry, option="--retry")
    async with desk.open() as il:
        return _trigger(await il.triggers.enable(trigger, retry=asked))


async def disable(desk: "Desk", trigger: _Trigger) -> "Answer":
    """Have a trigger's events handled no more. What comes is kept all the same; a poll is paused.

    Example:
      interlock triggers disable trg_0193
    """
    async with desk.open() as il:
        return _trigger(await il.triggers.disable(trigger))


async def try_out(
    desk: "Desk",
    trigger: _Trigger,
    body: Annotated[str, typer.Argument(metavar="FILE", help="A delivery's body; - is stdin.")],
    header: Annotated[list[str] | None, typer.Option(metavar="NAME:VALUE", help="A header of the delivery.")] = None,
) -> "Answer":
    """Say what would become of a delivery: what the trigger's handler would get, or why nothing. Nothing is handed on.

    Example:
      interlock triggers test trg_0193 event.json --header X-GitHub-Event:issues
    """
    from interlock.cli import files
    from interlock.cli.desk import Answer
    from interlock.cli.errors import Usage

    pairs = [each.partition(":") for each in header or ()]
    if any(not colon for _, colon, _ in pairs):
        raise Usage("--header: write NAME:VALUE")
    content = files.read(body, "body", limit=25 * 1_048_576)
    async with desk.open() as il:
        found = await il.triggers.test(
            trigger, content, headers={name.strip(): value.strip() for name, _, value in pairs}
        )

    def show(paper: "Paper") -> None:
        if "payload" in found:
            paper.line("Its handler would get:")
            paper.data(found["payload"])
        else:
            paper.line(f"Its handler would get nothing: {found['why']}")

    return Answer(document=dict(found), show=show, exit_code=0 if "payload" in found else 1)


async def list_deliveries(
    desk: "Desk",
    route: _OnRoute = None,
    state: Annotated[
        list[str] | None, typer.Option(metavar="STATE", help="Only these: accepted, duplicate, rejected.")
    ] = None,
    cursor: Annotated[str | None, typer.Option(metavar="ID", help="Go on after this delivery.")] = None,
    limit: _Limit = 100,
) -> "Answer":
    """List what came, newest first. All that was accepted is kept for 30 days, of the rest the newest of each route.

    Example:
      interlock deliveries list --state rejected
    """
    from interlock.cli.desk import Answer
    from interlock.cli.text import moment
    from interlock.kernel import page

    states = _states(state)
    async with desk.open() as il:
        found = await il.deliveries.list(route_id=route, states=states, cursor=cursor, limit=limit)

    def show_page(paper: "Paper") -> None:
        if not found:
            paper.line("No deliveries.")
            return
        rows = [
            (each.delivery_id, each.connector_id, paper.state(each.state.value), _started(each), _reason(each),
             each.external_id or "", moment(each.received_at))
            for each in found
        ]  # fmt: skip
        paper.table(("delivery", "connector", "state", "runs", "reason", "the service's id", "came"), rows)

    document = page("deliveries", [each.record() for each in found], limit=limit, key="delivery_id")
    return Answer(document=document, show=show_page)


async def show_delivery(desk: "Desk", delivery: _Delivery) -> "Answer":
    """Show one delivery, what became of it, and its body if it was accepted.

    Example:
      interlock deliveries show dlv_0193
    """
    async with desk.open() as il:
        return _delivery(await il.deliveries.fetch(delivery), whole=True)


async def replay(desk: "Desk", delivery: _Delivery) -> "Answer":
    """Have an accepted delivery handled once more, in new runs, as its route's triggers stand now.

    A run that failed is better replayed itself: `interlock runs replay RUN`.

    Example:
      interlock deliveries replay dlv_0193
    """
    async with desk.open() as il:
        return _delivery(await il.deliveries.replay(delivery), whole=False)


def _trigger(trigger: "triggers.webhooks.Trigger") -> "Answer":
    from interlock.cli.desk import Answer

    def show(paper: "Paper") -> None:
        paper.line(_state(trigger), trigger.trigger_id)
        paper.fields(
            [
                ("event", trigger.name),
                ("by", "a poll" if trigger.delivery == "poll" else "a route"),
                ("handler", trigger.handler),
                ("connection", trigger.connection_id),
                ("only", _config(trigger) or None),
                ("tried", trying.words(trigger.retry)),
                ("made by", trigger.created_by),
            ]
        )

    return Answer(document=trigger.record(), show=show)


def _delivery(delivery: "triggers.webhooks.Delivery", *, whole: bool) -> "Answer":
    from interlock.cli.desk import Answer
    from interlock.cli.text import moment

    body = None if delivery.body is None or not whole else delivery.body.decode("utf-8", "replace")
    listed = {name: value for name, value in delivery.facts.items() if isinstance(value, list) and value}
    started_nothing = delivery.facts.get("runs") == []

    def show(paper: "Paper") -> None:
        paper.line(paper.state(delivery.state.value), delivery.delivery_id)
        paper.fields(
            [
                ("connector", delivery.connector_id),
                ("route", delivery.route_id),
                ("reason", delivery.reason),
                ("the service's id", delivery.external_id),
                ("came", moment(delivery.received_at)),
                ("size", f"{delivery.size} bytes"),
                *((name, str(value)) for name, value in delivery.facts.items() if not isinstance(value, list)),
                (
                    "runs",
                    "none: `interlock triggers test` says what a trigger makes of it" if started_nothing else None,
                ),
            ]
        )
        for name, value in listed.items():
            paper.heading(name.capitalize())
            paper.data(value)
        if body is not None:
            paper.heading("Body")
            paper.line(body)

    return Answer(document={**delivery.record(), **({} if body is None else {"body": body})}, show=show)


def _started(delivery: "triggers.webhooks.Delivery") -> str:
    """How many runs it started when it came."""
    runs = delivery.facts.get("runs")
    return "" if not isinstance(runs, list) else str(len(runs)) if runs else "none"


def _reason(delivery: "triggers.webhooks.Delivery") -> str:
    """Why it is not accepted, or why nothing was started by it."""
    unfit = delivery.facts.get("unfit")
    if delivery.facts.get("runs") or not isinstance(unfit, list):
        return delivery.reason or str(delivery.facts.get("why", ""))
    found = [f"{each['trigger']}: {each['why']}" for each in unfit if isinstance(each, dict)]
    return "; ".join(found)[:_LONGEST]


def _state(trigger: "triggers.webhooks.Trigger") -> str:
    return "enabled" if trigger.enabled else "disabled"


def _config(trigger: "triggers.webhooks.Trigger") -> str:
    from interlock.kernel import canonical

    return canonical(dict(trigger.config)).decode() if trigger.config else ""


def _states(names: list[str] | None) -> "Sequence[triggers.webhooks.DeliveryState]":
    from interlock import triggers
    from interlock.cli.errors import Usage

    try:
        return [triggers.webhooks.DeliveryState(each) for each in names or ()]
    except ValueError:
        known = ", ".join(triggers.webhooks.DeliveryState)
        raise Usage(f"--state is one of {known}") from None
