"""`interlock review verify` of archives: all their packets, and the chain over them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from interlock import runs
    from interlock.cli.desk import Answer
    from interlock.cli.paper import Paper

_ENDING: Final = ".jsonl.gz"
_GZIP: Final = b"\x1f\x8b"


def find(name: str) -> Sequence[Path] | None:
    """The archives that a name stands for; None if it is a packet's. Raises FileRefused for a folder without any."""
    from interlock.cli import files
    from interlock.cli.errors import FileRefused

    path = Path(name)
    if path.is_dir():
        found = sorted(path.rglob(f"*{_ENDING}"))
        if not found:
            raise FileRefused(f"{name} has no archives: files that end with {_ENDING}")
        return found
    if name == "-" or not path.is_file():
        return None
    with files.opened(name, "packet") as file:
        return [path] if file.read(len(_GZIP)) == _GZIP else None


def verify(archives: Sequence[Path], trust: "runs.Trust | None", *, shows: bool) -> "Answer":
    """What there is to say of them all. Raises FileRefused."""
    from interlock import runs
    from interlock.cli import files
    from interlock.cli.complaint import DONE, NOT_VERIFIED
    from interlock.cli.desk import Answer

    shows = shows and sys.stderr.isatty()
    done = 0

    def tell(packets: int) -> None:
        if shows and packets % 100 == 0:
            sys.stderr.write(f"\r{done + packets} packets …")
            sys.stderr.flush()

    judged: list[tuple[str, runs.verify_archive.ArchiveVerdict]] = []
    for path in archives:
        verdict = runs.verify_archive.verify_archive(files.read(str(path), "archive"), trust=trust, told=tell)
        judged.append((str(path), verdict))
        done += verdict.packets
    if shows:
        sys.stderr.write("\r")
    between = runs.verify_archive.gaps(judged)
    ok = not between and all(each.ok for _, each in judged)

    def show(paper: "Paper") -> None:
        for name, each in judged:
            _show(paper, name, each)
        for problem in between:
            paper.line(paper.state("altered"), problem.where, problem.what)
        unproven = sum(each.unproven for _, each in judged)
        paper.fields([("archives", str(len(judged))), ("packets", str(done)), ("not proven", str(unproven))])

    document = {
        "ok": ok,
        "packets": done,
        "archives": [{"file": name, **each.to_json()} for name, each in judged],
        "problems": [each._asdict() for each in between],
    }
    return Answer(document=document, show=show, exit_code=DONE if ok else NOT_VERIFIED)


def _show(paper: "Paper", name: str, verdict: "runs.verify_archive.ArchiveVerdict") -> None:
    paper.line(paper.state(verdict.status.value), name, _count(verdict.packets))
    for problem in verdict.problems:
        paper.line("  ", problem.where, problem.what)
    for each in verdict.failed:
        first = next(iter(each.verdict.problems), None)
        why = each.verdict.status.value if first is None else f"{first.where}: {first.what}"
        paper.line("  ", f"packet {each.number}", each.verdict.run_id or "", why)
    if verdict.amiss > len(verdict.failed):
        paper.line("  ", f"and {verdict.amiss - len(verdict.failed)} more")


def _count(packets: int) -> str:
    return "1 packet" if packets == 1 else f"{packets} packets"
