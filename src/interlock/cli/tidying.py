"""`interlock memory consolidate`, `prune`, `info` and `providers`: what keeps a memory in order, and who keeps it."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import aside, memories
from interlock.cli.memories import Place

if TYPE_CHECKING:
    from interlock import memory
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper
    from interlock.kernel import JSON


async def consolidate(
    desk: "Desk",
    place: Place,
    *,
    policy: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="duplicates, near_duplicates, promotion, decay, contradictions; else all."),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Do it, without asking.")] = False,
    undo: Annotated[
        str | None, typer.Option(metavar="CHANGE", help="Put back what this consolidation changed.")
    ] = None,
) -> "Answer":
    """Make less of what is kept: by a plan, which is shown first.

    On a terminal it then asks whether to do it; elsewhere nothing is changed without --apply. What somebody changed since the
    plan was made is left alone. Contradictions are told, and left to you. Each consolidation can be undone by its id.

    Example:
      interlock memory consolidate --user ana --policy duplicates --apply
    """
    from interlock.cli.desk import Answer
    from interlock.cli.errors import Usage

    if undo is not None and (apply or policy):
        raise Usage("--undo goes by itself: it puts back all that the consolidation changed")
    async with place.open(desk) as mem:
        if undo is not None:
            result = await mem.undo_consolidation(undo)
            return Answer(document={"result": result.to_json()}, show=lambda paper: _show_result(paper, result))
        plan = await mem.plan_consolidation(tuple(policy or ()))
        shown = not desk.options.as_json and not apply and plan.changes and sys.stdin.isatty() and sys.stderr.isatty()
        if shown:
            _show_plan(desk.paper(), plan)
        if not plan.changes or not (apply or (shown and await _agreed())):
            return Answer(
                document={"plan": plan.to_json(), "result": None},
                show=lambda paper: None if shown else _show_plan(paper, plan, how=True),
            )
        result = await mem.apply_consolidation(plan)

    def show(paper: "Paper") -> None:
        if not shown:
            _show_plan(paper, plan)
        _show_result(paper, result)

    return Answer(document={"plan": plan.to_json(), "result": result.to_json()}, show=show)


async def prune(desk: "Desk", place: Place) -> "Answer":
    """Remove what has expired, in this scope.

    It is not seen any more since then; now it is gone.

    Example:
      interlock memory prune --user ana
    """
    from interlock.cli.desk import Answer

    async with place.open(desk) as mem:
        removed = await mem.prune()
    return Answer(document={"removed": removed}, show=lambda paper: paper.line(f"{removed} records had expired."))


async def info(desk: "Desk", place: Place) -> "Answer":
    """Show who keeps the memory, what it offers and promises, and whether it is well.

    Example:
      interlock memory info
    """
    from interlock.cli.desk import Answer

    async with place.open(desk) as mem:
        told, health, scope = mem.info(), await mem.health(), mem.scope
    reference = place.reference(desk)

    def show(paper: "Paper") -> None:
        has = told.capabilities
        promised = has.guarantees
        paper.line(told.name, paper.state("ok" if health.ok else "failed"), health.detail)
        path = reference.config.get("path")
        paper.fields(
            [
                ("about", told.description or None),
                ("file", path if isinstance(path, str) else None),
                ("scope", memories.scope_words(scope)),
                ("offers", ", ".join(sorted(has.offered))),
                ("broken", ", ".join(sorted(has.broken)) or None),
                ("searches by", ", ".join(sorted(promised.search_modes)) or "nothing"),
                ("durable", "yes" if promised.durable else "no"),
                ("scopes apart", f"by the {promised.isolation}"),
            ]
        )

    document = {"provider": told.to_json(), "health": health.to_json(), "scope": scope.to_json()}
    return Answer(document=document, show=show, exit_code=0 if health.ok else 7)


def providers(_: "Desk") -> "Answer":
    """List who can keep a memory: ours, and those of installed packages, with what is wrong with what is broken.

    Each is loaded, and none is opened: `interlock memory info --provider NAME` opens one, and says how it is.

    Example:
      interlock memory providers
    """
    from interlock import memory
    from interlock.cli.desk import Answer

    offers = memory.Registry().offers()

    def show(paper: "Paper") -> None:
        rows = [
            (
                each.name,
                paper.state("failed" if each.problem else "missing" if each.missing else "ok"),
                ", ".join(each.aliases),
                each.distribution or "",
                each.problem or each.missing or (each.provider.description if each.provider else ""),
                ", ".join(sorted(each.capabilities)),
            )
            for each in offers
        ]
        paper.table(("provider", "state", "also called", "package", "about", "offers"), rows)

    return Answer(document={"providers": [_offer(each) for each in offers]}, show=show)


def _offer(offer: "memory.Offer") -> "dict[str, JSON]":
    kind = offer.provider
    return {
        "name": offer.name,
        "aliases": list(offer.aliases),
        "distribution": offer.distribution,
        "version": None if kind is None else kind.version,
        "description": None if kind is None else kind.description,
        "offers": sorted(offer.capabilities),
        "broken": sorted(offer.broken),
        "problem": offer.problem,
        "missing": offer.missing,
    }


async def _agreed() -> bool:
    """Whether whoever sits at the terminal says yes."""
    sys.stderr.write("Do it? [y/N] ")
    sys.stderr.flush()
    with aside.Aside() as terminal:
        return (await terminal.call(sys.stdin.readline)).strip().casefold() in ("y", "yes")


def _show_plan(paper: "Paper", plan: "memory.ConsolidationPlan", *, how: bool = False) -> None:
    paper.line(f"{plan.examined} records were looked at, {len(plan.changes)} changes are planned.")
    rows = [
        (
            each.policy,
            each.reason,
            ", ".join(each.ends),
            "ends" if each.record is None else (each.record.text or "one record with their content"),
        )
        for each in plan.changes
    ]
    if rows:
        paper.table(("policy", "why", "records", "become"), rows)
    for told in plan.contradictions:
        paper.line(f"For you to decide: {told.reason}: {', '.join(told.record_ids)}")
    if how and plan.changes:
        paper.line("  next: the same command with --apply does it")


def _show_result(paper: "Paper", result: "memory.ConsolidationResult") -> None:
    paper.line(f"{result.change_id}: {result.status}; {len(result.ended)} records ended, {len(result.made)} made.")
    for each in result.skipped:
        paper.line(f"  left alone: {each}")
    if result.status == "applied":
        paper.line(f"  next: interlock memory consolidate --undo {result.change_id}")
