"""`interlock keys`: what everything secret in a store is sealed under."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from interlock.cli.frame import command, group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock import app
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    keeping = group(tree, "keys", "The keys that secrets are sealed under. They are the operator's, over all tenants.")
    command(keeping, "init")(init)
    command(keeping, "list")(list_keys)
    command(keeping, "status")(status)
    command(keeping, "rotate")(rotate)


def init(
    _: "Desk",
    file: Annotated[str | None, typer.Option(metavar="FILE", help="Where to; a file that is there stays.")] = None,
) -> "Answer":
    """Make a root key.

    It goes into a file that only you can read: the one of this machine, which Interlock finds by itself, or the one that you
    name, for INTERLOCK_KEY_FILE. Keep a copy away from the store and its backups: without it, nobody opens what it sealed.

    Example:
      interlock keys init --file ~/interlock.key
    """
    from interlock import app
    from interlock.cli.desk import Answer

    root, made = app.make_root_key(None if file is None else Path(file).absolute())

    def show(paper: "Paper") -> None:
        paper.line(f"{'Made' if made else 'It is there already:'} {root.root_id} in {root.source}")
        if file is not None:
            paper.line(f"  next: export INTERLOCK_KEY_FILE={root.source}")

    return Answer(document={"root_id": root.root_id, "file": root.source, "made": made}, show=show)


async def list_keys(desk: "Desk") -> "Answer":
    """List the keys of the store, newest first.

    A data key is active, retiring (something is sealed under it still) or retired (nothing is). A retired signing key signs
    nothing more; what it signed verifies. With --tenant only that tenant's are listed. No root key is needed.

    Example:
      interlock keys list
    """
    from interlock import app
    from interlock.cli.desk import Answer
    from interlock.cli.text import moment
    from interlock.kernel import document

    async with app.open_keychain(desk.kept(desk.settings())) as chain:
        found = await chain.list(tenant=desk.options.tenant)

    def show(paper: "Paper") -> None:
        rows = [
            (each.key_id, each.tenant_id, each.purpose, paper.state(each.state.value), str(each.sealed), moment(each.created_at))
            for each in found
        ]  # fmt: skip
        paper.table(("key", "tenant", "purpose", "state", "seals", "made"), rows)

    return Answer(document={"keys": document(list(found))}, show=show)


async def status(desk: "Desk") -> "Answer":
    """Show how keys stand.

    Which root key the store needs and which one is here, what is sealed under older keys, and rotations that were interrupted.
    Without the root key it shows what it can; the exit code is then 2.

    Example:
      interlock keys status
    """
    from interlock import app
    from interlock.cli.complaint import exit_code
    from interlock.cli.desk import Answer
    from interlock.kernel import document

    async with app.open_keychain(desk.kept(desk.settings())) as chain:
        found = await chain.status(tenant=desk.options.tenant)
    sealed: dict[str, int] = {}
    for key in found.keys:
        sealed[key.state.value] = sealed.get(key.state.value, 0) + key.sealed
    error = found.refusal
    return Answer(
        document={
            "needed": found.needed,
            "root": document(found.root),
            "former": document(list(found.former)),
            "sealed": document(sealed),
            "rotations": document(list(found.rotations)),
            "error": None if error is None else error.to_json(),
        },
        show=lambda paper: _show_status(paper, found, sealed),
        exit_code=0 if error is None else exit_code(error),
        error=error,
    )


_LEAVES: Final = (
    "What was done before stays done, and everything opens as before: `interlock keys status` shows how far it has come, and the "
    "same command goes on there."
)


async def rotate(
    desk: "Desk",
    purpose: Annotated[
        Literal["data", "signing"], typer.Option(metavar="NAME", help="Which keys: data or signing.")
    ] = "data",
    *,
    root: Annotated[bool, typer.Option("--root", help="Wrap all keys under another root key.")] = False,
) -> "Answer":
    """Replace keys, while they are used.

    Each tenant (or the one of --tenant) gets a new data key, and what older keys sealed is sealed anew under it, in batches.
    Nothing has to stop meanwhile. If it is interrupted or killed, the same command goes on where it was, from any machine.

    --purpose signing makes a new signing key: hand out the trust file again. --root wraps all keys under the root key that is
    set, and needs the one before in INTERLOCK_KEY_PREVIOUS or INTERLOCK_KEY_PREVIOUS_FILE.

    Example:
      interlock keys rotate
    """
    from interlock import app
    from interlock.cli.errors import Usage

    if root and purpose != "data":
        raise Usage("--root and --purpose do not go together: the root key has no purpose of its own")
    async with app.open_keychain(desk.kept(desk.settings())) as chain:
        desk.leaves = _LEAVES
        if root:
            return _rewrapped(await chain.rotate_root(), await chain.status())
        if purpose == "signing":
            return _signing(await chain.rotate_signing())
        return _rotated(await _follow(chain, desk.options.tenant))


async def _follow(chain: "app.Keychain", tenant: str | None) -> "Sequence[app.Rotation]":
    """Carry rotations to their ends, and say now and then how far they have come."""
    from interlock.kernel import PROGRESS

    progress = logging.getLogger(PROGRESS)
    last: dict[str, app.Rotation] = {}
    told = ("", -1)
    async for step in chain.rotate(tenant=tenant):
        last[step.rotation_id] = step
        share = 100 * step.resealed // step.total if step.total else 100
        if (now := (step.rotation_id, share // 5)) != told:
            told = now
            progress.info("%s: %s of %s secrets sealed anew", step.tenant_id, step.resealed, step.total)
    return list(last.values())


def _rotated(ended: "Sequence[app.Rotation]") -> "Answer":
    from interlock.cli.desk import Answer
    from interlock.kernel import document

    def show(paper: "Paper") -> None:
        if not ended:
            paper.line("There is no data key yet: one is made with the first connection.")
            return
        rows = [(each.tenant_id, each.to_key_id, str(each.resealed), str(each.unopened)) for each in ended]
        paper.table(("tenant", "new key", "sealed anew", "unopened"), rows)
        if any(each.unopened for each in ended):
            paper.line("What does not open was altered, or its key is gone: connect those services again.")

    return Answer(document={"rotations": document(list(ended))}, show=show)


def _signing(key_id: str) -> "Answer":
    from interlock.cli.desk import Answer

    def show(paper: "Paper") -> None:
        paper.line(f"{key_id} signs from now on; processes that are running follow within half a minute.")
        paper.line("  next: interlock review trust -o trust.json --force, and hand it to whoever verifies")

    return Answer(document={"signing_key_id": key_id}, show=show)


def _rewrapped(count: int, found: "app.KeyStatus") -> "Answer":
    from interlock.cli.desk import Answer

    def show(paper: "Paper") -> None:
        paper.line(
            f"{count} keys went over to {found.needed}." if count else f"All keys are under {found.needed} already."
        )
        paper.line("  next: take INTERLOCK_KEY_PREVIOUS away once every process has the new key")

    return Answer(document={"rewrapped": count, "root_id": found.needed}, show=show)


def _show_status(paper: "Paper", found: "app.KeyStatus", sealed: dict[str, int]) -> None:
    paper.fields(
        [
            ("store needs", found.needed or "no root key yet"),
            ("root key", None if found.root is None else f"{found.root.root_id} from {found.root.source}"),
            *(("previous", f"{each.root_id} from {each.source}") for each in found.former),
            ("secrets", ", ".join(f"{rows} under {state} keys" for state, rows in sealed.items() if rows) or "none"),
        ]
    )
    for each in found.rotations:
        paper.line(
            f"The rotation of {each.tenant_id} is not finished: {each.resealed} of {each.total} secrets are under "
            f"{each.to_key_id}."
        )
        paper.line("  next: interlock keys rotate")
    if found.refusal is None and found.root is not None and found.needed not in {None, found.root.root_id}:
        paper.line("The store is under the previous root key.")
        paper.line("  next: interlock keys rotate --root")
