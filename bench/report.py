"""Rows, as one table and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.targets import TARGETS, Target
from bench.timing import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One comparison. `values` are ratios, round by round (microseconds where the target is `under`); no `key` means that
    the row informs and has no target."""

    what: str
    measured: Trial
    values: Sequence[float]
    baseline: str = ""
    against: Trial | None = None
    key: str | None = None
    part: str = ""
    """Rows that follow each other and have one are a table of their own, under it."""

    @property
    def value(self) -> float:
        """The result: the median over the rounds."""
        return median(self.values)

    @property
    def target(self) -> Target | None:
        """What it should be."""
        return None if self.key is None else TARGETS[self.key]

    @property
    def met(self) -> bool | None:
        """Whether it is. None: there is no target."""
        return None if self.target is None else self.target.met(self.value)


def compare(
    what: str, measured: Trial, baseline: str, against: Trial, *, key: str | None = None, in_time: bool = False
) -> Row:
    """A row of rates, or of times where that is asked for or the target speaks of times."""
    in_time = in_time or (key is not None and TARGETS[key].sense == "most")
    values = measured.times_to(against) if in_time else measured.rates_to(against)
    return Row(what=what, measured=measured, values=values, baseline=baseline, against=against, key=key)


def show(rows: Sequence[Row], facts: Mapping[str, object], *, console: Console | None = None) -> None:
    """Print the table, the corrections, and what is not met."""
    console = console or Console(width=170)
    console.print("  ".join(f"{name} {value}" for name, value in facts.items()), highlight=False)
    for part, its in groupby(rows, key=lambda row: row.part):
        console.print(_table(part, list(its)))
    for reason in dict.fromkeys(
        row.target.corrected for row in rows if row.target is not None and row.target.corrected
    ):
        told = ", ".join(
            row.key or row.what for row in rows if row.target is not None and row.target.corrected == reason
        )
        console.print(f"corrected: {told}: {reason}", highlight=False)
    missed = [row for row in rows if row.met is False]
    for row in missed:
        console.print(f"NOT MET: {row.what}: {row.value:.2f}, target {row.target}", style="bold red", highlight=False)
    judged = sum(row.met is not None for row in rows)
    console.print(f"{judged - len(missed)} of {judged} targets met", highlight=False)


def _table(part: str, rows: Sequence[Row]) -> Table:
    table = Table(
        title=part or None, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="bold"
    )
    table.add_column("what", no_wrap=True)
    table.add_column("baseline", no_wrap=True)
    for name in ("base/s", "ours/s", "p50 ms", "p99 ms", "ratio", "rounds", "target"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> tuple[str, ...]:
    trial, against = row.measured, row.against
    marks = {True: "[green]met[/]", False: "[bold red]NOT MET[/]", None: ""}
    return (
        row.what,
        row.baseline,
        "" if against is None else f"{against.rate:,.0f}" if against.rate >= 100 else f"{against.rate:.1f}",
        f"{trial.rate:,.0f}" if trial.rate >= 100 else f"{trial.rate:.1f}",
        f"{trial.quantile(0.5) * 1000:.2f}",
        f"{trial.quantile(0.99) * 1000:.2f}",
        f"{row.value:.2f}",
        f"{min(row.values):.2f}–{max(row.values):.2f}",
        "" if row.target is None else str(row.target),
        marks[row.met],
    )


def to_json(rows: Sequence[Row], facts: Mapping[str, object]) -> dict[str, object]:
    """All of it as data."""
    return {"machine": dict(facts), "rows": [_row_json(row) for row in rows]}


def _row_json(row: Row) -> dict[str, object]:
    trials = {"measured": row.measured} | ({} if row.against is None else {"baseline": row.against})
    return {
        "key": row.key,
        "part": row.part or None,
        "what": row.what,
        "baseline_is": row.baseline,
        "value": row.value,
        "rounds": list(row.values),
        "target": None if row.target is None else str(row.target),
        "corrected": None if row.target is None else row.target.corrected,
        "was": None if row.target is None else row.target.was,
        "met": row.met,
        **{
            name: {"per_second": trial.rate, "p50_s": trial.quantile(0.5), "p99_s": trial.quantile(0.99)}
            for name, trial in trials.items()
        },
    }
