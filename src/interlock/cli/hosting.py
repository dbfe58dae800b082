"""`interlock serve`: pages on which people elsewhere connect accounts."""

import logging
import shlex
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from interlock.cli import serving, streams
from interlock.cli.frame import command

if TYPE_CHECKING:
    from interlock import connections
    from interlock.cli.desk import Desk

_log = logging.getLogger(__name__)


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    command(tree, "serve")(serve)


async def serve(
    desk: "Desk",
    *,
    bind: Annotated[
        str | None, typer.Option(metavar="ADDRESS:PORT", help="Where to listen, if not at `connect.url`.")
    ] = None,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Leave what is due to `interlock worker`.")] = False,
) -> None:
    """Show the pages on which people connect accounts, and do what is due, until SIGTERM or Ctrl-C.

    They are for whoever has a link of `interlock connect CONNECTOR --link`. People, and the services that send them back, reach
    the server at `connect.url` of the settings: put a proxy with a certificate there. `/healthz` answers 204 while all is well.
    Meanwhile it works as `interlock worker` does, unless told otherwise, renews what connections hold, and says on stderr which
    of them break, and which serve again.

    Example:
      interlock serve --bind 127.0.0.1:8412
    """
    import signal

    import anyio

    from interlock import server

    url = desk.settings().connect.url
    host, port = serving.parse_bind(bind or _place(url))

    def make(found: int) -> server.ConnectPages:
        nonlocal port
        port = found
        return server.ConnectPages(il, origin=url)

    async with desk.open(acting=True, on_connection_event=_tell) as il, anyio.create_task_group() as tasks:
        if not no_worker:
            tasks.start_soon(il.worker().run)
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with server.serve_pages(make, host=host, port=port):
                _announce(desk, url, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
                await anext(aiter(signals))
        tasks.cancel_scope.cancel()


async def _tell(event: "connections.ConnectionEvent") -> None:
    """For who looks after the server: what a person has to mend, and what is mended."""
    from interlock import connections

    about = f"connection {event.connection_id} of {event.tenant_id}"
    if event.type in (connections.Happening.DEGRADED, connections.Happening.REAUTH_REQUIRED):
        see = f"`interlock connections show {event.connection_id} --tenant {shlex.quote(event.tenant_id)}` says more"
        _log.warning("%s is %s (%s): %s", about, event.type.value, event.record()["reason"], see)
    elif event.type is connections.Happening.RECOVERED:
        _log.warning("%s serves again", about)


def _place(url: str) -> str:
    """Where the server of that address is to listen, if it is on this machine. Raises Usage."""
    from interlock.cli.errors import Usage

    parts = urlsplit(url)
    if parts.scheme == "https":
        raise Usage(f"{url} is what a proxy serves: name where to listen behind it with --bind ADDRESS:PORT")
    return f"{parts.hostname}:{parts.port or 80}"


def _announce(desk: "Desk", url: str, place: str) -> None:
    import json

    out = streams.answers()
    told = {"url": url} if urlsplit(url).netloc == place else {"url": url, "listening": place}
    line = url + (f" (listening on {place})" if "listening" in told else "")
    out.write((json.dumps(told) if desk.options.as_json else line) + "\n")
    out.flush()
