"""`interlock memory export` and `import`: a memory as a file, and back."""

import logging
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from interlock.cli import aside, files, memories, streams
from interlock.cli.memories import Place

if TYPE_CHECKING:
    from interlock import memory
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper

_PIECE = 65_536
_TOLD = 10
"""Lines that are told to people one by one."""

_OFTEN = 1_000
"""Lines between two words of how far it has come."""


async def export(
    desk: "Desk",
    place: Place,
    *,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to; - is stdout.")] = "-",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> "Answer | None":
    """Write all that a scope has as lines of JSON, for `interlock memory import`.

    Every revision of every record, with its id and its times; of a provider that hands out less, what it shows, and what is
    lost is told. What was forgotten or has expired is not in it. The file is there once it is whole.

    Example:
      interlock memory export --user ana -o ana.jsonl
    """
    from interlock.cli.desk import Answer
    from interlock.cli.errors import Usage

    if output == "-" and desk.options.as_json:
        raise Usage("--json says what was done, and needs stdout for it: name a file with --output FILE")
    async with place.open(desk) as mem:
        if output == "-":
            writer = aside.Writer(streams.answers())
            try:
                await _write(mem, writer)
            finally:
                writer.close()
            return None
        with files.whole(output, "export", force=force) as file:
            head, end = await _write(mem, file)
    document = {"file": output, "head": head.to_json(), "records": end.records, "revisions": end.revisions}

    def show(paper: "Paper") -> None:
        paper.line(
            f"{end.records} records with {end.revisions} revisions of {memories.scope_words(head.scope)}: {output}"
        )
        _show_lost(paper, head.lost)

    return Answer(document=document, show=show)


async def import_(
    desk: "Desk",
    place: Place,
    source: Annotated[str, typer.Argument(metavar="FILE", help="What `interlock memory export` wrote; - is stdin.")],
    *,
    rejected: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the lines that were not taken there, to be corrected.")
    ] = None,
) -> "Answer":
    """Take over what an export holds: only what belongs to this scope.

    A line that cannot be taken is told by its number, and holds up no other; the exit code is then 1. Done again, it changes
    nothing, so what was interrupted or corrected is simply imported once more. What was forgotten here stays so.

    Example:
      interlock memory import ana.jsonl --user ana
    """
    from interlock import memory

    with _sorted_out(rejected) as sorting:
        async with place.open(desk, makes=True) as mem:
            desk.leaves = "What was taken stays. Import it again: it goes on where it was, and nothing is there twice."
            taken = memory.Import(mem, on_rejected=sorting.wrong)
            await _take(taken, source, sorting)
    return _answer(taken, source, rejected if sorting.written else None)


async def _write(mem: "memory.Memory", file: "aside.Writer | BinaryIO") -> "tuple[memory.ExportHead, memory.ExportEnd]":
    from interlock import memory
    from interlock.kernel import PROGRESS

    head = end = None
    number = 0
    async with aclosing(memory.exported(mem)) as values:
        async for value in values:
            number += 1
            if number % _OFTEN == 0:
                logging.getLogger(PROGRESS).info("%s revisions are written", number)
            head = value if isinstance(value, memory.ExportHead) else head
            end = value if isinstance(value, memory.ExportEnd) else end
            line = memory.line_of(value)
            if isinstance(file, aside.Writer):
                await file.write(line)
            else:
                file.write(line)
    assert head is not None
    assert end is not None
    return head, end


class _Sorting:
    """Holds lines until it is known what became of them, and writes those that were not taken, behind the first line, so that
    they are an export again."""

    def __init__(self, file: BinaryIO | None) -> None:
        self._file = file
        self._first = b""
        self._held: dict[int, bytes] = {}
        self._wrong: set[int] = set()
        self.written = 0

    def hold(self, number: int, line: bytes) -> None:
        """One more."""
        if self._file is not None:
            self._first = self._first or line
            self._held[number] = line

    def wrong(self, number: int, why: str) -> None:
        """It was not taken."""
        del why
        self._wrong.add(number)

    def sort(self) -> None:
        """Of all that are held it is known."""
        for number in sorted(self._wrong & self._held.keys()):
            assert self._file is not None
            if not self.written:
                self._file.write(self._first)
            self._file.write(self._held[number])
            self.written += 1
        self._held.clear()
        self._wrong.clear()


@contextmanager
def _sorted_out(name: str | None) -> Generator[_Sorting]:
    """Into a file that is there in the end if anything is in it. Raises FileRefused."""
    if name is None:
        yield _Sorting(None)
        return
    with files.new(name, "lines that were not taken") as file:
        sorting = _Sorting(file)
        try:
            yield sorting
        finally:
            if not sorting.written:
                Path(name).unlink(missing_ok=True)


async def _take(taken: "memory.Import", source: str, sorting: _Sorting) -> None:
    """Feed it every line."""
    from interlock.kernel import PROGRESS

    async with aclosing(_lines(source)) as lines:
        async for number, line, why in lines:
            if number % _OFTEN == 0:
                logging.getLogger(PROGRESS).info("%s lines are read", number)
            if why is None:
                sorting.hold(number, line)
                await taken.feed(number, line)
            else:
                taken.refuse(number, why)
            if not taken.waits:
                sorting.sort()
    await taken.finish()
    sorting.sort()


async def _lines(source: str) -> AsyncGenerator[tuple[int, bytes, str | None]]:
    """The lines by number, from 1; for one that is too long its beginning, and why it is not read."""
    from interlock import memory

    number, held, over = 1, bytearray(), False
    async with aclosing(_pieces(source)) as pieces:
        async for piece in pieces:
            for part in _split(piece):
                if len(held) + len(part) > memory.MAX_LINE:
                    over = True
                    held = held or bytearray(part[:_PIECE])
                else:
                    held += part
                if part.endswith(b"\n"):
                    yield (
                        number,
                        bytes(held),
                        f"has more than {memory.MAX_LINE} bytes, which no record has" if over else None,
                    )
                    number, held, over = number + 1, bytearray(), False
    if held:
        yield number, bytes(held), f"has more than {memory.MAX_LINE} bytes, which no record has" if over else None


def _split(piece: bytes) -> Iterator[bytes]:
    """A line ends with its line feed alone."""
    first, *others = piece.split(b"\n")
    for following in others:
        yield first + b"\n"
        first = following
    if first:
        yield first


async def _pieces(source: str) -> AsyncGenerator[bytes]:
    """Raises FileRefused."""
    if source == "-":
        async with aclosing(aside.stdin_pieces()) as pieces:
            async for piece in pieces:
                yield piece
        return
    with files.opened(source, "export") as file:
        while piece := file.read(_PIECE):
            yield piece


def _answer(taken: "memory.Import", source: str, rejected: str | None) -> "Answer":
    from interlock.cli.desk import Answer
    from interlock.cli.errors import ImportIncomplete

    error = None
    if taken.rejected or taken.end is None:
        said = [f"{taken.rejected} lines were not taken"] if taken.rejected else []
        said += ["its last line is missing, so it may not be whole"] if taken.end is None else []
        error = ImportIncomplete(f"of {source} not all was taken: {'; '.join(said)}")
    document = {
        "accepted": taken.accepted,
        "duplicates": taken.duplicates,
        "rejected": taken.rejected,
        "problems": [{"line": number, "problem": why} for number, why in taken.problems],
        "whole": taken.end is not None,
        "lost": list(taken.lost),
        "rejected_file": rejected,
        **({} if error is None else {"error": error.to_json()}),
    }

    def show(paper: "Paper") -> None:
        paper.line(
            f"{taken.accepted} revisions taken, {taken.duplicates} were here already, {taken.rejected} not taken."
        )
        for number, why in taken.problems[:_TOLD]:
            paper.line(f"  line {number}: {why}")
        if taken.rejected > _TOLD:
            paper.line(f"  and {taken.rejected - min(_TOLD, len(taken.problems))} more; --json tells the first 100")
        if rejected is not None:
            paper.line(f"  the lines are in {rejected}")
        _show_lost(paper, taken.lost)

    return Answer(document=document, show=show, exit_code=0 if error is None else 1, error=error)


def _show_lost(paper: "Paper", lost: Iterable[str]) -> None:
    for each in lost:
        paper.line(f"  not kept: {each}")
