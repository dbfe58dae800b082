"""`interlock memory search` and `explain`: what is found, and why."""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, overload

import typer

from interlock.cli import memories
from interlock.cli.memories import Place

if TYPE_CHECKING:
    from datetime import datetime

    from interlock import memory
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper

Text = Annotated[str | None, typer.Argument(metavar="TEXT", help="What to look for; without it, all there is.")]
Mode = Annotated[
    Literal["text", "semantic", "hybrid"] | None,
    typer.Option(metavar="NAME", help="By words (text), by likeness (semantic), or both (hybrid)."),
]
Limit = Annotated[int | None, typer.Option(metavar="N", help="How many hits.")]
MinScore = Annotated[float | None, typer.Option("--min-score", metavar="SCORE", help="The least score of a hit.")]
Budget = Annotated[int | None, typer.Option("--token-budget", metavar="N", help="About so many tokens of text in all.")]
Weights = Annotated[
    list[str] | None,
    typer.Option("--weight", metavar="SIGNAL=N", help="What text, semantic, recency or importance counts."),
]
Classes = Annotated[list[str] | None, typer.Option("--class", metavar="NAME", help="Of this class.")]
Kinds = Annotated[list[str] | None, typer.Option("--kind", metavar="WORD", help="Of this kind.")]
AnyTag = Annotated[list[str] | None, typer.Option("--tag", metavar="WORD", help="With any of these tags.")]
AllTags = Annotated[list[str] | None, typer.Option("--all-tags", metavar="WORD", help="With each of these tags.")]
Source = Annotated[str | None, typer.Option("--source", metavar="NAME", help="From there.")]
Contains = Annotated[str | None, typer.Option("--contains", metavar="TEXT", help="With this in its text.")]
Meta = Annotated[list[str] | None, typer.Option("--meta", metavar="KEY=VALUE", help="With this metadata.")]
Importance = Annotated[float | None, typer.Option("--min-importance", metavar="SHARE", help="At least so important.")]
Since = Annotated[str | None, typer.Option("--since", metavar="TIME", help="Observed since: 2h, 7d, a day, a moment.")]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Observed until then.")]
AsOf = Annotated[str | None, typer.Option("--as-of", metavar="TIME", help="What was so in the world then; or any.")]
KnownAt = Annotated[str | None, typer.Option("--known-at", metavar="TIME", help="What was recorded then.")]


def asked(
    *,
    text: Text = None,
    mode: Mode = None,
    limit: Limit = None,
    min_score: MinScore = None,
    token_budget: Budget = None,
    weight: Weights = None,
    classes: Classes = None,
    kinds: Kinds = None,
    tags: AnyTag = None,
    all_tags: AllTags = None,
    source: Source = None,
    contains: Contains = None,
    meta: Meta = None,
    min_importance: Importance = None,
    since: Since = None,
    until: Until = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
) -> "memory.Query":
    """The query that the options of a search make. Raises Usage, InvalidInput."""
    from interlock import memory
    from interlock.cli import inputs

    return memory.Query.of(
        text=text,
        mode=mode,
        limit=limit,
        min_score=min_score,
        token_budget=token_budget,
        weights=_weights(weight or ()),
        classes=tuple(classes or ()),
        kinds=tuple(kinds or ()),
        tags_any=tuple(tags or ()),
        tags_all=tuple(all_tags or ()),
        source=source,
        text_contains=contains,
        metadata=inputs.parse_pairs(meta or (), {}),
        min_importance=min_importance,
        since=moment_of(since, "--since"),
        until=moment_of(until, "--until"),
        as_of="any" if as_of == "any" else moment_of(as_of, "--as-of"),
        known_at=moment_of(known_at, "--known-at"),
    )


def asking(function: Callable[..., "Awaitable[Answer]"]) -> Callable[..., "Awaitable[Answer]"]:
    """A command of a query, which takes the options of a search."""
    desk, place, _, *own = inspect.signature(function).parameters.values()
    options = inspect.signature(asked).parameters

    async def searching(desk: "Desk", place: Place, **given: Any) -> "Answer":
        query = asked(**{name: given.pop(name) for name in options})
        return await function(desk, place, query, **given)

    searching.__doc__ = function.__doc__
    keyword = inspect.Parameter.KEYWORD_ONLY
    told = [desk, place, *options.values(), *(each.replace(kind=keyword) for each in own)]
    vars(searching)["__signature__"] = inspect.Signature(told)
    return searching


@asking
async def search(
    desk: "Desk",
    place: Place,
    query: "memory.Query",
    *,
    oldest: Annotated[bool, typer.Option("--oldest", help="A list from the oldest on.")] = False,
    total: Annotated[bool, typer.Option("--total", help="Also count all that match.")] = False,
    cursor: Annotated[str | None, typer.Option(metavar="CURSOR", help="Go on where a page ended.")] = None,
) -> "Answer":
    """Find what was remembered, best first, and say why each hit is one.

    Without TEXT it is a list, newest first. Filters hold before anything is ranked or cut. A score is BM25 in the mode text,
    cosine in the mode semantic, a share of the best that could be in the mode hybrid.

    Example:
      interlock memory search "which answers does Ana prefer?" --user ana --limit 5
    """
    from interlock.cli.desk import Answer

    query = query.changed(order="oldest" if oldest else "newest", exact_total=total, cursor=cursor)
    async with place.open(desk) as mem:
        found = await mem.retrieve(query)
    return Answer(document=found.to_json(), show=lambda paper: _show(paper, found))


@asking
async def explain(desk: "Desk", place: Place, query: "memory.Query") -> "Answer":
    """Search, and say how the result came about: what was looked for, what had to hold, and the near misses.

    Example:
      interlock memory explain "billing outage" --user ana --limit 3
    """
    from interlock.cli.desk import Answer

    async with place.open(desk) as mem:
        found = await mem.explain(query)
    return Answer(document=found.to_json(), show=lambda paper: _show_whole(paper, found))


@overload
def moment_of(text: str, option: str, *, ahead: bool = False) -> "datetime": ...
@overload
def moment_of(text: str | None, option: str, *, ahead: bool = False) -> "datetime | None": ...
def moment_of(text: str | None, option: str, *, ahead: bool = False) -> "datetime | None":
    """A moment of the command line. Raises Usage."""
    from interlock.cli.times import parse_moment
    from interlock.kernel import SystemClock

    return None if text is None else parse_moment(text, option=option, now=SystemClock().now(), ahead=ahead)


def _weights(pairs: Sequence[str]) -> dict[str, float] | None:
    from interlock.cli.errors import Usage

    found: dict[str, float] = {}
    for pair in pairs:
        name, _, number = pair.partition("=")
        try:
            found[name] = float(number)
        except ValueError as error:
            raise Usage(f"--weight {pair[:60]!r}: write SIGNAL=N, such as recency=1") from error
    return found or None


def _show(paper: "Paper", found: "memory.RetrieveResult") -> None:
    if not found.hits:
        memories.nothing(paper, found.scope, known=found.scope_known)
        return
    if found.query.mode is None:
        paper.table(("record", "observed", "class", "tags", "says"), memories.listed(found.hits))
    else:
        paper.table(("rank", "score", "record", "says", "why"), memories.ranked(found.hits))
    if found.total is not None:
        paper.line(f"{found.total} in all")
    if found.cursor is not None:
        paper.line(f"  next: --cursor {found.cursor}")


def _show_whole(paper: "Paper", found: "memory.RetrieveResult") -> None:
    _show(paper, found)
    told = found.explanation
    paper.heading("How it came about")
    paper.fields(
        [
            ("mode", "a list" if told.mode is None else told.mode.value),
            ("words", ", ".join(told.terms) or None),
            ("had to hold", "; ".join(told.filters)),
            ("found by", ", ".join(f"{name} {count}" for name, count in told.candidates.items()) or None),
            ("fusion", told.fusion or None),
        ]
    )
    if told.near_misses:
        paper.heading("Near misses")
        rows = [(each.record_id, f"{each.score:.3f}", each.reason) for each in told.near_misses]
        paper.table(("record", "score", "cut by"), rows)
