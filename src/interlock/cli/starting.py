"""`interlock init`: settings, policy, key and store for a folder."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from interlock.cli.frame import command

if TYPE_CHECKING:
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper

TRUST_FILE = Path(".interlock") / "trust.json"


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    command(tree, "init")(init)


async def init(desk: "Desk") -> "Answer":
    """Set Interlock up in this folder.

    It writes a commented interlock.toml, and makes a store, a key and a trust file. The key is made for this user and this
    machine, away from the store. Settings and a store that are there are left as they are: in a folder with settings but
    without a store (a fresh clone), only the rest is made.

    Example:
      interlock init && interlock doctor
    """
    from interlock import app
    from interlock.cli import files, template
    from interlock.cli.desk import Answer
    from interlock.cli.errors import AlreadyInitialised

    path, kept = _place(desk.options.config or app.FILE_NAME)
    text = template.settings(store=desk.options.store)
    file = app.read_file(path) if kept else app.parse_file(path, text)
    settings = desk.kept(app.load(file, desk.flags))
    if kept and app.has_store(settings):
        raise AlreadyInitialised(f"{path} and its store are there already")
    async with app.Interlock.open(settings=settings, file=file, create=True, background=False) as il:
        keys = await il.trust()
    trust = path.parent / TRUST_FILE
    files.make_folder(trust.parent)
    files.write(str(trust), keys + b"\n", "trust file", force=True)  # of a store that is gone, if it is there
    if not kept:  # last: it stands for a folder that is set up
        files.write(str(path), text.encode(), "settings file")
    store = app.show_store(settings)
    document = {"settings": str(path), "store": store, "trust": str(trust)}
    return Answer(document=document, show=lambda paper: _show(paper, path, store, trust))


def _place(name: str) -> tuple[Path, bool]:
    """Where the settings file is or goes, and whether it is there. Raises FileRefused."""
    from interlock.cli import files

    path = Path(name).absolute()
    files.require_folder(path, "settings file")
    return path, path.exists()


def _show(paper: "Paper", path: Path, store: str, trust: Path) -> None:
    from interlock.cli.paper import Ink

    paper.line(Ink("Interlock is set up.", "strong"))
    paper.fields(
        [
            ("settings", f"{path}  policy is in there: read it"),
            ("store", store),
            ("trust file", f"{trust}  give it to whoever verifies your packets"),
        ]
    )
    paper.heading("Next")
    for step in (
        "interlock doctor",
        "interlock connect github --token-env GITHUB_TOKEN",
        "interlock capabilities list",
        "interlock invoke github.repo.fetch repo=octocat/hello-world",
    ):
        paper.line(" ", Ink(step, "code"))
