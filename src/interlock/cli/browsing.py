"""`interlock connectors` and `interlock capabilities`: what can be asked for. No store is needed."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli.describing import from_openapi
from interlock.cli.frame import command, group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock import app, catalog, sdk
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper, Words
    from interlock.kernel import JSON


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    connectors = group(tree, "connectors", "Services that Interlock can speak to.")
    command(connectors, "list")(list_connectors)
    command(connectors, "show")(show_connector)
    command(connectors, "from-openapi")(from_openapi)
    capabilities = group(tree, "capabilities", "What can be asked for.")
    command(capabilities, "list")(list_capabilities)
    command(capabilities, "show")(show_capability)


async def list_connectors(desk: "Desk") -> "Answer":
    """List the connectors, also those that are broken.

    Example:
      interlock connectors list
    """
    from interlock import app
    from interlock.cli.desk import Answer
    from interlock.cli.paper import Ink
    from interlock.kernel import JSON

    if desk.server is not None:
        return await _list_connectors_there(desk)
    settings = desk.settings()
    discovery, known = app.read_catalog(settings)
    installed = {each.manifest.connector_id: each for each in discovery.connectors}
    documents: list[JSON] = [
        {
            "connector_id": each.connector_id,
            "version": each.version,
            "display_name": each.display_name,
            "description": each.description,
            "operations": len(each.operations),
            "triggers": len(each.triggers),
            "maturity": each.maturity,
            "distribution": installed[each.connector_id].distribution if each.connector_id in installed else None,
            "trusted_in_process": app.trusts(settings, discovery, each),
            "handlers_isolated": each.connector_id in settings.connectors.isolated,
        }
        for each in known.connectors
    ]
    broken: list[JSON] = [
        {"entry_point": each.entry_point, "distribution": each.distribution, "code": each.code, "problem": each.problem}
        for each in known.problems
    ]

    def show(paper: "Paper") -> None:
        rows = [
            (each.connector_id, each.version, str(len(each.operations)), str(len(each.triggers)),
             _trust(settings, discovery, each), each.description)
            for each in known.connectors
        ]  # fmt: skip
        paper.table(("connector", "version", "operations", "triggers", "trusted", "about"), rows)
        for each in known.problems:
            first, *rest = each.problem.splitlines() or ("",)
            package = [Ink(f"({each.distribution})", "faint")] if each.distribution else []
            paper.line(Ink("broken:", "bad"), each.entry_point, *package, first)
            for line in rest:
                paper.line(line)

    return Answer(document={"connectors": documents, "broken": broken}, show=show)


async def _list_connectors_there(desk: "Desk") -> "Answer":
    from interlock.cli.desk import Answer

    async with desk.open_there() as remote:
        found = await remote.catalog.list_connectors()

    def show(paper: "Paper") -> None:
        names = ("connector_id", "version", "operations", "description")
        paper.table(
            ("connector", "version", "operations", "about"), [[str(each[name]) for name in names] for each in found]
        )

    return Answer(document={"connectors": found}, show=show)


def _trust(settings: "app.Settings", discovery: "catalog.Discovery", manifest: "sdk.Manifest") -> str:
    """Which of its Python runs inside this process."""
    from interlock import app

    if not app.trusts(settings, discovery, manifest):
        return "no"
    return "declaration" if manifest.connector_id in settings.connectors.isolated else "in process"


async def show_connector(
    desk: "Desk", connector: Annotated[str, typer.Argument(metavar="CONNECTOR", help="The connector's id.")]
) -> "Answer":
    """Show one connector: how to connect, what it can do, and what it reports.

    Example:
      interlock connectors show github
    """
    from interlock.cli.desk import Answer
    from interlock.cli.paper import Ink

    found = await _manifest(desk, connector)

    def show(paper: "Paper") -> None:
        paper.line(Ink(found.display_name, "strong"), found.version, Ink(found.digest, "faint"))
        paper.line(" ", found.description)
        paper.fields([("documentation", found.docs_url), ("maturity", found.maturity)])
        show_profiles(paper, connector, found.auth)
        paper.heading("Capabilities")
        paper.table(
            ("capability", "effect", "about"),
            [(f"{connector}.{each.operation_id}", each.effect.value, each.description) for each in found.operations],
        )
        if found.triggers:
            paper.heading("Triggers")
            paper.table(
                ("trigger", "comes", "its work is tried", "about"),
                [
                    (f"{connector}.{each.trigger_id}", _way(each), _tried(each), each.description)
                    for each in found.triggers
                ],
            )

    return Answer(document={**found.to_json(), "profiles": [each.published() for each in found.auth]}, show=show)


async def _manifest(desk: "Desk", connector: str) -> "sdk.Manifest":
    from interlock import app

    if desk.server is None:
        return app.read_catalog(desk.settings())[1].fetch_connector(connector)
    async with desk.open_there() as remote:
        return await remote.catalog.fetch_connector_for(remote.caller.tenant_id, connector)


def _tried(trigger: "sdk.Trigger") -> str:
    from interlock import sdk
    from interlock.cli import trying

    return trying.words(trigger.retry or sdk.Retries())


def _way(trigger: "sdk.Trigger") -> "Words":
    """How a trigger's events come, and who can send them."""
    from interlock.cli.paper import Ink

    proof, polling = trigger.verification, trigger.polling
    if polling is not None:
        return f"by asking every {polling.default_seconds:g} s"
    if proof is None or proof.algorithm == "unsigned":
        return Ink("by a webhook that anybody can send", "bad")
    return f"by a webhook, proven by {proof.algorithm}"


def show_profiles(paper: "Paper", connector: str, profiles: "Sequence[sdk.AuthProfile]") -> None:
    """The ways to connect."""
    for each in profiles:
        _show_profile(paper, connector, each, profiles)


def _show_profile(
    paper: "Paper", connector: str, profile: "sdk.AuthProfile", beside: "Sequence[sdk.AuthProfile]"
) -> None:
    from interlock.cli import joining
    from interlock.cli.paper import Ink

    paper.heading(f"Connect by {profile.profile_id}")
    paper.fields(
        [
            ("service", profile.base_url),
            ("way", profile.grant.type.replace("_", " ")),
            ("asks for", ", ".join(each.name for each in profile.fields) or None),
            ("scopes", " ".join(profile.scopes_offered) or None),
            ("may be kept by", ", ".join(_KEEPERS[each] for each in profile.management_modes) or None),
            ("to connect", _POSTURES[profile.install]),
            ("when it no longer serves", None if profile.install == "none" else _POSTURES[profile.reauth]),
            ("tokens end", _RENEWALS[profile.renewal]),
        ]
    )
    if profile.install != "none":
        paper.line(" ", Ink(joining.line_for(connector, profile, beside=beside), "code"))


async def list_capabilities(
    desk: "Desk",
    search: Annotated[
        str | None, typer.Option(metavar="WORDS", help="Only those with all these words; typos are forgiven.")
    ] = None,
    connector: Annotated[str | None, typer.Option(metavar="ID", help="Only of this connector.")] = None,
    effect: Annotated[
        str | None, typer.Option(metavar="EFFECT", help="read, create, update, delete or execute.")
    ] = None,
    cursor: Annotated[str | None, typer.Option(metavar="ID", help="Go on after this capability.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many.")] = 200,
) -> "Answer":
    """List what can be asked for.

    Example:
      interlock capabilities list --search 'create issue'
    """
    from interlock import sdk
    from interlock.cli.desk import Answer
    from interlock.cli.words import states
    from interlock.kernel import RequestError

    if search is not None and cursor is not None:
        raise RequestError("a search has no pages, the best come first: leave --cursor out, or raise --limit")
    wanted = None if effect is None else states([effect], sdk.Effect)[0]
    if desk.server is None:
        told = _capabilities_here(desk, search, connector, wanted, cursor, limit)
    else:
        async with desk.open_there() as remote:
            told = await remote.catalog.list_capabilities(
                search=search, connector=connector, effect=wanted, cursor=cursor, limit=limit
            )

    def show(paper: "Paper") -> None:
        found = told["capabilities"]
        if found:
            names = ("capability_id", "effect", "description")
            paper.table(("capability", "effect", "about"), [[str(each[name]) for name in names] for each in found])
        else:
            paper.line("No capability fits.")

    return Answer(document=told, show=show)


def _capabilities_here(
    desk: "Desk", search: str | None, connector: str | None, effect: "sdk.Effect | None", cursor: str | None, limit: int
) -> "dict[str, Any]":
    from interlock import app, catalog

    _, known = app.read_catalog(desk.settings())
    if connector is not None:
        known.fetch_connector(connector)
    wanted = catalog.Filter(connector_id=connector, effect=effect)
    if search is not None:
        return {
            "capabilities": [_summary(each) for each in known.search(search, wanted, limit=limit)],
            "next_cursor": None,
        }
    page = known.list_capabilities(wanted, cursor=cursor, limit=limit)
    return {"capabilities": [_summary(each) for each in page.capabilities], "next_cursor": page.next_cursor}


async def show_capability(
    desk: "Desk", capability: Annotated[str, typer.Argument(metavar="CAPABILITY", help="The capability's id.")]
) -> "Answer":
    """Show one capability: its fields, and how to invoke it.

    Example:
      interlock capabilities show github.issue.create
    """
    from interlock import app
    from interlock.cli.desk import Answer

    if desk.server is None:
        found = app.read_catalog(desk.settings())[1].fetch(capability)
    else:
        async with desk.open_there() as remote:
            found = await remote.catalog.fetch_for(remote.caller.tenant_id, capability)
    return Answer(document={**found.to_json(), "invoke": _example(found)}, show=lambda paper: _draw(paper, found))


def _summary(capability: "catalog.Capability") -> "JSON":
    schemas = ("input_schema", "output_schema")
    return {name: value for name, value in capability.to_json().items() if name not in schemas}


def _draw(paper: "Paper", capability: "catalog.Capability") -> None:
    from interlock.cli.paper import Ink
    from interlock.cli.schemas import list_fields

    operation = capability.operation
    paper.line(Ink(capability.capability_id, "strong"), f"{operation.display_name}, {operation.effect.value}")
    paper.line(" ", operation.description)
    waits = f"what is not there yet is read again after {operation.settled_after:g} s"
    settles = f"by reading; {waits}" if operation.reconcile is not None else "by a person"
    paper.fields(
        [
            ("connector", f"{capability.connector_id} {capability.connector_version}"),
            ("scopes", " ".join(operation.scopes) or "none"),
            ("repeating it", _REPEATING[operation.idempotency.value]),
            ("an unknown outcome", None if operation.effect.value == "read" else f"is settled {settles}"),
        ]
    )
    paper.heading("Input")
    fields = list_fields(operation.input_schema)
    rows = [(each.name, each.kind, "required" if each.required else "", each.about) for each in fields]
    paper.table(("field", "kind", "", "about"), rows)
    paper.heading("Output")
    paper.table(
        ("field", "kind", "about"),
        [(each.name, each.kind, each.about) for each in list_fields(operation.output_schema)],
    )
    paper.heading("Invoke")
    paper.line(" ", Ink(_example(capability), "code"))


_KEEPERS = {
    "manual": "whoever gives it",
    "hosted": "the connect page",
    "external_secret": "a secret store",
    "provider_app": "an app at the provider",
    "provider_native": "the provider's own program",
}
_POSTURES = {
    "none": "nothing to do",
    "paste": "give what it asks for",
    "browser": "agree in a browser",
    "device": "type a code on another device",
    "automatic": "give what it asks for; tokens are fetched with it",
    "cli": "log in by the provider's program",
}
_RENEWALS = {"none": None, "refresh": "and are refreshed", "again": "and are fetched again"}
_REPEATING = {
    "natural": "changes nothing more",
    "key": "is removed by the service, by a key",
    "none": "does it again; an --idempotency-key prevents that",
}


def _example(capability: "catalog.Capability") -> str:
    """A command line with every required field."""
    from interlock.cli.schemas import kinds, list_fields

    schema = capability.operation.input_schema
    words = ["interlock", "invoke", capability.capability_id]
    for field in list_fields(schema):
        if field.required:
            allowed = kinds(schema["properties"][field.name], schema)
            value = field.name.upper() if not allowed or "string" in allowed else _SAMPLES.get(min(allowed), "JSON")
            words.append(f"{field.name}={value}")
    return " ".join(words)


_SAMPLES = {"integer": "1", "number": "1", "boolean": "true", "array": "'[…]'", "object": "'{…}'"}
