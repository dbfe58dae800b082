"""Plain lines for pipes, and rich's for terminals."""

import io
import re

import pytest

from interlock.cli.paper import Ink, Paper


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(*, terminal: bool = False) -> str:
    out = Terminal() if terminal else io.StringIO()
    paper = Paper(out)
    paper.line("a", Ink("b\x1b[31m", "bad"))
    paper.table(("name", "state"), [("x" * 200, paper.state("completed")), ("[bold]y", paper.state("strange"))])
    paper.fields([("one", "1"), ("none", None), ("three", Ink("3", "code"))])
    paper.heading("Title")
    paper.data({"a": ["b"]})
    return out.getvalue()


def test_a_pipe_gets_a_line_per_row():
    assert printed().splitlines() == [
        "a b\\x1b[31m",
        "NAME" + " " * 198 + "STATE",
        "x" * 200 + "  completed",
        "[bold]y" + " " * 195 + "strange",
        "  one   1",
        "  three 3",
        "",
        "Title",
        "  {",
        '    "a": [',
        '      "b"',
        "    ]",
        "  }",
    ]


def test_a_terminal_gets_colours_and_the_same_words(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    shown = printed(terminal=True)
    assert "\x1b[" in shown
    words = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert "a b\\x1b[31m" in words
    assert "✔ completed" in words
    assert "[bold]y" in words
    assert "x" * 200 in words  # a name stays whole


ROWS = [("run_" + "0" * 32, Ink("held", "warn"), "github.issue.create", "because of a rule that asks a person")]


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (
            100,
            [
                "run                                   state  capability           reason",
                f"run_{'0' * 32}  held   github.issue.create  because of a rule that asks a",
                "                                                                  person",
            ],
        ),
        (
            60,
            [
                f"run_{'0' * 32}",
                "  state      held",
                "  capability github.issue.create",
                "  reason     because of a rule that asks a person",
            ],
        ),
    ],
)
def test_no_id_is_broken_over_lines(monkeypatch: pytest.MonkeyPatch, columns: int, shown: list[str]):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(columns))
    out = Terminal()
    Paper(out).table(("run", "state", "capability", "reason"), ROWS)
    words = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert [line.rstrip() for line in words.splitlines()] == shown


def test_who_wants_no_colour_gets_plain_text(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    shown = printed(terminal=True)
    assert "\x1b" not in shown
    assert "✔ completed" in shown


@pytest.mark.parametrize("name", ["dumb"])
def test_a_terminal_that_can_nothing_gets_plain_lines(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv("TERM", name)
    assert printed(terminal=True) == printed()
