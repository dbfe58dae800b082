"""`interlock plane`: the execution plane by itself, for commands and requests that are nobody's capability."""

import os
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from interlock.cli import aside, asking, conversing, proving, securing
from interlock.cli.ending import Ending
from interlock.cli.frame import command, group
from interlock.cli.placing import Identity, Placement, class_of_place, open_place

if TYPE_CHECKING:
    from interlock import app, plane
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper
    from interlock.cli.placing import Place
    from interlock.kernel import InterlockError

TIMED_OUT, NOT_DONE, NOT_RUNNABLE, NOT_FOUND = range(124, 128)
"""Exit codes: the time was up; the plane did not do it; the command cannot be run; it is not there."""


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    plane = group(tree, "plane", "The execution plane by itself: commands and requests, run once, with a receipt.")
    command(plane, "run")(run)
    command(plane, "http")(http)
    command(plane, "ws")(ws)
    command(plane, "targets")(proving.targets)
    command(plane, "verify")(proving.verify)
    command(plane, "schemas")(schemas)
    command(plane, "guest-agent")(guest_agent)


Seconds = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=0.001, max=3600, help="For all of it, from the start.")
]
Sandbox = Annotated[str | None, typer.Option(metavar="CLASS", help="Where it runs: `interlock plane targets`.")]
Hosts = Annotated[list[str] | None, typer.Option(metavar="HOST:PORT", help="It may reach this host (in a sandbox).")]
Memory = Annotated[str | None, typer.Option(metavar="SIZE", help="Memory of all its processes together: 512M, 2G.")]
AddressSpace = Annotated[str | None, typer.Option(metavar="SIZE", help="Address space of each process.")]
FileSize = Annotated[str | None, typer.Option(metavar="SIZE", help="The largest file that it may write.")]
Processes = Annotated[int | None, typer.Option(metavar="N", help="Processes and threads, all together.")]
Files = Annotated[int | None, typer.Option(metavar="N", help="Open files of each process.")]
Cpu = Annotated[int | None, typer.Option(metavar="SECONDS", help="Processor time of each process.")]
Variables = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A variable; there are no others.")]
Secrets = Annotated[
    list[str] | None, typer.Option(metavar="NAME[=FILE]", help="A secret variable: your own, or what is in a file.")
]
Output = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="A new file for what comes out, byte by byte.")
]
ReceiptFile = Annotated[str | None, typer.Option("--receipt", metavar="FILE", help="A new file for the receipt.")]
Evidence = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Keep evidence there; nothing is done if it cannot be kept.")
]
Headers = Annotated[list[str] | None, typer.Option("--header", "-H", metavar="NAME:VALUE", help="One more header.")]


async def run(
    desk: "Desk",
    *,
    argv: Annotated[list[str], typer.Argument(metavar="COMMAND", help="The command and its arguments, after `--`.")],
    sandbox: Sandbox = None,
    read: Annotated[list[str] | None, typer.Option(metavar="PATH", help="It may read this (in a sandbox).")] = None,
    write: Annotated[list[str] | None, typer.Option(metavar="PATH", help="It may write this, too.")] = None,
    host: Hosts = None,
    memory: Memory = None,
    processes: Processes = None,
    cpu: Cpu = None,
    files: Files = None,
    file_size: FileSize = None,
    address_space: AddressSpace = None,
    env: Variables = None,
    secret: Secrets = None,
    cwd: Annotated[str | None, typer.Option(metavar="PATH", help="Where it starts; here, or / elsewhere.")] = None,
    tty: Annotated[bool, typer.Option("--tty", help="Give it a terminal.")] = False,
    placement: Placement = None,
    identity: Identity = None,
    output: Output = None,
    receipt: ReceiptFile = None,
    evidence: Evidence = None,
    seconds: Seconds = 60.0,
) -> "Answer":
    """Run a command under limits, and pass on its output and its exit code.

    Its environment is empty unless you list variables; `--secret TOKEN` hands on one of yours, and `--secret TOKEN=FILE` what
    is in a file. In a sandbox it reads and writes only the paths that you list, and reaches only the hosts that you list.
    Limits hold in a sandbox and without one; one that cannot be held where it is to run is refused.
    A placement is a node (https://HOST:PORT), or a host or guest of `execution.places` in the settings
    (ssh://user@host:port, guest+unix:///path, guest://host:port).

    Example:
      interlock plane run --sandbox local-landlock --read /usr --read /lib --read /lib64 -- /usr/bin/id
    """
    from interlock.cli.errors import Usage

    ending = Ending(receipt, seconds=seconds)
    if tty and not sys.stdin.isatty():
        raise Usage("--tty: stdin is no terminal")
    here = placement is None
    where = class_of_place(desk, placement, sandbox)
    profile = asking.profile(sandbox, read=read or (), write=write or (), hosts=host or (), here=here)
    home = os.getcwd() if profile is None and here else "/"
    asked: dict[str, object] = {
        "argv": tuple(argv),
        "cwd": home if cwd is None else asking.place(cwd, "--cwd", here=here),
        "env": tuple(asking.pair(each, "=", "--env") for each in env or ()),
        "sandbox": profile,
        "limits": asking.limits(
            memory=memory, processes=processes, cpu=cpu, files=files, file_size=file_size, address_space=address_space
        ),
    }
    secrets = asking.secrets(secret or ())
    opening = open_place(
        desk, placement, identity, target_class=where, ending=ending, secrets=secrets, evidence=evidence
    )
    with _kept(desk, output, receipt) as shown:
        await _run(opening, asked, where, shown, ending, tty=tty)
    return _answer(shown, ending, own=_own_code(ending.receipt))


async def _run(
    opening: "AbstractAsyncContextManager[Place]",
    asked: dict[str, object],
    where: str,
    shown: conversing.Shown,
    ending: Ending,
    *,
    tty: bool,
) -> None:
    from interlock import plane

    async with ending, opening as local:
        intent = asking.made(
            plane.ProcessIntent,
            **local.identity(seconds=ending.left),
            **asked,
            secrets=local.secrets,
            interactive=True,
            terminal=conversing.terminal_size() if tty else None,
            max_ms=ending.left_ms,
            max_output_bytes=2**40,
        )
        with aside.raw_terminal() if tty else nullcontext():
            feed = conversing.bytes_of_stdin
            await conversing.carry_out(local, intent, where, shown, ending, feed=feed, tty=tty)


async def http(
    desk: "Desk",
    *,
    method: Annotated[str, typer.Argument(metavar="METHOD", help="GET, POST, …")],
    url: Annotated[str, typer.Argument(metavar="URL", help="Where to.")],
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
    output: Output = None,
    receipt: ReceiptFile = None,
    evidence: Evidence = None,
    seconds: Seconds = 60.0,
) -> "Answer":
    """Send one HTTP request and pass on its answer.

    Nothing is repeated and no redirect leads to another host. Private addresses have to be allowed:
    `execution.egress_allow` in the settings. The exit code is 1 for the statuses 400 and above.

    Example:
      interlock plane http GET https://api.github.com/zen
    """
    from interlock import plane
    from interlock.cli import files

    ending = Ending(receipt, seconds=seconds)
    address, target = asking.url(url, ("http", "https"))
    tls = securing.read_tls(cacert=cacert, cert=cert, key=key, tls_min=tls_min, server_name=server_name)
    body = b"" if data is None else files.read(data, "body")
    with _kept(desk, output, receipt) as shown:
        async with ending, _open(desk, tls, evidence) as local:
            intent = asking.made(
                plane.HttpIntent,
                **local.identity(seconds=ending.left),
                method=method.upper(),
                url=address,
                headers=tuple(asking.pair(each, ":", "--header") for each in header or ()),
                body=body,
                allowed_hosts=(target.host_port,),
                timeouts=plane.Timeouts(total_ms=ending.left_ms),
                response_mode="stream",
                max_response_bytes=2**31,
                http_versions=_versions(target, http2=http2),
                tls=tls.options or None,
                credentials=tls.credentials,
            )
            await conversing.carry_out(local, intent, plane.LOCAL_HTTP, shown, ending)
    status = 0 if ending.receipt is None else ending.receipt.status or 0
    refused = ending.error is None and status >= 400
    if status and (desk.options.verbose or (refused and not desk.options.as_json)):
        sys.stderr.write(f"status {status}\n")
    return _answer(shown, ending, own=int(refused))


async def ws(
    desk: "Desk",
    *,
    url: Annotated[str, typer.Argument(metavar="URL", help="ws:// or wss://")],
    header: Headers = None,
    subprotocol: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Offer it; best first.")] = None,
    cacert: securing.Authorities = None,
    cert: securing.Certificate = None,
    key: securing.Key = None,
    tls_min: securing.Minimum = None,
    server_name: securing.ServerName = None,
    expect: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Close after so many messages, and not before.")
    ] = None,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, max=3600, help="Close when none has come for so long.")
    ] = 2.0,
    output: Output = None,
    receipt: ReceiptFile = None,
    evidence: Evidence = None,
    seconds: Seconds = 3600.0,
) -> "Answer":
    """Speak over a WebSocket: lines of stdin go out as messages, messages come in as lines.

    At the end of stdin it goes on listening: for --expect messages, or until the peer was silent for --wait seconds.

    Example:
      interlock plane ws wss://echo.example.com --expect 1 < question.txt
    """
    from interlock import plane

    ending = Ending(receipt, seconds=seconds)
    address, target = asking.url(url, ("ws", "wss"))
    tls = securing.read_tls(cacert=cacert, cert=cert, key=key, tls_min=tls_min, server_name=server_name)
    patience = conversing.Patience(expect=expect, quiet=wait)
    with _kept(desk, output, receipt, end=b"\n") as shown:
        async with ending, _open(desk, tls, evidence) as local:
            intent = asking.made(
                plane.WebSocketIntent,
                **local.identity(seconds=ending.left),
                url=address,
                headers=tuple(asking.pair(each, ":", "--header") for each in header or ()),
                subprotocols=tuple(subprotocol or ()),
                allowed_hosts=(target.host_port,),
                timeouts=plane.WebSocketTimeouts(total_ms=ending.left_ms),
                tls=tls.options or None,
                credentials=tls.credentials,
            )
            lines = conversing.lines_of_stdin
            await conversing.carry_out(local, intent, plane.LOCAL_HTTP, shown, ending, feed=lines, patience=patience)
    if ending.error is None and expect is not None and patience.heard < expect:
        sys.stderr.write(f"the peer closed after {patience.heard} of {expect} messages\n")
        return _answer(shown, ending, own=1)
    return _answer(shown, ending)


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
    asking.known(name, short)
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


@asynccontextmanager
async def _open(desk: "Desk", tls: securing.Tls, evidence: Path | None) -> "AsyncGenerator[app.LocalPlane]":
    from interlock import app

    allow = desk.settings().execution.egress_allow
    async with (
        app.open_evidence(evidence) as sinks,
        app.open_local_plane(egress_allow=allow, credentials=tls, sinks=sinks) as local,
    ):
        yield local


def _versions(target: "plane.Url", *, http2: bool) -> "tuple[Literal['1.1', '2'], ...]":
    from interlock import plane

    if not http2:
        return plane.HTTP_1_1
    return ("2",) if target.scheme == "http" else ("1.1", "2")


@contextmanager
def _kept(
    desk: "Desk", output: str | None, receipt_file: str | None, *, end: bytes = b""
) -> Generator[conversing.Shown]:
    """Where output goes. What could not be kept afterwards is refused before anything is done."""
    from interlock.cli import files

    if receipt_file is not None:
        files.require_new(receipt_file, "receipt")
    with nullcontext() if output is None else files.new(output, "output") as file:
        yield conversing.Shown(live=not desk.options.as_json, end=end, file=file)


def _answer(shown: conversing.Shown, ending: Ending, *, own: int = 0) -> "Answer":
    """What a command says by its own end is an answer, and all else that went wrong an error."""
    from interlock.cli.desk import Answer

    code = own if ending.error is None else _code_of(ending.error)
    return Answer(document=shown.document(ending), show=lambda _: None, exit_code=code, error=ending.error)


def _code_of(error: "InterlockError") -> int:
    """As `env`, `timeout` and their like have it, so that nobody takes our trouble for the command's own end."""
    match error.details:
        case {"failure_class": "total_timeout" | "deadline_passed"}:
            return TIMED_OUT
        case {"failure_code": "command_not_found"}:
            return NOT_FOUND
        case {"failure_class": "launch_failed"}:
            return NOT_RUNNABLE
        case _:
            return NOT_DONE


def _own_code(receipt: "plane.Receipt | None") -> int:
    """The command's own exit code, as a shell would tell it."""
    import signal

    facts = {} if receipt is None else receipt.facts
    code, name = facts.get("exit_code"), facts.get("signal")
    if isinstance(name, str):
        number = name.removeprefix("SIG")
        return 128 + (int(number) if number.isdecimal() else signal.Signals[name].value)
    return code if isinstance(code, int) else 0
