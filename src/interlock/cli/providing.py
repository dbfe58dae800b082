"""`interlock providers`: services from catalogues of others, and from files of our own."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from interlock.cli.frame import command, group

if TYPE_CHECKING:
    from interlock import catalog
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper

_SHOWN = 20


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    providers = group(tree, "providers", "Services that are described by how they are connected and asked.")
    command(providers, "import")(import_catalogue)
    command(providers, "list")(list_providers)
    command(providers, "show")(show)
    command(providers, "remove")(remove)


async def import_catalogue(
    desk: "Desk",
    *,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The catalogue: YAML or JSON; - is stdin.")],
    form: Annotated[
        Literal["interlock", "nango", "grant"],
        typer.Option("--format", metavar="FORMAT", help="What the file is: interlock, nango or grant."),
    ] = "interlock",
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this entry.")] = None,
    replace: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="This entry may change where its connections' credentials go."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would become of it, and keep nothing.")] = False,
) -> "Answer":
    """Import a provider, or your own copy of a catalogue.

    Every entry is told to be full, partial (it can be connected, and something that the entry says is left out) or refused. The
    formats are our own (interlock.provider/v1, one provider a file), that of Nango's providers.yaml, and that of grant's
    oauth.json. What had a name before is replaced, but not where credentials of connections go: that takes --replace NAME.

    Example:
      interlock providers import providers.yaml --format nango --dry-run
    """
    from pathlib import Path

    from interlock import catalog
    from interlock.cli import files
    from interlock.cli.desk import Answer

    content = files.read(file, "catalogue", limit=catalog.MAX_BYTES)
    source = "stdin" if file == "-" else Path(file).name
    if dry_run:
        found = catalog.read_catalogue(content, form=form, source=source)
        found = found.only(only) if only else found
    else:
        async with desk.open_here() as il:
            found = await il.providers.import_catalogue(
                content, form=form, called=source, only=only or (), replace=replace or ()
            )
    document = {
        "format": found.format,
        "source": found.source,
        "digest": found.digest,
        "kept": not dry_run,
        "totals": {coverage.value: count for coverage, count in found.totals.items()},
        "causes": [each.to_json() for each in found.causes],
        "entries": [each.to_json() for each in found.entries],
    }
    return Answer(document=document, show=lambda paper: _report(paper, found, kept=not dry_run))


async def list_providers(
    desk: "Desk",
    cursor: Annotated[str | None, typer.Option(metavar="NAME", help="Go on after this provider.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 100,
) -> "Answer":
    """List the providers that were imported.

    Example:
      interlock providers list
    """
    from interlock.cli.desk import Answer
    from interlock.kernel import page

    async with desk.open() as il:
        found = await il.providers.list(cursor=cursor, limit=limit)

    def show_page(paper: "Paper") -> None:
        if not found:
            paper.line("No providers yet: `interlock providers import FILE` imports some.")
            return
        rows = [
            (each.provider_id, each.provider.display_name, ", ".join(p.grant.type for p in each.provider.auth),
             paper.state(each.coverage.value), each.source)
            for each in found
        ]  # fmt: skip
        paper.table(("provider", "name", "way", "coverage", "from"), rows)

    return Answer(
        document=page("providers", [each.record() for each in found], limit=limit, key="provider_id"), show=show_page
    )


async def show(
    desk: "Desk", provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="The provider's name.")]
) -> "Answer":
    """Show one provider: how it is connected, how it is asked, and what its entry said besides.

    Example:
      interlock providers show acme
    """
    from interlock import sdk
    from interlock.cli.browsing import show_profiles
    from interlock.cli.desk import Answer
    from interlock.cli.paper import Ink
    from interlock.cli.text import moment

    async with desk.open() as il:
        found = await il.providers.fetch(provider)

    def draw(paper: "Paper") -> None:
        facts = found.provider
        paper.line(paper.state(found.coverage.value), Ink(facts.display_name, "strong"), Ink(facts.digest, "faint"))
        paper.fields(
            [
                ("documentation", facts.docs_url),
                ("categories", ", ".join(facts.categories) or None),
                ("headers", ", ".join(facts.headers) or None),
                ("lists go on by", None if facts.paging is None else facts.paging.style),
                ("host", "said by whoever connects" if found.open_host else None),
                (
                    "from",
                    f"{found.entry_id} in {found.source} ({found.format}), {moment(found.imported_at)} by {found.imported_by}",
                ),
            ]
        )
        show_profiles(paper, f"{sdk.PROVIDER_PREFIX}{found.provider_id}", facts.auth)
        if found.missing:
            paper.heading("Left out")
            for each in found.missing:
                paper.line(" ", each)

    return Answer(document={**found.record(), "provider": found.provider.to_json()}, show=draw)


async def remove(
    desk: "Desk", provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="The provider's name.")]
) -> "Answer":
    """Remove a provider that no connection uses any more.

    Example:
      interlock providers remove acme
    """
    from interlock.cli.desk import Answer

    async with desk.open_here() as il:
        found = await il.providers.remove(provider)
    return Answer(document=found.record(), show=lambda paper: paper.line(f"{provider} is removed."))


def _report(paper: "Paper", found: "catalog.Imported", *, kept: bool) -> None:
    from interlock import catalog

    for coverage, about in (
        (catalog.Coverage.PARTIAL, "In part"),
        (catalog.Coverage.REFUSED, "Refused"),
    ):
        entries = [each for each in found.entries if each.coverage is coverage]
        if 0 < len(entries) <= _SHOWN:
            paper.heading(about)
            paper.table(("entry", "why"), [(each.entry_id, "; ".join(each.missing)) for each in entries])
    if len(found.entries) > _SHOWN and found.causes:
        paper.heading("By cause")
        rows = [
            (paper.state(each.coverage.value), each.what, str(each.entries), str(each.alone), each.example)
            for each in found.causes
        ]
        paper.table(("coverage", "cause", "entries", "only this", "such as"), rows)
        paper.line("--only NAME --dry-run tells of one entry, --json of all.")
    paper.heading(f"{len(found.entries)} entries of {found.source}" + ("" if kept else ", none of which was kept"))
    for coverage, count in found.totals.items():
        share = count / len(found.entries) if found.entries else 0
        paper.line(" ", paper.state(coverage.value), f"{count} ({share:.1%})")
