"""Budgets from the operator's file. All problems are reported at once, each with its place."""

import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, cast

from interlock.budgets.errors import Flaw, InvalidBudget, Path
from interlock.budgets.model import Per, Rate, Rule, Spend

MAX_RULES = 200
_MATCHERS = ("capability", "connector", "effect", "environment")
_KEYS = ("name", "per", *_MATCHERS, "concurrency", "rate", "spend")
UNITS_OF_TURNS = ("usd_micros", "tokens", "model_calls", "operation_calls", "milliseconds")
"""In which turns of agents are counted."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MAX_COUNT = 2**53 - 1
_MAX_WINDOW_S = 366 * 86_400


def parse_rules(tables: object, *, locate: Callable[[Path], object] = lambda _: "budgets") -> tuple[Rule, ...]:
    """The rules of a file's `budgets`, a list of tables.

    `locate` says where a path stands in the file. Raises InvalidBudget with every problem and the nearest right word.
    """
    if not isinstance(tables, list) or len(cast("list[object]", tables)) > MAX_RULES:
        raise _invalid([((), f"must be a list of at most {MAX_RULES} tables: [[budgets]]", None)], locate)
    tables = cast("list[object]", tables)
    flaws: list[Flaw] = []
    first: dict[object, int] = {}
    for index, table in enumerate(tables):
        flaws += [((index, *path), text, hint) for path, text, hint in _rule_flaws(table)]
        name = cast("dict[str, object]", table).get("name") if isinstance(table, dict) else None
        if isinstance(name, str) and first.setdefault(name, index) != index:
            flaws.append(((index, "name"), f"{name!r} is also the name of budget {first[name]}", None))
    if flaws:
        raise _invalid(flaws, locate)
    return tuple(_rule(cast("dict[str, Any]", table)) for table in tables)


def _invalid(flaws: list[Flaw], locate: Callable[[Path], object]) -> InvalidBudget:
    return InvalidBudget([(("budgets", *path), text, suggestion) for path, text, suggestion in flaws], locate)


def _rule_flaws(table: object) -> Iterator[Flaw]:
    if not isinstance(table, dict):
        yield (), "must be a table", None
        return
    table = cast("dict[str, object]", table)
    unknown = list(_unknown(table, _KEYS))
    yield from unknown
    given = {*table, *(hint for _, _, hint in unknown)}  # what is misspelt is not missing as well
    if not _is_name(table.get("name")):
        yield from _unfit(table, given, "name", "a name of 1 to 64 letters, digits, '_', '-', '.'")
    per, words = table.get("per"), tuple(item.value for item in Per)
    if not isinstance(per, str) or per not in words:
        yield from _unfit(table, given, "per", f"one of {', '.join(words)}", _nearest(per, words))
    for key in _MATCHERS:
        patterns = table.get(key, "*")
        if not all(isinstance(item, str) and 0 < len(item) <= 200 for item in _as_list(patterns)):
            yield (key,), f"{str(patterns)[:50]!r} is not a text or a list of texts", None
    if not {"concurrency", "rate", "spend"} & given:
        yield (), "limits nothing: give it concurrency, rate or spend", None
    if _counts_turns(table) and {"concurrency", "rate"} & given:
        yield (), "of turns of agents a budget counts what they spend: give it spend alone", None
    if _counts_turns(table):
        yield from _unit_flaws(table)
    if "concurrency" in table and not _is_count(table["concurrency"], 100_000):
        yield from _unfit(table, given, "concurrency", "a number from 1 to 100000")
    yield from _window_flaws(table, "rate", "{ limit = 30, per_seconds = 60 }")
    yield from _window_flaws(table, "spend", "{ limit = 5_000_000, per_seconds = 86_400, unit = 'usd_micros' }")


def _unit_flaws(table: dict[str, object]) -> Iterator[Flaw]:
    """A unit in which no turn is counted would limit nothing."""
    spend = table.get("spend")
    unit = cast("dict[str, object]", spend).get("unit") if isinstance(spend, dict) else None
    if isinstance(unit, str) and unit not in UNITS_OF_TURNS:
        text = f"{unit[:60]!r} is not counted of turns of agents, but {', '.join(UNITS_OF_TURNS)}"
        near = "milliseconds" if "sec" in unit else _nearest(unit, UNITS_OF_TURNS)
        yield ("spend", "unit"), text, near


def _counts_turns(table: dict[str, object]) -> bool:
    named = [str(item) for item in _as_list(table.get("capability", "*"))]
    return table.get("per") in ("agent", "session") or all(each.startswith("agent.") for each in named)


def _window_flaws(table: dict[str, object], key: str, example: str) -> Iterator[Flaw]:
    if key not in table:
        return
    window = table[key]
    if not isinstance(window, dict):
        yield (key,), f"must be a table such as {example}", None
        return
    window = cast("dict[str, object]", window)
    unknown = list(_unknown(window, ("limit", "per_seconds", *(["unit"] if key == "spend" else []))))
    flaws = [*unknown]
    given = {*window, *(hint for _, _, hint in unknown)}
    for name, most in (("limit", _MAX_COUNT), ("per_seconds", _MAX_WINDOW_S)):
        if not _is_count(window.get(name), most):
            flaws += _unfit(window, given, name, f"a number from 1 to {most}")
    if key == "spend" and not _is_name(window.get("unit")):
        flaws += _unfit(window, given, "unit", "the name of a unit such as 'usd_micros'")
    yield from (((key, *path), text, hint) for path, text, hint in flaws)


def _unfit(
    table: dict[str, object], given: Collection[str | None], key: str, wanted: str, near: str | None = None
) -> Iterator[Flaw]:
    """What is wrong with the value of a key: that it is not there, or that it is not what is wanted."""
    if key in table:
        yield (key,), f"{repr(table[key])[:60]} is not {wanted}", near
    elif key not in given:
        yield (key,), f"is missing: {wanted}", None


def _unknown(table: dict[str, object], keys: tuple[str, ...]) -> Iterator[Flaw]:
    for key in table:
        if key not in keys:
            yield (key,), "unknown key", _nearest(key, keys)


def _nearest(word: object, options: tuple[str, ...]) -> str | None:
    import difflib  # here, because only mistakes need it

    return next(iter(difflib.get_close_matches(str(word)[:200].lower(), options, n=1)), None)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_count(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _as_list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else [value]


def _rule(table: dict[str, Any]) -> Rule:
    return Rule(
        name=table["name"],
        per=Per(table["per"]),
        concurrency=table.get("concurrency"),
        rate=Rate(**table["rate"]) if "rate" in table else None,
        spend=Spend(**table["spend"]) if "spend" in table else None,
        **{key: tuple(cast("list[str]", _as_list(table[key]))) for key in _MATCHERS if key in table},
    )
