"""`interlock memory`: what agents have seen, learned or been told. Here: keep, get and forget."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import carrying, memories, recalling, tidying
from interlock.cli.frame import command, group
from interlock.cli.memories import CLASSES, Place, RecordId, at_a_place

if TYPE_CHECKING:
    from datetime import datetime

    from interlock import memory
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper

_ABOUT = """Agents' memory: keep, find and forget.

It is in a file of its own, .interlock/memory.db, unless the settings (`[memory]`) or --provider and --set say otherwise. A
memory belongs to a tenant, and within it to a user, an agent, a session, as far as they are named: each command sees what is in
that scope and in narrower ones, and writes into exactly it.
"""


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    kept = group(tree, "memory", _ABOUT)
    command(kept, "remember")(at_a_place(remember))
    command(kept, "search")(at_a_place(recalling.search))
    command(kept, "get")(at_a_place(get))
    command(kept, "forget")(at_a_place(forget))
    command(kept, "history")(at_a_place(history))
    command(kept, "explain")(at_a_place(recalling.explain))
    command(kept, "consolidate")(at_a_place(tidying.consolidate))
    command(kept, "prune")(at_a_place(tidying.prune))
    command(kept, "export")(at_a_place(carrying.export))
    command(kept, "import")(at_a_place(carrying.import_))
    command(kept, "info")(at_a_place(tidying.info))
    command(kept, "providers")(tidying.providers)


Text = Annotated[str | None, typer.Argument(metavar="TEXT", help="What to keep; - or nothing reads stdin.")]
Class = Annotated[CLASSES, typer.Option("--class", metavar="NAME", help="episodic, semantic, procedural or working.")]
Moment = Annotated[str | None, typer.Option(metavar="TIME", help="Then: 2h (ago), a day, or a moment.")]

Kind = Annotated[str, typer.Option(metavar="WORD", help="A word of your own: fact, preference.")]
Tags = Annotated[list[str] | None, typer.Option(metavar="WORD", help="A tag; may be repeated.")]
Source = Annotated[str | None, typer.Option(metavar="NAME", help="Where it comes from.")]
Importance = Annotated[float, typer.Option(metavar="SHARE", help="From 0 to 1.")]
Content = Annotated[str | None, typer.Option(metavar="JSON", help="JSON beside the text, or instead of it.")]
Meta = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Metadata; KEY:=JSON is JSON.")]
Expires = Annotated[str | None, typer.Option(metavar="TIME", help="Not seen from then on: 30d (from now), a day.")]
ValidTo = Annotated[str | None, typer.Option(metavar="TIME", help="Until when it is so: 30d (from now), a day.")]
Revised = Annotated[str | None, typer.Option(metavar="RECORD", help="Make this its next revision.")]
IfRevision = Annotated[int | None, typer.Option(metavar="N", help="Only if it is at this revision now.")]
Supersedes = Annotated[str | None, typer.Option(metavar="RECORD", help="What is no longer so because of it.")]
Key = Annotated[str | None, typer.Option(metavar="KEY", help="However often it is sent, one record.")]
Turn = Annotated[str | None, typer.Option(metavar="NAME", help="The turn that said it.")]
Sources = Annotated[list[str] | None, typer.Option(metavar="RECORD", help="Made of this record.")]


async def remember(
    desk: "Desk",
    place: Place,
    *,
    text: Text = None,
    memory_class: Class = "episodic",
    kind: Kind = "event",
    tag: Tags = None,
    source: Source = None,
    importance: Importance = 0.5,
    content: Content = None,
    meta: Meta = None,
    expires: Expires = None,
    observed: Moment = None,
    valid_from: Moment = None,
    valid_to: ValidTo = None,
    record: Revised = None,
    if_revision: IfRevision = None,
    supersedes: Supersedes = None,
    key: Key = None,
    turn: Turn = None,
    derived_from: Sources = None,
) -> "Answer":
    """Keep something.

    What is semantic or procedural is one record however often it is said; what is episodic or working is each time its own.
    From stdin, the line end at the end is no part of it.

    Example:
      interlock memory remember "Ana prefers short answers" --user ana --class semantic --kind preference
    """
    from interlock import memory
    from interlock.cli import inputs
    from interlock.cli.desk import Answer

    memories.known_ids(record, supersedes, *(derived_from or ()))
    fields: dict[str, Any] = {
        "text": _text(text, needed=content is None),
        "memory_class": memory_class,
        "kind": kind,
        "tags": tuple(tag or ()),
        "source": source,
        "importance": importance,
        "metadata": inputs.parse_pairs(meta or (), {}),
        "record_id": record,
        "if_revision": if_revision,
        "supersedes": supersedes,
        "idempotency_key": key,
        "provenance": {"source_turn": turn, "derived_from": tuple(derived_from or ())},
        **_times(expires, observed, valid_from, valid_to),
    }
    draft = memory.Draft.of(**fields, **_content(content))
    async with place.open(desk, makes=True) as mem:
        kept = await mem.remember(draft)

    return Answer(document={"record": kept.to_json()}, show=lambda paper: _show_kept(paper, kept))


async def get(desk: "Desk", place: Place, record_id: RecordId) -> "Answer":
    """Show a record, whole.

    Example:
      interlock memory get mem_01890a5d…
    """
    from interlock.cli.desk import Answer

    memories.known_ids(record_id)
    async with place.open(desk) as mem:
        found = await mem.get(record_id)

    def show(paper: "Paper") -> None:
        paper.line(found.record_id)
        paper.fields(memories.lines_of(found))

    return Answer(document={"record": found.to_json()}, show=show)


async def forget(
    desk: "Desk",
    place: Place,
    record_ids: Annotated[list[str], typer.Argument(metavar="RECORD…", help="The ids of the records.")],
) -> "Answer":
    """Remove records for good, with their revisions and all that was derived from them.

    Afterwards the storage is searched for each of them: traces is what was found. What they had taken the place of is so again.
    One that is not there is no error.

    Example:
      interlock memory forget mem_01890a5d…
    """
    from interlock.cli.desk import Answer

    memories.known_ids(*record_ids)
    async with place.open(desk) as mem:
        gone = [(record_id, await mem.forget(record_id)) for record_id in dict.fromkeys(record_ids)]

    def show(paper: "Paper") -> None:
        for record_id, told in gone:
            _show_forgotten(paper, record_id, told)

    return Answer(
        document={"forgotten": [{"asked": each, "existed": told.existed, **told.to_json()} for each, told in gone]},
        show=show,
    )


async def history(desk: "Desk", place: Place, record_id: RecordId) -> "Answer":
    """Show every revision of a record, oldest first.

    Of one that was forgotten there is only when, and the digest of what it said.

    Example:
      interlock memory history mem_01890a5d…
    """
    from interlock.cli.desk import Answer
    from interlock.cli.text import moment

    memories.known_ids(record_id)
    async with place.open(desk) as mem:
        entries = await mem.history(record_id)

    def show(paper: "Paper") -> None:
        rows = [
            (
                str(each.revision),
                each.change.value,
                moment(each.at),
                "" if each.record is None else moment(each.record.superseded_at),
                each.digest[:19] if each.record is None else memories.gist(each.record),
            )
            for each in entries
        ]
        paper.table(("revision", "change", "at", "until", "said"), rows)

    return Answer(document={"record_id": record_id, "history": [each.to_json() for each in entries]}, show=show)


def _content(given: str | None) -> dict[str, Any]:
    """Raises InvalidJson."""
    from interlock.kernel import parse_json

    return {} if given is None else {"content": parse_json(given, what="--content", unique=True)}


def _times(
    expires: str | None, observed: str | None, valid_from: str | None, valid_to: str | None
) -> "dict[str, datetime | None]":
    """Raises Usage."""
    return {
        "expires_at": recalling.moment_of(expires, "--expires", ahead=True),
        "observed_at": recalling.moment_of(observed, "--observed"),
        "valid_from": recalling.moment_of(valid_from, "--valid-from"),
        "valid_to": recalling.moment_of(valid_to, "--valid-to", ahead=True),
    }


def _text(given: str | None, *, needed: bool) -> str | None:
    """What to keep. Raises Usage, FileRefused."""
    from interlock import memory
    from interlock.cli import files
    from interlock.cli.errors import Usage

    if given not in (None, "-"):
        return given
    if given is None and (not needed or sys.stdin.isatty()):
        if needed:
            raise Usage("there is nothing to remember: no text, no --content, and nothing on stdin")
        return None
    read = files.read("-", "text", limit=memory.MAX_TEXT)
    try:
        return read.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        message = f"the text on stdin is not UTF-8: byte {read[error.start]:#04x} at {error.start}"
        raise Usage(message, next_step="Write it in UTF-8.") from error


def _show_kept(paper: "Paper", kept: "memory.Record") -> None:
    paper.line(kept.record_id, f"revision {kept.revision}, {memories.scope_words(kept.scope)}")
    paper.line(f"  {memories.gist(kept)}")


def _show_forgotten(paper: "Paper", record_id: str, told: "memory.Forgotten") -> None:
    if not told.existed:
        paper.line(f"{record_id} is not there: nothing was forgotten.")
        return
    paper.line(f"Forgot {record_id}: {told.revisions} revisions, {told.traces} traces left.")
    for name, ids in (("derived", told.derived_ids), ("so again", told.restored_ids)):
        if ids:
            paper.fields([(name, ", ".join(ids))])
