"""`interlock worker`: does what was left for later."""

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import standing, streams
from interlock.cli.frame import command

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from interlock import app, dispatch
    from interlock.cli.desk import Desk


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    command(tree, "worker")(worker)


async def worker(
    desk: "Desk",
    *,
    at_once: Annotated[int, typer.Option(min=1, max=1000, help="How many pieces of work side by side.")] = 16,
    health: Annotated[
        str | None, typer.Option(metavar="ADDRESS:PORT", help="Answer /livez, /readyz and /metrics there.")
    ] = None,
    wait_for_store: standing.WaitForStore = standing.WAIT,
) -> None:
    """Do what is due, of every tenant, until SIGTERM or Ctrl-C: then what is begun ends, or is handed to another worker.

    It carries out calls that were left for later, and calls the handlers of the modules that `[app] modules` names. Any number
    may work on one store, on Postgres from many machines. `interlock serve` works, too, unless told otherwise.
    A store that is away at the start is waited for (--wait-for-store), and one that goes later for as long as that takes.

    Example:
      interlock worker --at-once 32
    """
    from functools import partial

    import anyio

    async with (
        standing.standing() as stand,
        standing.opened(desk, wait_for_store) as il,
        anyio.create_task_group() as tasks,
    ):
        made = il.worker()
        async with _answering(il, health):
            tasks.start_soon(partial(made.run, at_once=at_once))
            _announce(desk, made, at_once)
            await stand.told()
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def _answering(il: "app.Interlock", bind: str | None) -> "AsyncGenerator[None]":
    """Tell whoever watches how it is, if they are to know."""
    if bind is None:
        yield
        return
    from interlock import server
    from interlock.cli.serving import parse_bind

    host, port = parse_bind(bind)
    async with server.serve_pages(lambda _: server.Health(il), host=host, port=port):
        yield


def _announce(desk: "Desk", made: "dispatch.Worker", at_once: int) -> None:
    import json

    lanes = sorted(made.lanes)
    line = json.dumps({"lanes": lanes, "at_once": at_once}) if desk.options.as_json else f"working: {', '.join(lanes)}"
    out = streams.answers()
    out.write(f"{line}\n")
    out.flush()
