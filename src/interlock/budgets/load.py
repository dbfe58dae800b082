"""Budgets from the operator's file. All problems are reported at once, each with its place."""

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, cast

from interlock.budgets.errors import InvalidBudget
from interlock.budgets.model import Per, Rate, Rule, Spend
from interlock.kernel import JSON

MAX_RULES = 200
_MATCHERS = ("capability", "connector", "effect", "environment")
_KEYS = ("name", "per", *_MATCHERS, "concurrency", "rate", "spend")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MAX_COUNT = 2**53 - 1
_MAX_WINDOW_S = 366 * 86_400

Path: TypeAlias = tuple[str | int, ...]
_Flaw: TypeAlias = tuple[Path, str, str | None]


def parse_rules(tables: object, *, locate: Callable[[Path], object] = lambda _: "budgets") -> tuple[Rule, ...]:
    """The rules of a file's `budgets`, a list of tables.

    `locate` says where a path stands in the file. Raises InvalidBudget with every problem and the nearest right word.
    """
    if not isinstance(tables, list) or len(cast("list[object]", tables)) > MAX_RULES:
        raise _invalid([((), f"must be a list of at most {MAX_RULES} tables: [[budgets]]", None)], locate)
    tables = cast("list[object]", tables)
    flaws: list[_Flaw] = []
    first: dict[object, int] = {}
    for index, table in enumerate(tables):
        flaws += [((index, *path), text, hint) for path, text, hint in _rule_flaws(table)]
        name = cast("dict[str, object]", table).get("name") if isinstance(table, dict) else None
        if isinstance(name, str) and first.setdefault(name, index) != index:
            flaws.append(((index, "name"), f"{name!r} is also the name of budget {first[name]}", None))
    if flaws:
        raise _invalid(flaws, locate)
    return tuple(_rule(cast("dict[str, Any]", table)) for table in tables)


def _invalid(flaws: list[_Flaw], locate: Callable[[Path], object]) -> InvalidBudget:
    problems: list[dict[str, JSON]] = []
    for path, text, suggestion in flaws:
        full = ("budgets", *path)
        dotted = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in full).lstrip(".")
        problems.append({"where": str(locate(full)), "path": dotted, "problem": text, "suggestion": suggestion})
    return InvalidBudget(problems)


def _rule_flaws(table: object) -> Iterator[_Flaw]:
    if not isinstance(table, dict):
        yield (), "must be a table", None
        return
    table = cast("dict[str, object]", table)
    yield from _unknown(table, _KEYS)
    name = table.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        yield ("name",), f"{name!r} is not a name: 1 to 64 letters, digits, '_', '-', '.'", None
    per = table.get("per")
    if not isinstance(per, str) or per not in tuple(Per):
        words = tuple(item.value for item in Per)
        yield ("per",), f"{per!r} is none of {', '.join(words)}", _nearest(per, words)
    for key in _MATCHERS:
        patterns = table.get(key, "*")
        if not all(isinstance(item, str) and 0 < len(item) <= 200 for item in _as_list(patterns)):
            yield (key,), f"{str(patterns)[:50]!r} is not a text or a list of texts", None
    if not {"concurrency", "rate", "spend"} & table.keys():
        yield (), "limits nothing: give it concurrency, rate or spend", None
    if "concurrency" in table and not _is_count(table["concurrency"], 100_000):
        yield ("concurrency",), f"{table['concurrency']!r} is not a number from 1 to 100000", None
    yield from _window_flaws(table, "rate", ("limit", "per_seconds"))
    yield from _window_flaws(table, "spend", ("limit", "per_seconds", "unit"))


def _window_flaws(table: dict[str, object], key: str, keys: tuple[str, ...]) -> Iterator[_Flaw]:
    if key not in table:
        return
    window = table[key]
    if not isinstance(window, dict):
        yield (key,), f"must be a table with {', '.join(keys)}", None
        return
    window = cast("dict[str, object]", window)
    for path, text, hint in _unknown(window, keys):
        yield (key, *path), text, hint
    for name, most in (("limit", _MAX_COUNT), ("per_seconds", _MAX_WINDOW_S)):
        if not _is_count(window.get(name), most):
            yield (key, name), f"{window.get(name)!r} is not a number from 1 to {most}", None
    if "unit" in keys and not (isinstance(unit := window.get("unit"), str) and _NAME.fullmatch(unit)):
        yield (key, "unit"), f"{window.get('unit')!r} is not the name of a unit such as 'usd_micros'", None


def _unknown(table: dict[str, object], keys: tuple[str, ...]) -> Iterator[_Flaw]:
    for key in table:
        if key not in keys:
            yield (key,), "unknown key", _nearest(key, keys)


def _nearest(word: object, options: tuple[str, ...]) -> str | None:
    import difflib  # here, because only mistakes need it

    return next(iter(difflib.get_close_matches(str(word)[:200], options, n=1)), None)


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
