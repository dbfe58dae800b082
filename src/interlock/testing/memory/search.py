"""Level `search`: what searches find, in which order, and why."""

from datetime import timedelta

from interlock import memory
from interlock.testing.memory.case import NOTHING, Trial, add, case, expect, raises, same, texts
from interlock.testing.memory.required import ODD

NOTES = (
    "The deployment of the billing service failed on Friday",
    "Ana prefers short answers with examples",
    "The billing database runs on port 5433",
    "Weather in Lyon was sunny",
    "Error E4711 means that the token has expired",
)


async def _filled(trial: Trial) -> None:
    for note in NOTES:
        trial.tick()
        await trial.mem.remember(note, tags=["note"])


@case("search", "text")
async def words_find_their_texts(trial: Trial) -> None:
    """A word finds the texts that have it, whatever its case and accents, and no other."""
    await _filled(trial)
    for word, due in (("lyon", NOTES[3]), ("E4711", NOTES[4]), ("5433", NOTES[2]), ("LYÓN", NOTES[3])):
        same(texts(await trial.mem.retrieve(word, mode="text")), [due])
    same(texts(await trial.mem.retrieve("absent", mode="text")), [])
    same(texts(await trial.mem.retrieve("?! ...", mode="text")), [])


@case("search", "text")
async def more_and_rarer_words_come_first(trial: Trial) -> None:
    """What has more of the words, and rarer ones, is ranked higher."""
    await _filled(trial)
    found = await trial.mem.retrieve("the billing database", mode="text")
    same(texts(found)[0], NOTES[2])
    scores = [hit.score or 0 for hit in found.hits]
    same(scores, sorted(scores, reverse=True))


@case("search", "text")
async def a_hit_says_why(trial: Trial) -> None:
    """Each hit names the words that matched, and its rank and score by each signal."""
    await _filled(trial)
    found = await trial.mem.retrieve("billing friday", mode="text")
    hit = found.hits[0]
    same((hit.record.text, set(hit.matched_terms), hit.rank), (NOTES[0], {"billing", "friday"}, 1))
    same([(signal.name, signal.rank) for signal in hit.signals], [("text", 1)])
    same(set(found.explanation.terms), {"billing", "friday"})
    expect(
        any("acme" in told for told in found.explanation.filters), "the scope is not among the filters that it tells"
    )


for _name in ("sql", "fts", "percent", "json", "quotes", "emoji", "zero-width", "no-spaces", "right-to-left"):

    async def _searched(trial: Trial, text: str = ODD[_name]) -> None:
        await trial.mem.remember("nothing of this")
        kept = await trial.mem.remember(f"{text} anchor")
        found = await trial.mem.retrieve(f"{text} anchor", mode="text")
        same(found.records[0].record_id, kept.record_id)

    add("search", f"query-{_name}", f"A query is text and no language: {_name}.", _searched, "text")


@case("search", "text")
async def a_huge_query_is_answered(trial: Trial) -> None:
    """A query of a hundred thousand words is answered like any other."""
    await trial.mem.remember("word17 is here")
    found = await trial.mem.retrieve(" ".join(f"word{number}" for number in range(100_000)), mode="text")
    same(texts(found), ["word17 is here"])


@case("search", "text")
async def filters_hold_before_ranking(trial: Trial) -> None:
    """A filter leaves as many hits as there are, however many better ones it takes away."""
    for number in range(30):
        await trial.mem.remember(f"billing billing billing {number}", tags=["loud"])
    kept = await trial.mem.remember("a long text in which billing is said once, among many other words", tags=["quiet"])
    for mode in ("text", "semantic", "hybrid"):
        if mode not in trial.mem.capabilities().guarantees.search_modes:
            continue
        found = await trial.mem.retrieve("billing", mode=mode, tags_any=["quiet"], limit=5)
        same([record.record_id for record in found.records], [kept.record_id])


@case("search", "text")
async def a_least_score_cuts(trial: Trial) -> None:
    """Hits below the least score are left out."""
    await _filled(trial)
    scores = [hit.score or 0 for hit in (await trial.mem.retrieve("the billing database", mode="text")).hits]
    found = await trial.mem.retrieve("the billing database", mode="text", min_score=scores[0])
    same(len(found.hits), 1)


@case("search", "text")
async def ranked_pages_are_whole(trial: Trial) -> None:
    """Pages of a search show every hit once, in one ranking."""
    for number in range(9):
        await trial.mem.remember("billing " * (number + 1) + "filler " * 9)
    whole = [record.record_id for record in (await trial.mem.retrieve("billing", mode="text")).records]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await trial.mem.retrieve("billing", mode="text", limit=2, cursor=cursor)
        same([hit.rank for hit in page.hits], list(range(len(seen) + 1, len(seen) + 1 + len(page.hits))))
        seen += [record.record_id for record in page.records]
        cursor = page.cursor
        if cursor is None:
            break
    same((seen, len(whole)), (whole, 9))


@case("search", "text")
async def equals_are_in_a_stable_order(trial: Trial) -> None:
    """Records that score the same are in the order of their ids, each time."""
    made = sorted([(await trial.mem.remember("the same words")).record_id for _ in range(6)])
    for _ in range(2):
        same([record.record_id for record in (await trial.mem.retrieve("same", mode="text")).records], made)


@case("search", "text")
async def a_revision_is_found_by_its_words_and_not_by_the_old_ones(trial: Trial) -> None:
    """Searches see the last revision, and nothing of what was forgotten."""
    kept = await trial.mem.remember("lives in Paris")
    await trial.mem.remember("lives in Lyon", record_id=kept.record_id)
    same(texts(await trial.mem.retrieve("paris", mode="text")), [])
    same(texts(await trial.mem.retrieve("lyon", mode="text")), ["lives in Lyon"])
    await trial.mem.forget(kept.record_id)
    same(texts(await trial.mem.retrieve("lyon", mode="text")), [])


@case("search", "text")
async def content_is_searched_where_there_is_no_text(trial: Trial) -> None:
    """Of a record without a text the texts in its content are searched."""
    await trial.mem.remember(memory.Draft.of(content={"a": ["needle", {"b": "in hay"}], "n": 7}))
    same(len((await trial.mem.retrieve("needle", mode="text")).hits), 1)
    same(len((await trial.mem.retrieve(text_contains="IN HAY")).hits), 1)


@case("search", "semantic")
async def likeness_finds_inflections(trial: Trial) -> None:
    """By likeness the text with other forms of the words comes first, best scores first, between -1 and 1."""
    await _filled(trial)
    found = await trial.mem.retrieve("deploying services failing", mode="semantic", limit=3)
    same(texts(found)[0], NOTES[0])
    scores = [hit.score or 0 for hit in found.hits]
    same(scores, sorted(scores, reverse=True))
    expect(all(-1.001 <= score <= 1.001 for score in scores), f"cosines of {scores}")


@case("search", "semantic", "vectors")
async def a_vector_of_another_size_is_refused(trial: Trial) -> None:
    """An embedding has as many dimensions as the provider says, in records and in queries."""
    size = trial.mem.capabilities().guarantees.vector_dimensions
    for wrong in (1, (size or 0) + 1):
        async with raises(memory.InvalidInput):
            await trial.mem.remember("x", embedding=(1.0,) * wrong)
        async with raises(memory.InvalidInput):
            await trial.mem.retrieve(vector=(1.0,) * wrong, mode="semantic")
    same(texts(await trial.mem.retrieve()), [])


@case("search", "semantic", "vectors")
async def a_vector_of_one_s_own_counts(trial: Trial) -> None:
    """An embedding that the caller brings replaces the provider's own, and can be searched by."""
    size = trial.mem.capabilities().guarantees.vector_dimensions or 0
    one, other = ((1.0,) + (0.0,) * (size - 1)), ((0.0,) * (size - 1) + (3.0,))
    await trial.mem.remember("one", embedding=one)
    await trial.mem.remember("other", embedding=other)
    found = await trial.mem.retrieve(vector=other, mode="semantic")
    same(texts(found)[0], "other")
    expect(abs((found.hits[0].score or 0) - 1) < 1e-3, f"the cosine of one direction is {found.hits[0].score}")


@case("search", "hybrid")
async def hybrid_finds_what_either_finds(trial: Trial) -> None:
    """The union of what words and likeness find is ranked; what both find is first."""
    await _filled(trial)
    by_words = {*texts(await trial.mem.retrieve("billing deployment", mode="text"))}
    found = await trial.mem.retrieve("billing deployment", mode="hybrid")
    expect(by_words <= {*texts(found)}, "something that words alone find is missing")
    same(texts(found)[0], NOTES[0])
    expect(all(0 < (hit.score or 0) <= 1.000001 for hit in found.hits), "a score that is no share")
    for hit in found.hits:
        total = sum(signal.contribution for signal in hit.signals)
        expect(abs(total - (hit.score or 0)) < 1e-9, "the contributions do not add up to the score")


@case("search", "hybrid", "text")
async def age_and_importance_count_if_they_are_asked_to(trial: Trial) -> None:
    """Recency and importance are signals that are told, and count for nothing unless they have a weight."""
    old = trial.clock.now() - timedelta(days=30)
    await trial.mem.remember("billing note", importance=1.0, observed_at=old)
    await trial.mem.remember("billing note", importance=0.0)
    plain = await trial.mem.retrieve("billing", mode="text")
    same({signal.name for hit in plain.hits for signal in hit.signals}, {"text"})
    recent = await trial.mem.retrieve("billing", mode="text", weights={"recency": 5.0})
    important = await trial.mem.retrieve("billing", mode="text", weights={"importance": 5.0})
    same((recent.records[0].importance, important.records[0].importance), (0.0, 1.0))
    same({signal.name for hit in recent.hits for signal in hit.signals}, {"text", "recency"})


@case("search", "explain_retrieval", "text")
async def near_misses_are_told(trial: Trial) -> None:
    """An explanation is of the same execution: the same hits, how many candidates there were, and what was cut off and why."""
    await _filled(trial)
    told = await trial.mem.explain("the billing database", mode="text", limit=1)
    same(texts(told), texts(await trial.mem.retrieve("the billing database", mode="text", limit=1)))
    same((told.explanation.candidates["text"] > 1, told.explanation.near_misses[0].reason), (True, "limit"))
    cut = await trial.mem.explain("the billing database", mode="text", min_score=10_000.0)
    same((texts(cut), cut.explanation.near_misses[0].reason), (NOTHING, "min_score"))


@case("search", "text")
async def what_others_say_counts_for_nothing(trial: Trial) -> None:
    """What a word counts, and so the score of a hit, is the same whatever is kept in other scopes, before and after."""
    for text in ("the outage of the billing service", "the invoice of May", "an outage"):
        await trial.mem.remember(text)
    alone = [hit.score for hit in (await trial.mem.retrieve("billing outage", mode="text")).hits]
    for scope in (memory.Scope(tenant="other", user="ana"), memory.Scope(tenant="acme", user="bob")):
        for number in range(5):
            await trial.at(scope).remember(f"another outage of billing, the number {number} of many that are long")
    same([hit.score for hit in (await trial.mem.retrieve("billing outage", mode="text")).hits], alone)
    wide = await trial.at(memory.Scope(tenant="acme")).retrieve("billing outage", mode="text", limit=20)
    same(len(wide.hits), 7)
