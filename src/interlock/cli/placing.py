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
    from interlock.cli.ending import Ending
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
    ending: "Ending",
    secrets: "Mapping[str, Secret] | None" = None,
    evidence: Path | None = None,
) -> "AsyncGenerator[Place]":
    """The plane at that placement, with a target for processes of that class, secrets for them, and a folder for evidence.
    Raises Usage, and EffectFailed if it is not there within the time of the `ending`."""
    import anyio

    from interlock.cli.errors import Usage

    given = None if identity is None or os.environ.get("INTERLOCK_IDENTITY") == str(identity) else identity
    if given is not None and not (placement or "").startswith("https://"):
        raise Usage("--identity is for a node: name it with --placement https://HOST:PORT")
    if (placement or "").startswith("https://"):
        if secrets:
            raise Usage(
                "--secret: a node redeems secrets by itself, and takes none; bring them to a place or keep them here"
            )
        if evidence is not None:
            raise Usage("--evidence: a node keeps its own (`node serve --evidence`); --receipt keeps what it proves")
    with anyio.CancelScope(deadline=ending.ends) as opening:
        async with _opened(desk, placement, identity, target_class, secrets, evidence) as place:
            opening.deadline = math.inf
            yield place
    if opening.cancelled_caught:
        what = f"{target_class} was not ready" if placement is None else f"{placement} was not reached"
        raise ending.late(f": {what}, and nothing was begun there")


@asynccontextmanager
async def _opened(
    desk: "Desk",
    placement: str | None,
    identity: Path | None,
    target_class: str,
    secrets: "Mapping[str, Secret] | None",
    evidence: Path | None,
) -> "AsyncGenerator[Place]":
    from interlock import app

    if placement is not None and placement.startswith("https://"):
        async with open_node(desk, placement, identity) as remote:
            yield remote
        return
    settings = desk.settings()
    placed = None if placement is None else app.find_placed(settings, placement)
    async with (
        app.open_evidence(evidence) as sinks,
        app.open_local_plane(
            egress_allow=settings.execution.egress_allow,
            sandboxes=[target_class] if placed is None else (),
            placed=placed,
            secrets=secrets,
            sinks=sinks,
        ) as local,
    ):
        yield local


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
