"""What the commands of `interlock memory` share: whose memory it is, who keeps it, and how a record is shown."""

import inspect
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

if TYPE_CHECKING:
    from interlock import memory
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper, Words

CLASSES = Literal["episodic", "semantic", "procedural", "working"]
RecordId = Annotated[str, typer.Argument(metavar="RECORD", help="The record's id: mem_…")]

_TEXT = str | None
_OPTIONS: Final[dict[str, tuple[Any, Any]]] = {
    "user": (Annotated[_TEXT, typer.Option(metavar="NAME", help="Whose memory, within the tenant: a user's.")], None),
    "agent": (Annotated[_TEXT, typer.Option(metavar="NAME", help="And an agent's.")], None),
    "session": (Annotated[_TEXT, typer.Option(metavar="NAME", help="And a session's.")], None),
    "provider": (
        Annotated[_TEXT, typer.Option(metavar="NAME", help="Who keeps it: `interlock memory providers`.")],
        None,
    ),
    "setting": (
        Annotated[
            list[str] | None,
            typer.Option("--set", metavar="KEY=VALUE", help="What the provider is opened with: path=notes.db"),
        ],
        None,
    ),
    "seconds": (
        Annotated[float | None, typer.Option("--timeout", metavar="SECONDS", help="For each of its operations.")],
        None,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Whose memory, kept by whom: as on the command line, and where that says nothing, as in the settings."""

    user: str | None = None
    agent: str | None = None
    session: str | None = None
    provider: str | None = None
    setting: list[str] | None = None
    seconds: float | None = None

    def scope(self, desk: "Desk") -> "memory.Scope":
        """Raises InvalidInput."""
        from interlock import memory

        tenant = desk.settings().tenant
        return memory.Scope.of(tenant=tenant, user=self.user, agent=self.agent, session=self.session)

    def reference(self, desk: "Desk") -> "memory.ProviderRef":
        """The provider and its configuration. The configuration in the settings is for the
        provider in the settings. Raises Usage, InvalidSettings."""
        from interlock import app
        from interlock.cli import inputs
        from interlock.cli.errors import Usage

        if desk.options.store is not None:
            step = "`--set path=FILE` names the file of the provider sqlite."
            raise Usage("--store is the ledger's; memory is kept apart from it", next_step=step)
        settings = desk.settings()
        told = settings.memory
        said = {"provider": self.provider, "timeout": self.seconds}
        given = {name: value for name, value in said.items() if value is not None}
        same = self.provider in (None, told.provider)
        config = {**(told.config if same else {}), **inputs.parse_pairs(self.setting or (), {})}
        kept: dict[str, Any] = {name: getattr(settings, name) for name in type(settings).model_fields}
        kept["memory"] = {**told.model_dump(), **given, "config": config}
        return app.memory_reference(app.Settings(**kept))

    @asynccontextmanager
    async def open(self, desk: "Desk", *, makes: bool = False) -> "AsyncGenerator[memory.Memory]":
        """The memory. One that is not there is made only by what `makes` it. Raises MemoryFault, StoreNotKept."""
        from interlock import app, memory
        from interlock.cli import unblocking
        from interlock.cli.errors import StoreNotKept

        reference, scope = self.reference(desk), self.scope(desk)
        if makes and memory.ALIASES.get(reference.name, reference.name) == "memory":
            message = "the provider memory ends with its process: what this command keeps would be gone when it ends"
            raise StoreNotKept(message, next_step="Choose another one: `interlock memory providers`.")
        if not makes:
            _require_file(reference)
        seconds = reference.options.timeout or memory.DEFAULT_TIMEOUT

        def blocked() -> memory.MemoryFault:
            message = f"{reference.name} blocks its thread, and did not answer within {seconds:g} seconds"
            return memory.DeadlineExceeded(message, provider=reference.name)

        async with AsyncExitStack() as stack:
            transport: memory.Carry | None = None
            if app.names_endpoint(reference):  # whose requests go through the plane
                transport = (await stack.enter_async_context(desk.open_here())).memory.transport
            stack.enter_context(unblocking.watched(seconds, blocked))
            yield await stack.enter_async_context(memory.Memory.open(reference, scope=scope, transport=transport))


def _require_file(reference: "memory.ProviderRef") -> None:
    """Raises ProviderUnavailable if the provider keeps a file, and it is not there."""
    from interlock import memory

    path = reference.config.get("path")
    if reference.name == "sqlite" and isinstance(path, str) and path and not Path(path).expanduser().exists():
        raise memory.ProviderUnavailable(
            f"there is no memory yet: {path} is not there",
            provider=reference.name,
            next_step="`interlock memory remember` makes it; or name the file that you mean: `--set path=FILE`.",
        )


def at_a_place(function: Callable[..., "Awaitable[Answer | None]"]) -> Callable[..., "Awaitable[Answer | None]"]:
    """A command of the desk, a Place and its own parameters, which takes the options of the place."""
    desk, _, *own = inspect.signature(function).parameters.values()

    @wraps(function)
    async def placed(desk: "Desk", **given: Any) -> "Answer | None":
        place = Place(**{name: given.pop(name) for name in _OPTIONS})
        return await function(desk, place, **given)

    keyword = inspect.Parameter.KEYWORD_ONLY
    options = [
        inspect.Parameter(name, keyword, annotation=kind, default=default) for name, (kind, default) in _OPTIONS.items()
    ]
    told = inspect.Signature([desk, *(each.replace(kind=keyword) for each in own), *options])
    vars(placed)["__signature__"] = told
    return placed


def lines_of(record: "memory.Record") -> "list[tuple[str, Words | None]]":
    """A record in full, as names and values."""
    from interlock.cli.text import json_text, moment

    came = record.provenance
    return [
        ("text", record.text),
        ("content", json_text(record.content) if record.content not in ({}, None) else None),
        ("class", f"{record.memory_class}, kind {record.kind}"),
        ("tags", ", ".join(record.tags) or None),
        ("scope", scope_words(record.scope)),
        ("source", record.source),
        ("importance", f"{record.importance:g}"),
        ("revision", f"{record.revision}, recorded {moment(record.recorded_at)}"),
        ("observed", moment(record.observed_at)),
        ("valid from", moment(record.valid_from) or None),
        ("valid to", moment(record.valid_to) or None),
        ("expires", moment(record.expires_at) or None),
        ("replaced by", record.superseded_by),
        ("derived from", ", ".join(came.derived_from) or None),
        ("said in", came.source_turn),
        ("said as", came.span),
        ("key", record.idempotency_key),
        ("metadata", json_text(dict(record.metadata)) if record.metadata else None),
    ]


def scope_words(scope: "memory.Scope") -> str:
    """A scope on one line."""
    from interlock import memory

    parts = zip(memory.DIMENSIONS, scope.parts, strict=True)
    return ", ".join(f"{name} {part}" for name, part in parts if part is not None)


def gist(record: "memory.Record", limit: int = 100) -> str:
    """What a record says, on one line."""
    from interlock.cli.text import json_text, shorten

    text = record.text or ""
    return shorten(text if text.strip() else json_text(record.content), limit)


def nothing(paper: "Paper", scope: "memory.Scope", *, known: bool) -> None:
    """Say that there are no hits, and whether that is because of the scope."""
    if known:
        paper.line("Nothing matches.")
    else:
        paper.line(f"Nothing was ever kept for {scope_words(scope)}; is that how it is written?")


def known_ids(*record_ids: str | None) -> None:
    """Raises Usage for what can be no record's id."""
    from interlock.cli.errors import Usage

    for each in record_ids:
        if each is not None and re.fullmatch(r"mem_[0-9a-f]{32}", each) is None:
            step = "`interlock memory search` shows the ids of records."
            raise Usage(f"{each[:60]!a} is no record's id: mem_ and 32 hexadecimal digits", next_step=step)


def listed(hits: "Sequence[memory.Hit]") -> "list[tuple[Words, ...]]":
    """A list as a table."""
    from interlock.cli.text import moment

    records = [hit.record for hit in hits]
    return [
        (each.record_id, moment(each.observed_at), f"{each.memory_class}/{each.kind}", ", ".join(each.tags), gist(each))
        for each in records
    ]


def ranked(hits: "Sequence[memory.Hit]") -> "list[tuple[Words, ...]]":
    """Hits as a table: what was found, and why."""
    return [
        (
            str(hit.rank),
            "" if hit.score is None else f"{hit.score:.3f}",
            hit.record.record_id,
            gist(hit.record),
            reason(hit),
        )
        for hit in hits
    ]


def reason(hit: "memory.Hit") -> str:
    """Why a hit is one."""
    told = [f"{each.name} #{each.rank} ({each.score:.3g})" for each in hit.signals if each.name != "recency"]
    told += [f"recency #{each.rank}" for each in hit.signals if each.name == "recency"]
    if hit.matched_terms:
        told.append(f"words: {', '.join(hit.matched_terms)}")
    return "; ".join(told)
