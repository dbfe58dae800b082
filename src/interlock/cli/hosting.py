"""`interlock serve`: the HTTP API, and pages on which people elsewhere connect accounts."""

import logging
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from interlock.cli import serving, standing, streams
from interlock.cli.frame import command

if TYPE_CHECKING:
    from interlock import connections, server
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
    host: Annotated[
        list[str] | None, typer.Option(metavar="HOST:PORT", help="A further name by which clients speak to it.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its certificate (PEM): it then speaks TLS.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="The certificate's key (PEM).")] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="Listen beyond this machine without TLS: a proxy in front has it.")
    ] = False,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Leave what is due to `interlock worker`.")] = False,
    wait_for_store: standing.WaitForStore = standing.WAIT,
) -> None:
    """Answer the HTTP API, show the pages on which people connect accounts, and do what is due, until SIGTERM or Ctrl-C.

    The API is below `/v1`, for whoever has a token of `interlock tokens create`. The pages are for whoever has a link of
    `interlock connect CONNECTOR --link`. People, the services that send them back, and those that report by webhooks on
    the addresses that `interlock routes create` gives, reach them at `connect.url` of the settings. Beyond this machine it
    listens with --tls-cert and --tls-key, or --behind-proxy. `/healthz` answers 204 while all is well.
    Meanwhile it works as `interlock worker` does, unless told otherwise, renews what connections hold, and says on stderr which
    of them break, and which serve again.

    Example:
      interlock serve --bind 127.0.0.1:8412
    """
    import anyio

    from interlock import server

    tls = _tls(tls_cert, tls_key)
    url = desk.settings().connect.url
    address, port = serving.parse_bind(bind or _place(url, is_secure=tls is not None))
    _check_reach(address, tls, behind_proxy=behind_proxy)

    def make(found: int) -> server.Front:
        nonlocal port
        port = found
        return server.open_front(il, origin=url, host=address, port=found, names=host or ())

    async with (
        standing.standing() as stand,
        standing.opened(desk, wait_for_store, on_connection_event=_tell) as il,
        anyio.create_task_group() as tasks,
    ):
        if not no_worker:
            tasks.start_soon(il.worker().run)
        async with server.serve_pages(make, host=address, port=port, tls=tls):
            _announce(desk, url, f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
            await stand.told()
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


def _tls(cert: Path | None, key: Path | None) -> "server.Tls | None":
    import ssl

    from interlock import server
    from interlock.cli.errors import Usage

    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise Usage("--tls-cert and --tls-key go together")
    # Some services that report by webhooks know no newer one.
    return server.Tls(cert=cert, key=key, client_must_show=False, oldest=ssl.TLSVersion.TLSv1_2)


def _check_reach(address: str, tls: "server.Tls | None", *, behind_proxy: bool) -> None:
    """Raises Usage where tokens and sessions would go over a network in the clear."""
    from interlock import server
    from interlock.cli.errors import Usage

    if tls is None and not behind_proxy and not server.is_loopback(address):
        raise Usage(
            f"{address} is reached from other machines, and tokens would go there in the clear",
            next_step="Give --tls-cert and --tls-key; or --behind-proxy if a proxy in front speaks TLS.",
        )


def _place(url: str, *, is_secure: bool) -> str:
    """Where the server of that address is to listen, if it is on this machine. Raises Usage."""
    from interlock.cli.errors import Usage

    parts = urlsplit(url)
    if parts.scheme == "https" and not is_secure:
        raise Usage(f"{url} is what a proxy serves: name where to listen behind it with --bind ADDRESS:PORT")
    return f"{parts.hostname}:{parts.port or (443 if is_secure else 80)}"


def _announce(desk: "Desk", url: str, place: str) -> None:
    import json

    out = streams.answers()
    told = {"url": url} if urlsplit(url).netloc == place else {"url": url, "listening": place}
    line = url + (f" (listening on {place})" if "listening" in told else "")
    out.write((json.dumps(told) if desk.options.as_json else line) + "\n")
    out.flush()
