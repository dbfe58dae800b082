"""`interlock connect`: an account at a service, by a token, from a place of secrets, in the browser, or by a link."""

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.frame import command

if TYPE_CHECKING:
    from interlock import connections
    from interlock.cli import joining
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper
    from interlock.kernel import InterlockError, Secret

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_MAX_FILE = 1_048_576
"""Bytes of a token's file; what is inside has a limit of its own."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What was said of a token, or of where it is."""

    name: str | None
    base_url: str | None
    scopes: list[str] | None
    expires_at: str | None
    overlap: str | None
    profile: str | None
    fields: list[str]


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    command(tree, "connect")(connect)


async def connect(
    desk: "Desk",
    connector: Annotated[str, typer.Argument(metavar="CONNECTOR", help="Which service: `interlock connectors list`.")],
    *,
    token_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The environment variable with the token.")
    ] = None,
    token_file: Annotated[str | None, typer.Option(metavar="FILE", help="The file with the token; - is stdin.")] = None,
    source: Annotated[
        list[str] | None, typer.Option("--from", metavar="KIND:PLACE", help="Where the secret is, and stays.")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What to call the connection.")] = None,
    base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where the service is, if not at its own address.")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(metavar="SCOPE", help="The token's, if the service does not say.")
    ] = None,
    expires_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="When the token ends: in 30m, 2h or 7d, a day, or RFC 3339.")
    ] = None,
    overlap: Annotated[str | None, typer.Option(metavar="SPAN", help="How long calls at work use the old one.")] = None,
    profile: Annotated[str | None, typer.Option(metavar="ID", help="Which auth profile, if it has several.")] = None,
    field: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A field of the profile.")] = None,
    secret_env: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VARIABLE", help="A secret one, from the environment.")
    ] = None,
    device: Annotated[bool, typer.Option("--device", help="By a code that is typed on another device.")] = False,
    link: Annotated[bool, typer.Option("--link", help="For somebody else: an address at `interlock serve`.")] = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only say the address, and open nothing.")] = False,
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="Where the browser comes back to; 0: any free one.")
    ] = 0,
) -> "Answer":
    """Connect a service, in the browser or with a token.

    Without a token the browser opens a page of this machine, which leads to the service and shows whose account it is before
    it is connected. A token is tried first, too. It is never an argument, since others can read those: it comes from the
    environment, a file or stdin, and is stored encrypted. With `--from` it is not stored, but read from there whenever it is
    needed: env:NAME, file:PATH, command:PROGRAM…, keyring:SERVICE/USER, vault:MOUNT/PATH#FIELD or aws:NAME#FIELD. The same
    name again replaces the credential.

    Example:
      interlock connect github --token-env GITHUB_TOKEN
      interlock connect github --from 'command:pass show github'
    """
    from interlock.cli import joining
    from interlock.cli.errors import Usage

    if token_env is not None or token_file is not None or source:
        if secret_env or device or link or no_browser or port:
            raise Usage("a token goes without --secret-env, --device, --link, --no-browser, --port")
        told = _Told(name, base_url, scope, expires_at, overlap, profile, field or [])
        return _made(await _by_token(desk, connector, token_env, token_file, source, told))
    if expires_at is not None or overlap is not None:
        raise Usage("--expires-at goes with a token, as --overlap does; here the service says when its tokens end")
    wish = joining.Wish(
        connector=connector, profile=profile, fields=field or (), secret_fields=secret_env or (), name=name,
        base_url=base_url, scopes=scope, device=device, browser=not no_browser, port=port,
    )  # fmt: skip
    return await (_invited(desk, wish) if link else _joined(desk, wish))


async def _joined(desk: "Desk", wish: "joining.Wish") -> "Answer":
    from interlock.cli import joining

    return _made(await joining.connect(desk, wish))


async def _invited(desk: "Desk", wish: "joining.Wish") -> "Answer":
    from interlock.cli import joining
    from interlock.cli.desk import Answer
    from interlock.cli.text import moment
    from interlock.kernel import to_rfc3339

    invited = await joining.invite(desk, wish)
    url = invited.url.reveal()

    def show_link(paper: "Paper") -> None:
        paper.line(url)
        paper.line(f"  for one person, until {moment(invited.expires_at)}; `interlock serve` has to run")

    ends = to_rfc3339(invited.expires_at)
    return Answer(document={"install_id": invited.install_id, "url": url, "expires_at": ends}, show=show_link)


async def _by_token(
    desk: "Desk",
    connector: str,
    token_env: str | None,
    token_file: str | None,
    source: list[str] | None,
    told: "_Told",
) -> "connections.Connection":
    from interlock import connections
    from interlock.cli import joining
    from interlock.cli.errors import Usage
    from interlock.cli.times import parse_moment, parse_span
    from interlock.kernel import SystemClock

    now, said, span = SystemClock().now(), told.expires_at, told.overlap
    ends = None if said is None else parse_moment(said, option="--expires-at", now=now, ahead=True)
    overlap = 0.0 if span is None else parse_span(span, option="--overlap").total_seconds()
    places = _places(source, token_env, token_file, said, span)
    if told.fields and not places:
        raise Usage("a token goes without --field: with it it is --secret-env NAME=VARIABLE")
    token, params = None if places else _token(token_env, token_file), joining.stated(told.fields)
    try:
        if token is None:
            async with desk.open_here() as il:
                return await il.connections.connect_from(
                    connector,
                    places,
                    params=params,
                    profile=told.profile,
                    name=told.name,
                    base_url=told.base_url,
                    scopes=told.scopes,
                )
        async with desk.open() as anywhere:
            return await anywhere.connections.connect_token(
                connector,
                token,
                profile=told.profile,
                name=told.name,
                base_url=told.base_url,
                scopes=told.scopes,
                expires_at=ends,
                overlap=overlap,
            )
    except connections.ProbeFailed as error:
        raise _explained(error, told.base_url) from error


def _made(made: "connections.Connection") -> "Answer":
    import shlex

    from interlock import sdk
    from interlock.cli.desk import Answer
    from interlock.cli.paper import Ink

    connector = made.connector_id
    provider = connector.removeprefix(sdk.PROVIDER_PREFIX)

    def show_made(paper: "Paper") -> None:
        paper.line(
            paper.state(made.state.value), Ink(made.name, "strong"), f"is {made.subject or 'connected'} at {connector}"
        )
        if provider == connector:
            paper.line("  next:", Ink(f"interlock capabilities list --connector {connector}", "code"))
        else:
            where = Ink(f"interlock providers show {provider}", "code")
            paper.line(
                "  next:",
                Ink(f"interlock proxy {shlex.quote(made.name)} GET /PATH", "code"),
                "below what",
                where,
                "tells",
            )

    return Answer(document=made.record(), show=show_made)


def _places(given: list[str] | None, *others: str | None) -> "str | dict[str, str]":
    """Where the secrets are: one place, or several by field; nothing, if no place was given."""
    from interlock import connections
    from interlock.cli.errors import Usage

    if not given:
        return {}
    if any(other is not None for other in others):
        raise Usage(
            "--from says where the secret is and stays: --token-env, --token-file, --expires-at and --overlap go without it"
        )
    found: dict[str, str] = {}
    for said in given:
        try:
            field, kind, place = connections.sources.parse(said)
        except ValueError as error:
            raise Usage(f"--from: {error}") from error
        # A program of another day starts in another folder.
        place = os.path.abspath(place) if kind is connections.SourceKind.FILE else place
        if field is None and len(given) == 1:
            return f"{kind.value}:{place}"
        if field is None or field in found:
            raise Usage("--from: several places are given as FIELD=KIND:PLACE, each field once")
        found[field] = f"{kind.value}:{place}"
    return found


def _token(variable: str | None, file: str | None) -> "Secret":
    from interlock.cli import files
    from interlock.cli.errors import TokenMissing, Usage
    from interlock.kernel import Secret

    if (variable is None) == (file is None):
        raise Usage("name one place where the token is: --token-env NAME or --token-file FILE")
    if variable is not None:
        text = os.environ.get(variable, "")
        # Somebody may have pasted the token itself: it is not said again.
        shown = variable if _VARIABLE.fullmatch(variable) else "(not shown, it looks like a token; give the name)"
        where = f"the environment variable {shown} is empty or not set"
    else:
        text = files.read(str(file), "token file", limit=_MAX_FILE).decode("utf-8", "replace")
        where = f"the token file {file} is empty"
    if not text.strip():
        raise TokenMissing(where)
    return Secret(text.strip())


def _explained(error: "connections.ProbeFailed", base_url: str | None) -> "InterlockError":
    """A private address is refused until the operator allows it; say how."""
    from interlock import plane

    if base_url is None or "are refused" not in error.message:
        return error
    place = plane.parse_base(base_url).host_port
    return type(error)(
        error.message,
        next_step=f"If {place} is meant, allow it: add it to `egress_allow` under [execution] in interlock.toml, "
        f'egress_allow = ["{place}"], or set INTERLOCK_EXECUTION__EGRESS_ALLOW=\'["{place}"]\'.',
        retry=error.retry,
        details=error.details,
    )
