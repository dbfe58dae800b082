"""Where an execution is carried out: in this process, or on a node that an address leads to."""

import math
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from interlock import app
    from interlock.cli.desk import Desk
    from interlock.kernel import Secret

    Place: TypeAlias = "app.LocalPlane | app.RemotePlane"

Placement = Annotated[
    str | None, typer.Option(metavar="URL", help="Elsewhere: https://HOST:PORT of a node, or a place of the settings.")
]
Identity = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="The keys for that node: `interlock node init`.", envvar="INTERLOCK_IDENTITY"),
]


def class_of_place(desk: "Desk", placement: str | None, sandbox: str | None) -> str:
    """The class of the targets where it is to be carried out. Raises Usage, UnknownPlace."""
    from interlock import app, plane
    from interlock.cli import asking
    from interlock.cli.errors import Usage

    if placement is None or placement.startswith("https://"):
        asking.known(sandbox or plane.LOCAL_PROCESS, plane.CLASSES)
        if sandbox in plane.PLACED:
            raise Usage(f"--sandbox {sandbox} is somewhere else: name it with --placement")
        return sandbox or plane.LOCAL_PROCESS
    try:
        plane.parse_place(placement)
    except ValueError as error:
        raise Usage(f"--placement {placement[:60]!r}: write https://HOST:PORT of a node; or {error}") from error
    if sandbox is not None:
        raise Usage("--sandbox and --placement go together for nodes only: a host or a guest confines nothing for us")
    return app.find_placed(desk.settings(), placement).target_class


@asynccontextmanager
async def open_place(
    desk: "Desk",
    placement: str | None,
    identity: Path | None,
    *,
    target_class: str,
    seconds: float,
    secrets: "Mapping[str, Secret] | None" = None,
) -> "AsyncGenerator[Place]":
    """The plane at that placement, with a target for processes of that class, and secrets for them. Raises Usage, and
    EffectFailed if a host or a guest is not reached within so many `seconds`."""
    import anyio

    from interlock import app, plane
    from interlock.cli.errors import Usage

    given = None if identity is None or os.environ.get("INTERLOCK_IDENTITY") == str(identity) else identity
    if given is not None and not (placement or "").startswith("https://"):
        raise Usage("--identity is for a node: name it with --placement https://HOST:PORT")
    if placement is None:
        allow = desk.settings().execution.egress_allow
        async with app.open_local_plane(egress_allow=allow, sandboxes=[target_class], secrets=secrets) as local:
            yield local
    elif placement.startswith("https://"):
        if secrets:
            raise Usage(
                "--secret: a node redeems secrets by itself, and takes none; bring them to a place or keep them here"
            )
        async with open_node(desk, placement, identity) as remote:
            yield remote
    else:
        placed = app.find_placed(desk.settings(), placement)
        with anyio.move_on_after(seconds) as opening:
            async with app.open_local_plane(placed=placed, secrets=secrets) as local:
                opening.deadline = math.inf
                yield local
        if opening.cancelled_caught:
            message = f"{placement} was not reached within {seconds:g} seconds; nothing was begun there"
            raise plane.EffectFailed.of(plane.Failure.of(plane.FailureClass.TOTAL_TIMEOUT, message))


@asynccontextmanager
async def open_node(desk: "Desk", url: str, identity: Path | None) -> "AsyncGenerator[app.RemotePlane]":
    """The node at an https URL."""
    from interlock import app, plane
    from interlock.cli.errors import Usage

    try:
        parsed = plane.parse_base(url)
    except ValueError as error:
        raise Usage(f"{url[:200]}: {error}") from error
    if parsed.scheme != "https" or parsed.target:
        raise Usage(f"{url[:200]}: a node's address is https://HOST:PORT")
    if identity is None:
        raise Usage("--identity is missing: the folder with the keys for that node (`interlock node init` makes them)")
    allow = desk.settings().execution.egress_allow
    async with app.open_remote_plane(url, identity=identity, egress_allow=allow) as remote:
        yield remote
