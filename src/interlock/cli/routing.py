"""`interlock routes`: the addresses on which services report."""

from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import trying
from interlock.cli.frame import command, group

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from interlock import triggers
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper
    from interlock.kernel import JSON, Secret

_Route = Annotated[str, typer.Argument(metavar="ROUTE", help="The route's id.")]
_On = Annotated[
    list[str] | None,
    typer.Option("--on", metavar="TRIGGER=HANDLER", help="What is done about which events; may be repeated."),
]
_Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="TRIGGER:JSON", help="Which of its events: the trigger's config; may be repeated."),
]
_Retry = Annotated[
    list[str] | None,
    typer.Option("--retry", metavar="TRIGGER:JSON", help=f"{trying.HELP}; may be repeated."),
]
_SecretEnv = Annotated[
    str | None, typer.Option("--secret-env", metavar="NAME", help="The environment variable with the service's secret.")
]
_SecretFile = Annotated[
    str | None,
    typer.Option("--secret-file", metavar="FILE", help="The file with the service's secret or key; - is stdin."),
]
_Connection = Annotated[
    str | None, typer.Option("--connection", metavar="NAME", help="The connection that its handlers are told.")
]


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    routes = group(tree, "routes", "Addresses on which services report by webhooks.")
    command(routes, "create")(create)
    command(routes, "join")(join)
    command(routes, "list")(list_routes)
    command(routes, "show")(show)
    command(routes, "rotate")(rotate)
    command(routes, "disable")(disable)
    command(routes, "enable")(enable)
    command(routes, "revoke")(revoke)


async def create(
    desk: "Desk",
    connector: Annotated[str, typer.Argument(metavar="CONNECTOR", help="Which service: `interlock connectors list`.")],
    *,
    on: _On = None,
    only: _Only = None,
    retry: _Retry = None,
    connection: _Connection = None,
    secret_env: _SecretEnv = None,
    secret_file: _SecretFile = None,
    scheme: Annotated[
        str | None, typer.Option(metavar="NAME", help="How deliveries are proven, if not as the connector says.")
    ] = None,
    verification: Annotated[
        str | None, typer.Option(metavar="FILE", help="The same in a file of JSON, for a service of your own.")
    ] = None,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Take deliveries that prove nothing, where the verification says so.")
    ] = False,
    dedupe: Annotated[
        str | None, typer.Option(metavar="SPAN", help="How long a delivery is known again, such as 7d.")
    ] = None,
    resolve: Annotated[
        list[str] | None,
        typer.Option(metavar="POINTER", help="It is an app's: this place of the body tells installs apart."),
    ] = None,
) -> "Answer":
    """Make an address for a service's webhooks, and say what is done about its events.

    The address holds a token and is shown once, as is a secret that is made here. A secret that the service shows you is never an
    argument: it comes from the environment, a file or stdin, and is stored encrypted.

    Example:
      interlock routes create github --on issues=triage --only 'issues:{"actions":["opened"]}'
    """
    from interlock.cli.errors import Usage
    from interlock.cli.times import parse_span

    if scheme is not None and verification is not None:
        raise Usage("--scheme and --verification say the same thing: give one of them")
    async with desk.open() as il:
        made = await il.routes.create(
            connector,
            on=_wanted(on, only, retry),
            connection=connection,
            secret=_secret(secret_env, secret_file),
            verification=_verification(scheme, verification),
            unsigned=unsigned,
            dedupe_seconds=None if dedupe is None else int(parse_span(dedupe, option="--dedupe").total_seconds()),
            resolve=resolve or (),
        )
    return _made(made)


async def join(
    desk: "Desk",
    route: _Route,
    *,
    at: Annotated[list[str], typer.Option(metavar="POINTER=VALUE", help="What stands in its deliveries.")],
    on: _On = None,
    only: _Only = None,
    retry: _Retry = None,
    for_tenant: Annotated[
        str | None, typer.Option(metavar="NAME", help="The install's tenant, if it is another.")
    ] = None,
    connection: _Connection = None,
) -> "Answer":
    """Have an app's deliveries in which these values stand be an install's own.

    ROUTE is the app's, made with `routes create --resolve`.

    Example:
      interlock routes join rte_0193 --at /team_id=T2 --for-tenant acme --on message=answer
    """
    from interlock.cli.errors import Usage

    pairs = [each.partition("=") for each in at]
    if any(not equals for _, equals, _ in pairs):
        raise Usage("--at: write POINTER=VALUE, such as /team_id=T2")
    async with desk.open_here() as il:
        found = await il.routes.join(
            route,
            on=_wanted(on, only, retry),
            resolution={place: value for place, _, value in pairs},
            tenant=for_tenant,
            connection=connection,
        )
    return _shown(found)


async def list_routes(
    desk: "Desk",
    connector: Annotated[str | None, typer.Option(metavar="ID", help="Only of this connector.")] = None,
    cursor: Annotated[str | None, typer.Option(metavar="ID", help="Go on after this route.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 100,
) -> "Answer":
    """List routes, newest first.

    Example:
      interlock routes list
    """
    from interlock.cli.desk import Answer
    from interlock.kernel import page

    async with desk.open() as il:
        found = await il.routes.list(connector=connector, cursor=cursor, limit=limit)

    def show_page(paper: "Paper") -> None:
        if not found:
            paper.line("No routes yet: `interlock routes create CONNECTOR --on TRIGGER=HANDLER` makes one.")
            return
        rows = [
            (each.route_id, each.connector_id, paper.state(each.state.value), _proof(each), _where(each))
            for each in found
        ]
        paper.table(("route", "connector", "state", "proven by", "for"), rows)

    document = page("routes", [each.record() for each in found], limit=limit, key="route_id")
    return Answer(document=document, show=show_page)


async def show(desk: "Desk", route: _Route) -> "Answer":
    """Show one route. Neither its address nor its secret is shown again.

    Example:
      interlock routes show rte_0193
    """
    async with desk.open() as il:
        return _shown(await il.routes.fetch(route))


async def rotate(
    desk: "Desk",
    route: _Route,
    *,
    secret_env: _SecretEnv = None,
    secret_file: _SecretFile = None,
    overlap: Annotated[str, typer.Option(metavar="SPAN", help="How long the old one counts as well; 0s: not.")] = "1d",
) -> "Answer":
    """Give a route another secret, while the old one still counts for a time.

    Without one from the service, one is made here and shown once. Where the service hands it over itself, the route waits for an
    hour.

    Example:
      interlock routes rotate rte_0193 --overlap 2h
    """
    from interlock.cli.times import parse_span

    async with desk.open() as il:
        made = await il.routes.rotate(
            route,
            secret=_secret(secret_env, secret_file),
            overlap=parse_span(overlap, option="--overlap").total_seconds(),
        )
    return _made(made)


async def disable(desk: "Desk", route: _Route) -> "Answer":
    """Take no deliveries on a route for now; they are answered as if it were not there.

    Example:
      interlock routes disable rte_0193
    """
    async with desk.open() as il:
        return _shown(await il.routes.disable(route))


async def enable(desk: "Desk", route: _Route) -> "Answer":
    """Take deliveries on a route again.

    Example:
      interlock routes enable rte_0193
    """
    async with desk.open() as il:
        return _shown(await il.routes.enable(route))


async def revoke(desk: "Desk", route: _Route) -> "Answer":
    """End a route for good, and erase its secret.

    Example:
      interlock routes revoke rte_0193
    """
    async with desk.open() as il:
        return _shown(await il.routes.revoke(route))


def _made(made: "triggers.webhooks.NewRoute") -> "Answer":
    from interlock.cli.desk import Answer
    from interlock.cli.text import moment

    route = made.route
    address = None if made.address is None else made.address.reveal()
    secret = None if made.secret is None else made.secret.reveal()

    def show_made(paper: "Paper") -> None:
        _draw(paper, route)
        if address is not None:
            paper.line("")
            paper.line(f"Give the service this address, which is not shown again: {address}")
        if secret is not None:
            paper.line(f"And this secret, which is not shown again either: {secret}")
        elif route.awaiting_until is not None:
            paper.line(f"It takes the secret that the service hands over until {moment(route.awaiting_until)}.")

    return Answer(document={**route.record(), "address": address, "secret": secret}, show=show_made)


def _shown(route: "triggers.webhooks.Route") -> "Answer":
    from interlock.cli.desk import Answer

    return Answer(document=route.record(), show=lambda paper: _draw(paper, route))


def _draw(paper: "Paper", route: "triggers.webhooks.Route") -> None:
    from interlock.cli.text import moment

    paper.line(paper.state(route.state.value), route.route_id)
    paper.fields(
        [
            ("connector", route.connector_id),
            ("for", _where(route)),
            ("connection", route.connection_id),
            ("proven by", _proof(route)),
            ("old secret until", None if route.former_until is None else moment(route.former_until)),
            ("known again for", f"{route.dedupe_seconds} s"),
            ("made", f"{moment(route.created_at)} by {route.created_by}"),
        ]
    )


def _proof(route: "triggers.webhooks.Route") -> str:
    proof = route.verification
    if proof.algorithm == "unsigned":
        return f"nothing: {proof.justification}"
    place = proof.header or proof.pointer
    return f"{proof.algorithm} in {place}" + ("" if route.sealed or not route.has_address else ", without a secret yet")


def _where(route: "triggers.webhooks.Route") -> str:
    if route.has_address:
        return f"an app, by {' '.join(route.resolution)}" if route.resolution else "this tenant"
    return f"{route.app_route_id} where {' '.join(f'{place}={value}' for place, value in route.resolution.items())}"


def _wanted(on: list[str] | None, only: list[str] | None, retry: list[str] | None) -> "list[triggers.webhooks.Wanted]":
    """What is done about which events. Raises Usage."""
    from interlock import triggers
    from interlock.cli.errors import Usage

    configs = {name: _mapping(text, f"--only of {name[:60]}") for name, text in _told("--only", only)}
    retries = {name: trying.parse(text, option=f"--retry of {name[:60]}") for name, text in _told("--retry", retry)}
    pairs = [each.partition("=") for each in on or ()]
    if any(not handler for _, _, handler in pairs):
        raise Usage("--on: write TRIGGER=HANDLER, such as issues=triage")
    if unknown := (configs.keys() | retries.keys()) - {name for name, _, _ in pairs}:
        option = "--only" if unknown & configs.keys() else "--retry"
        raise Usage(f"{option} names {', '.join(sorted(unknown))}, which no --on does")
    return [
        triggers.webhooks.Wanted(name=name, handler=handler, config=configs.get(name, {}), retry=retries.get(name))
        for name, _, handler in pairs
    ]


def _told(option: str, given: list[str] | None) -> "Iterator[tuple[str, str]]":
    """What is said of triggers by their names. Raises Usage."""
    from interlock.cli.errors import Usage

    for each in given or ():
        name, colon, text = each.partition(":")
        if not colon:
            raise Usage(f"{option} {each[:60]!r}: write TRIGGER:JSON")
        yield name, text


def _mapping(text: str | bytes, what: str) -> "dict[str, JSON]":
    from interlock.cli.errors import Usage
    from interlock.kernel import parse_json

    value = parse_json(text, what=what, unique=True)
    if not isinstance(value, dict):
        raise Usage(f"{what}: write a JSON object")
    return value


def _verification(scheme: str | None, file: str | None) -> "Mapping[str, JSON] | None":
    from interlock.cli import files

    if file is not None:
        return _mapping(files.read(file, "verification", limit=65_536), "verification")
    return None if scheme is None else {"scheme": scheme}


def _secret(variable: str | None, file: str | None) -> "Secret | None":
    """Raises Usage, FileRefused."""
    import os

    from interlock.cli import files
    from interlock.cli.errors import Usage
    from interlock.kernel import Secret

    if variable is not None and file is not None:
        raise Usage("the secret stands in one place: --secret-env or --secret-file")
    if file is not None:
        try:
            return Secret(files.read(file, "secret", limit=65_536).decode().strip())
        except UnicodeDecodeError:
            raise Usage(f"the secret in {file} is no text") from None
    if variable is None:
        return None
    if not os.environ.get(variable):
        raise Usage(f"--secret-env: the environment has no {variable[:60]!r}")
    return Secret(os.environ[variable])
