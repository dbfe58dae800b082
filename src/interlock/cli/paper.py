"""What commands print on: tables and colours for a terminal, plain lines for everything else."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TextIO, TypeAlias

from interlock.cli import streams
from interlock.cli.text import clean, json_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


class Ink(NamedTuple):
    """Text in a colour. `style` is good, bad, warn, faint, strong or code."""

    text: str
    style: str


Words: TypeAlias = str | Ink

_STYLES = {
    "good": "green", "bad": "bold red", "warn": "yellow", "faint": "dim", "strong": "bold", "code": "cyan", "doubt": "magenta",
}  # fmt: skip
_STATES = {
    "completed": ("✔", "good"), "connected": ("✔", "good"), "approved": ("✔", "good"), "spent": ("✔", "good"),
    "responded": ("✔", "good"), "ok": ("✔", "good"), "allow": ("✔", "good"), "verified": ("✔", "good"),
    "full": ("✔", "good"), "partial": ("!", "warn"), "missing": ("–", "faint"), "refused": ("✘", "bad"),
    "delivered": ("✔", "good"), "disabled": ("✘", "bad"),
    "passed": ("✔", "good"), "skipped": ("–", "faint"),
    "failed": ("✘", "bad"), "fail": ("✘", "bad"), "denied": ("✘", "bad"), "deny": ("✘", "bad"), "dead": ("✘", "bad"),
    "revoked": ("✘", "bad"), "altered": ("✘", "bad"), "malformed": ("✘", "bad"), "wrong_signer": ("✘", "bad"),
    "held": ("◼", "warn"), "ask": ("◼", "warn"), "pending": ("◼", "warn"), "shed": ("↯", "warn"), "warn": ("!", "warn"),
    "waiting": ("?", "doubt"), "unknown": ("?", "doubt"), "intact_signer_unknown": ("?", "doubt"),
    "active": ("●", "good"), "failing": ("!", "warn"), "paused": ("–", "faint"), "done": ("–", "faint"),
    "cancelled": ("–", "faint"), "expired": ("–", "faint"), "not_sent": ("–", "faint"), "lost": ("–", "faint"),
    "running": ("▶", "code"), "accepted": ("▶", "code"),
}  # fmt: skip
"""A symbol and a colour for the states of runs, attempts, sends, approvals, connections, checks and verdicts."""


class Paper:
    """Prints. Everything is cleaned of control characters first. On a terminal rich does the work (it is imported only
    then); elsewhere a row is a line, whatever its length, so that `grep` and `cut` find what they look for."""

    def __init__(self, out: TextIO | None = None, *, plain: bool = False) -> None:
        self._out = out or streams.answers()
        self.plain = plain or not self._out.isatty() or os.environ.get("TERM") == "dumb"

    def line(self, *parts: Words) -> None:
        """Parts on one line, separated by blanks."""
        if self.plain:
            self._out.write(" ".join(_text(part) for part in parts) + "\n")
            return
        from rich.text import Text

        self.console().print(Text(" ").join(_rich(part) for part in parts), soft_wrap=True)

    def heading(self, title: str) -> None:
        """A title with an empty line above it."""
        self.line("")
        self.line(Ink(title, "strong"))

    def fields(self, pairs: Sequence[tuple[str, Words | None]]) -> None:
        """Names and values in two columns; what is None is left out."""
        shown = [(name, value) for name, value in pairs if value is not None]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            self.line(Ink(f"  {name.ljust(width)}", "faint"), value)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Words]]) -> None:
        """Rows under a line of headings; `fields` of one row each are read better as such. On a terminal columns of texts give
        way, and where that is not enough, each row is as many lines as it has columns."""
        if self.plain:
            self._plain_table(columns, rows)
            return
        console = self.console()
        contents = [[_text(cell) for cell in cells] for cells in zip(columns, *rows, strict=True)]
        least = [_least(cells) for cells in contents]
        if sum(least) + 2 * len(least) > console.width:
            self._blocks(columns, rows)
            return
        from rich.table import Table

        drawn = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for column, cells, width in zip(columns, contents, least, strict=True):
            drawn.add_column(column, overflow="fold", no_wrap=not _is_text(cells), min_width=width)
        for row in rows:
            drawn.add_row(*(_rich(cell) for cell in row))
        console.print(drawn)

    def data(self, value: object) -> None:
        """A JSON value for people to read."""
        for part in json_text(value).split("\n"):
            self.line(f"  {part}")

    def state(self, name: str) -> Words:
        """A state's name in its colour, with its symbol on a terminal."""
        symbol, style = _STATES.get(name, ("•", "faint"))
        return Ink(name if self.plain else f"{symbol} {name}", style)

    def _blocks(self, columns: Sequence[str], rows: Sequence[Sequence[Words]]) -> None:
        for row in rows:
            self.line(row[0])
            self.fields(
                [(name, cell if _text(cell) else None) for name, cell in zip(columns[1:], row[1:], strict=True)]
            )

    def _plain_table(self, columns: Sequence[str], rows: Sequence[Sequence[Words]]) -> None:
        cells = [[column.upper() for column in columns], *([_text(cell) for cell in row] for row in rows)]
        widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
        for row in cells:
            padded = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self._out.write(padded.rstrip() + "\n")

    def console(self) -> "Console":
        """What draws on a terminal. Under NO_COLOR that is without bold and dim, too: people set it for plain text."""
        from rich.console import Console

        colours = None if os.environ.get("NO_COLOR") else "auto"
        return Console(file=self._out, color_system=colours, highlight=False, markup=False, emoji=False)


_LEAST = 24
"""Characters in which a text can be read."""


def _least(cells: Sequence[str]) -> int:
    """How wide a column has to be: a name or an id that is broken over lines cannot be copied."""
    width = max(len(each) for each in cells)
    return min(width, _LEAST) if _is_text(cells) else width


def _is_text(cells: Sequence[str]) -> bool:
    return any(" " in each for each in cells)


def _text(words: Words) -> str:
    return clean(words if isinstance(words, str) else words.text)


def _rich(words: Words) -> "Text":
    from rich.text import Text

    return Text(_text(words), style="" if isinstance(words, str) else _STYLES[words.style])
