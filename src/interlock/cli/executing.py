"""`interlock plane`: the execution plane by itself, for commands and requests that are nobody's capability."""

import os
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import conversing, securing
from interlock.cli.frame import command, group
from interlock.cli.placing import Identity, Placement, class_of_place, open_place

if TYPE_CHECKING:
    from interlock import plane
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper
    from interlock.kernel import Secret

_ENDED = frozenset({"exit_nonzero", "killed_by_signal"})
"""The failures that are the command's own answer."""


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    plane = group(tree, "plane", "The execution plane by itself: commands and requests, run once, with a receipt.")
    command(plane, "run")(run)
    command(plane, "http")(http)
    command(plane, "ws")(ws)
    command(plane, "targets")(targets)
    command(plane, "schemas")(schemas)
    command(plane, "guest-agent")(guest_agent)


Seconds = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.001, max=3600, help="For all of it.")]
Headers = Annotated[list[str] | None, typer.Option("--header", "-H", metavar="NAME:VALUE", help="One more header.")]


async def run(
    desk: "Desk",
    *,
    argv: Annotated[list[str], typer.Argument(metavar="COMMAND", help="The command and its arguments, after `--`.")],
    sandbox: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Where it runs: `interlock plane targets`.")
    ] = None,
    read: Annotated[list[str] | None, typer.Option(metavar="PATH", help="It may read this (in a sandbox).")] = None,
    write: Annotated[list[str] | None, typer.Option(metavar="PATH", help="It may write this, too.")] = None,
    host: Annotated[
        list[str] | None, typer.Option(metavar="HOST:PORT", help="It may reach this host (in a sandbox).")
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A variable; there are no others.")
    ] = None,
    secret: Annotated[
        list[str] | None, typer.Option(metavar="NAME[=FILE]", help="A secret variable: your own, or what is in a file.")
    ] = None,
    cwd: Annotated[str | None, typer.Option(metavar="PATH", help="Where it starts; here, or / elsewhere.")] = None,
    tty: Annotated[bool, typer.Option("--tty", help="Give it a terminal.")] = False,
    placement: Placement = None,
    identity: Identity = None,
    seconds: Seconds = 60.0,
) -> "Answer":
    """Run a command under limits, and pass on its output and its exit code.

    Its environment is empty unless you list variables; `--secret TOKEN` hands on one of yours, and `--secret TOKEN=FILE` what
    is in a file. In a sandbox it reads and writes only the paths that you list, and reaches only the hosts that you list.
    A placement is a node (https://HOST:PORT), or a host or guest of `execution.places` in the settings
    (ssh://user@host:port, guest+unix:///path, guest://host:port).

    Example:
      interlock plane run --sandbox local-landlock --read /usr --read /lib --read /lib64 -- /usr/bin/id
    """
    from interlock import plane

    profile = _profile(sandbox, read=read or (), write=write or (), hosts=host or ())
    where = class_of_place(desk, placement, sandbox)
    _known(where, plane.CLASSES)
    async with open_place(desk, placement, identity, target_class=where, secrets=_secrets(secret or ())) as local:
        intent = _made(
            plane.ProcessIntent,
            **local.identity(seconds=seconds),
            argv=tuple(argv),
            cwd=cwd or (os.getcwd() if profile is None and placement is None else "/"),
            env=tuple(_pair(each, "=", "--env") for each in env or ()),
            secrets=local.secrets,
            interactive=True,
            terminal=conversing.terminal_size() if tty else None,
            max_ms=int(seconds * 1000),
            max_output_bytes=2**40,
            sandbox=profile,
        )
        shown = conversing.Shown(live=not desk.options.as_json)
        with conversing.raw_terminal() if tty else nullcontext():
            receipt = await conversing.converse(local, intent, where, shown, feed=conversing.bytes_of_stdin)
    if receipt.failure is not None and receipt.failure.failure_class not in _ENDED:
        raise plane.EffectFailed.of(receipt.failure)
    return shown.answer(receipt, _exit_code(receipt))


def _profile(
    sandbox: str | None, *, read: Sequence[str], write: Sequence[str], hosts: Sequence[str]
) -> "plane.SandboxProfile | None":
    from interlock import plane
    from interlock.cli.errors import Usage

    if sandbox is None or sandbox == plane.LOCAL_PROCESS:
        if read or write or hosts:
            raise Usage("--read, --write and --host confine nothing without a sandbox: name one with --sandbox")
        return None
    network = plane.Network.HOSTS if hosts else plane.Network.NONE
    return _made(plane.SandboxProfile, read=tuple(read), write=tuple(write), network=network, hosts=tuple(hosts))


def _secrets(asked: "Sequence[str]") -> "dict[str, Secret]":
    """By variables. Raises Usage, FileRefused."""
    from interlock.cli import files
    from interlock.cli.errors import Usage
    from interlock.kernel import Secret

    found: dict[str, Secret] = {}
    for each in asked:
        name, is_file, file = each.partition("=")
        if name in found or not (name.isascii() and name.isidentifier()):
            raise Usage(f"--secret {name[:200]} is given twice, or is no name of a variable")
        if not is_file and name not in os.environ:
            raise Usage(f"--secret {name[:200]}: there is no such variable here; set it, or write NAME=FILE")
        try:
            text = files.read(file, "secret").decode().removesuffix("\n") if is_file else os.environ[name]
        except UnicodeDecodeError as error:
            raise Usage(f"--secret {name[:200]}: the file is not text in UTF-8") from error
        found[name] = Secret(text)
    return found


async def http(
    desk: "Desk",
    method: Annotated[str, typer.Argument(metavar="METHOD", help="GET, POST, …")],
    url: Annotated[str, typer.Argument(metavar="URL", help="Where to.")],
    *,
    header: Headers = None,
    data: Annotated[str | None, typer.Option(metavar="FILE", help="The body; - is stdin.")] = None,
    http2: Annotated[
        bool, typer.Option("--http2", help="Speak HTTP/2 if the peer does; to http:// in any case.")
    ] = False,
    cacert: securing.Authorities = None,
    cert: securing.Certificate = None,
    key: securing.Key = None,
    tls_min: securing.Minimum = None,
    server_name: securing.ServerName = None,
    seconds: Seconds = 60.0,
) -> "Answer":
    """Send one HTTP request and pass on its answer.

    Nothing is repeated and no redirect leads to another host. Private addresses have to be allowed:
    `execution.egress_allow` in the settings. The exit code is 1 for the statuses 400 and above.

    Example:
      interlock plane http GET https://api.github.com/zen
    """
    from interlock import app, plane
    from interlock.cli import files

    versions = plane.HTTP_1_1
    if http2:
        versions = ("2",) if url.startswith("http:") else ("1.1", "2")
    tls = securing.read_tls(cacert=cacert, cert=cert, key=key, tls_min=tls_min, server_name=server_name)
    allow = desk.settings().execution.egress_allow
    async with app.open_local_plane(egress_allow=allow, credentials=tls) as local:
        intent = _made(
            plane.HttpIntent,
            **local.identity(seconds=seconds),
            method=method.upper(),
            url=url,
            headers=tuple(_pair(each, ":", "--header") for each in header or ()),
            body=b"" if data is None else files.read(data, "body"),
            allowed_hosts=(_host(url),),
            timeouts=plane.Timeouts(total_ms=int(seconds * 1000)),
            response_mode="stream",
            max_response_bytes=2**31,
            http_versions=versions,
            tls=tls.options or None,
        )
        shown = conversing.Shown(live=not desk.options.as_json)
        receipt = await conversing.converse(local, intent, app.LOCAL_NET, shown)
    if receipt.failure is not None:
        raise plane.EffectFailed.of(receipt.failure)
    if desk.options.verbose:
        sys.stderr.write(f"{receipt.status}\n")
    return shown.answer(receipt, 1 if (receipt.status or 0) >= 400 else 0)


async def ws(
    desk: "Desk",
    url: Annotated[str, typer.Argument(metavar="URL", help="ws:// or wss://")],
    header: Headers = None,
    subprotocol: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Offer it; best first.")] = None,
    cacert: securing.Authorities = None,
    cert: securing.Certificate = None,
    key: securing.Key = None,
    tls_min: securing.Minimum = None,
    server_name: securing.ServerName = None,
    seconds: Seconds = 3600.0,
) -> "Answer":
    """Speak over a WebSocket: lines of stdin go out as messages, messages come in as lines.

    At the end of stdin the connection is closed.

    Example:
      interlock plane ws wss://echo.example.com
    """
    from interlock import app, plane

    tls = securing.read_tls(cacert=cacert, cert=cert, key=key, tls_min=tls_min, server_name=server_name)
    allow = desk.settings().execution.egress_allow
    async with app.open_local_plane(egress_allow=allow, credentials=tls) as local:
        intent = _made(
            plane.WebSocketIntent,
            **local.identity(seconds=seconds),
            url=url,
            headers=tuple(_pair(each, ":", "--header") for each in header or ()),
            subprotocols=tuple(subprotocol or ()),
            allowed_hosts=(_host(url.replace("ws", "http", 1)),),
            tls=tls.options or None,
        )
        shown = conversing.Shown(live=not desk.options.as_json, end=b"\n")
        receipt = await conversing.converse(local, intent, app.LOCAL_NET, shown, feed=conversing.lines_of_stdin)
    if receipt.failure is not None:
        raise plane.EffectFailed.of(receipt.failure)
    return shown.answer(receipt, 0)


async def targets(
    desk: "Desk",
    *,
    probe: Annotated[
        bool, typer.Option("--probe", help="Try from inside what each one stops; takes some seconds.")
    ] = False,
) -> "Answer":
    """Show the targets for commands on this host, and what was proved of each.

    A class stands for what a probe showed from inside, and for nothing more. Hosts by SSH and guests are shown when they
    stand in `execution.places` of the settings.

    Example:
      interlock plane targets --probe
    """
    from interlock import app
    from interlock.cli.desk import Answer
    from interlock.cli.paper import Ink

    found = await app.list_targets(probe=probe, placed=app.list_placed(desk.settings()))

    def show(paper: "Paper") -> None:
        rows = [
            (each.target_id, paper.state(each.health), " ".join(each.attestation.properties) or (each.reason or ""))
            for each in found
        ]
        paper.table(("target", "health", "what was shown, or why it cannot be used"), rows)
        if not probe:
            paper.line(Ink("Prove it: `interlock plane targets --probe`", "faint"))

    return Answer(document={"targets": [each.record() for each in found]}, show=show)


def schemas(
    desk: "Desk",
    name: Annotated[str | None, typer.Argument(metavar="CONTRACT", help="One of them, such as receipt.")] = None,
) -> "Answer":
    """Show the plane's contracts as JSON Schemas.

    Example:
      interlock plane schemas receipt
    """
    from interlock import plane
    from interlock.cli.desk import Answer

    del desk
    known = plane.json_schemas()
    short = {each.removeprefix("interlock.").split("/")[0]: each for each in known}
    if name is None:
        return Answer(
            document=dict(known),
            show=lambda paper: paper.table(("name", "contract"), sorted(short.items())),
        )
    _known(name, short)
    document = known[short[name]]
    return Answer(document=document, show=lambda paper: paper.data(document))


def guest_agent(desk: "Desk") -> "Answer":
    """Print the program that runs in a guest: one file for a python3 with nothing but its standard library.

    Example:
      interlock plane guest-agent > agent.py
    """
    from interlock import app
    from interlock.cli.desk import Answer

    del desk
    program = app.guest_agent()

    def show(_paper: "Paper") -> None:
        sys.stdout.write(program)

    return Answer(document={"program": program}, show=show)


# -- reading what was asked for


def _made(kind: "Callable[..., Any]", **fields: Any) -> Any:
    """A contract of these fields. Raises Usage that names every field that is wrong."""
    from pydantic import ValidationError

    from interlock.cli.errors import Usage

    try:
        return kind(**fields)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, each['loc'])) or 'it'}: {each['msg']}" for each in error.errors()]
        raise Usage("; ".join(problems)) from error


def _pair(text: str, mark: str, option: str) -> tuple[str, str]:
    from interlock.cli.errors import Usage

    name, found, value = text.partition(mark)
    if not found:
        raise Usage(f"{option} {text[:60]!r}: write NAME{mark}VALUE")
    return name.strip(), value.strip() if mark == ":" else value


def _known(name: str, names: Collection[str]) -> None:
    from difflib import get_close_matches

    from interlock.cli.errors import Usage

    if name not in names:
        near = get_close_matches(name, list(names), 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(names))}"
        raise Usage(f"there is no {name[:60]!r}; {hint}")


def _host(url: str) -> str:
    from interlock import plane
    from interlock.cli.errors import Usage

    try:
        return plane.parse_url(url).host_port
    except ValueError as error:
        raise Usage(f"{url[:200]}: {error}") from error


def _exit_code(receipt: "plane.Receipt") -> int:
    """The command's own exit code, as a shell would tell it."""
    import signal

    code, name = receipt.facts.get("exit_code"), receipt.facts.get("signal")
    if isinstance(name, str):
        number = name.removeprefix("SIG")
        return 128 + (int(number) if number.isdecimal() else signal.Signals[name].value)
    assert isinstance(code, int)
    return code
