"""Level `core`: filters, each alone and all together, against what is known of the records."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from interlock import memory
from interlock.testing.memory.case import Trial, add, case, raises, same

START: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    text: str
    memory_class: str = "episodic"
    kind: str = "event"
    tags: tuple[str, ...] = ()
    source: str | None = None
    importance: float = 0.5
    hours: int = 0
    metadata: dict[str, Any]

    def draft(self) -> memory.Draft:
        fields = {
            name: getattr(self, name) for name in ("text", "memory_class", "kind", "source", "importance", "metadata")
        }
        return memory.Draft.of(**fields, tags=self.tags, observed_at=START + timedelta(hours=self.hours))


KEPT: Final = (
    _Kept(text="Alpha", tags=("a",), hours=0, metadata={"n": 1}),
    _Kept(text="beta ALPHA", tags=("a", "b"), kind="note", hours=1, metadata={"n": 1.5, "deep": {"x": [1, None]}}),
    _Kept(text="gamma", tags=("b",), memory_class="semantic", source="chat", hours=2, metadata={"n": "1"}),
    _Kept(
        text="Straße", tags=("a", "b", "c"), memory_class="procedural", importance=0.9, hours=3, metadata={"n": None}
    ),
    _Kept(text="delta_%", kind="Note", source="Chat", importance=0.1, hours=4, metadata={"n": True}),
    _Kept(text="epsilon", tags=("A",), memory_class="working", importance=1.0, hours=5, metadata={}),
)

Holds = Callable[[_Kept], bool]
FILTERS: Final[Sequence[tuple[str, dict[str, Any], Holds]]] = (
    ("class", {"classes": ["semantic"]}, lambda it: it.memory_class == "semantic"),
    ("classes", {"classes": ["semantic", "working"]}, lambda it: it.memory_class in ("semantic", "working")),
    ("kind", {"kinds": ["note"]}, lambda it: it.kind == "note"),
    ("kinds", {"kinds": ["note", "Note"]}, lambda it: it.kind in ("note", "Note")),
    ("tags-any", {"tags_any": ["a", "c"]}, lambda it: bool({"a", "c"} & set(it.tags))),
    ("tags-all", {"tags_all": ["a", "b"]}, lambda it: {"a", "b"} <= set(it.tags)),
    ("tags-both", {"tags_any": ["c", "x"], "tags_all": ["a"]}, lambda it: "c" in it.tags and "a" in it.tags),
    ("tag-of-nobody", {"tags_any": ["' OR 1=1 --"]}, lambda it: it.text == ""),
    ("source", {"source": "chat"}, lambda it: it.source == "chat"),
    ("importance", {"min_importance": 0.9}, lambda it: it.importance >= 0.9),
    ("text-contains", {"text_contains": "alpha"}, lambda it: "alpha" in it.text.lower()),
    ("text-contains-folded", {"text_contains": "STRASSE"}, lambda it: it.text == "Straße"),
    ("text-contains-signs", {"text_contains": "_%"}, lambda it: "_%" in it.text),
    ("text-contains-one-sign", {"text_contains": "%"}, lambda it: "%" in it.text),
    ("since", {"since": START + timedelta(hours=3)}, lambda it: it.hours >= 3),
    ("until", {"until": START + timedelta(hours=3)}, lambda it: it.hours <= 3),
    (
        "since-and-until",
        {"since": START + timedelta(hours=2), "until": START + timedelta(hours=2)},
        lambda it: it.hours == 2,
    ),
    ("metadata-number", {"metadata": {"n": 1}}, lambda it: it.metadata.get("n") == 1 and it.metadata["n"] is not True),
    ("metadata-text", {"metadata": {"n": "1"}}, lambda it: it.metadata.get("n") == "1"),
    ("metadata-null", {"metadata": {"n": None}}, lambda it: "n" in it.metadata and it.metadata["n"] is None),
    ("metadata-deep", {"metadata": {"deep": {"x": [1, None]}}}, lambda it: "deep" in it.metadata),
    ("metadata-two", {"metadata": {"n": 1.5, "deep": {"x": [1, None]}}}, lambda it: "deep" in it.metadata),
    (
        "all-together",
        {"kinds": ["event"], "tags_any": ["a"], "until": START, "metadata": {"n": 1}, "min_importance": 0.5},
        lambda it: it.text == "Alpha",
    ),
)


def _filtered(fields: dict[str, Any], holds: Holds) -> Any:
    async def act(trial: Trial) -> None:
        for kept in KEPT:
            await trial.mem.remember(kept.draft())
        due = [kept.text for kept in KEPT if holds(kept)]
        found = await trial.mem.retrieve(order="oldest", exact_total=trial.counts, **fields)
        same(([record.text for record in found.records], found.total), (due, len(due) if trial.counts else None))

    return act


for _name, _fields, _holds in FILTERS:
    add(
        "core",
        f"filter-{_name}",
        f"A filter lets through what it names and nothing else: {_name}.",
        _filtered(_fields, _holds),
    )


@case("core")
async def a_filter_holds_before_the_limit(trial: Trial) -> None:
    """A limit cuts what the filter let through, and not what it then leaves."""
    for number in range(20):
        trial.tick()
        await trial.mem.remember(f"{number}", tags=["rare"] if number in (0, 1) else [])
    found = await trial.mem.retrieve(tags_any=["rare"], limit=2)
    same([record.text for record in found.records], ["1", "0"])


@case("core")
async def a_query_names_no_more_than_it_may(trial: Trial) -> None:
    """A filter with a million names is refused at once; a hundred of each are looked for."""
    await trial.mem.remember("here", tags=["t7"], kind="k7", metadata={"m7": 7})
    many = [f"t{number}" for number in range(1_000_000)]
    wrong: list[dict[str, Any]] = [{"tags_any": many}, {"tags_all": many}, {"kinds": many}, {"classes": many}]
    wrong.append({"metadata": dict.fromkeys(many[:5_000])})
    for fields in wrong:
        async with raises(memory.InvalidInput):
            await trial.mem.retrieve(**fields)
    kinds = [f"k{number}" for number in range(100)]
    same(len((await trial.mem.retrieve(tags_any=many[:100], kinds=kinds, metadata={"m7": 7})).hits), 1)
    absent = {f"m{number}": number for number in range(100)}
    same(len((await trial.mem.retrieve(tags_all=many[:100], metadata=absent)).hits), 0)
