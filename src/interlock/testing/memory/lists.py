"""Level `core`: what is listed, in which order, and page by page."""

from datetime import timedelta
from typing import Any

from interlock import memory
from interlock.testing.memory.case import Trial, case, raises, same, texts


@case("core")
async def lists_are_in_order(trial: Trial) -> None:
    """Lists are ordered by when records were observed, then by id, either way."""
    start = trial.clock.now()
    for hours in (3, 1, 2, 1):
        await trial.mem.remember(f"{hours}", observed_at=start + timedelta(hours=hours))
    newest = (await trial.mem.retrieve()).records
    oldest = (await trial.mem.retrieve(order="oldest")).records
    same([record.text for record in newest], ["3", "2", "1", "1"])
    same(list(reversed(newest)), list(oldest))
    keys = [(record.observed_at, record.record_id) for record in oldest]
    same(keys, sorted(keys))


@case("core")
async def pages_are_whole(trial: Trial) -> None:
    """Pages of any size show every record once, in one order, to the end."""
    made = {(await trial.mem.remember(f"{number}")).record_id for number in range(7)}
    for size in (1, 2, 3, 7, 8):
        seen: list[str] = []
        cursor: str | None = None
        while True:
            page = await trial.mem.retrieve(limit=size, cursor=cursor)
            seen += [record.record_id for record in page.records]
            same([hit.rank for hit in page.hits], list(range(len(seen) - len(page.hits) + 1, len(seen) + 1)))
            cursor = page.cursor
            if cursor is None:
                break
        same((len(seen), set(seen)), (7, made))


@case("core")
async def a_page_begins_where_the_one_before_ended(trial: Trial) -> None:
    """What comes in between pages moves nothing that was seen."""
    for number in range(4):
        trial.tick()
        await trial.mem.remember(f"{number}")
    first = await trial.mem.retrieve(limit=2)
    trial.tick()
    await trial.mem.remember("newer")
    second = await trial.mem.retrieve(limit=2, cursor=first.cursor)
    same(texts(first) + texts(second), ["3", "2", "1", "0"])


@case("core")
async def a_cursor_is_of_one_query(trial: Trial) -> None:
    """A cursor of another query, or of nobody, is refused."""
    for number in range(3):
        await trial.mem.remember(f"{number}", tags=["t"])
    page = await trial.mem.retrieve(limit=1)
    wrong: list[tuple[str | None, dict[str, Any]]] = [
        (page.cursor, {"tags_any": ["t"]}),
        *((each, {}) for each in ("rubbish", "", "AAAA")),
    ]
    for cursor, fields in wrong:
        async with raises(memory.InvalidInput):
            await trial.mem.retrieve(limit=1, cursor=cursor, **fields)
    async with raises(memory.InvalidInput):
        await trial.at(memory.Scope(tenant="acme")).retrieve(limit=1, cursor=page.cursor)


@case("core")
async def limits_hold(trial: Trial) -> None:
    """No more hits than were asked for; a cursor if and only if there are more."""
    for number in range(3):
        await trial.mem.remember(f"{number}")
    for size, more in ((1, True), (2, True), (3, False), (4, False)):
        page = await trial.mem.retrieve(limit=size)
        same((len(page.hits), page.cursor is not None), (min(size, 3), more))


@case("core", "exact_total")
async def totals_are_exact(trial: Trial) -> None:
    """The total that was asked for counts all that match, whatever the page."""
    for number in range(5):
        await trial.mem.remember(f"{number}", tags=["even"] if number % 2 == 0 else [])
    same((await trial.mem.retrieve(limit=1)).total, None)
    same((await trial.mem.retrieve(limit=1, exact_total=True)).total, 5)
    same((await trial.mem.retrieve(limit=1, exact_total=True, tags_any=["even"])).total, 3)


@case("core")
async def a_token_budget_holds(trial: Trial) -> None:
    """The texts of the hits have no more tokens than the budget."""
    for number in range(4):
        trial.tick()
        await trial.mem.remember(str(number) * 40)
    same(len((await trial.mem.retrieve(token_budget=25)).hits), 2)
    same(len((await trial.mem.retrieve(token_budget=40)).hits), 4)
