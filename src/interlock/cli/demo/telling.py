"""The demo from its first line to its last, and the service alone."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from interlock.cli.paper import Paper

if TYPE_CHECKING:
    from interlock.cli.demo.folder import Folder
    from interlock.cli.demo.page import Page
    from interlock.cli.demo.stage import Stage
    from interlock.cli.desk import Answer
    from interlock.kernel import JSON, InterlockError

FOLDER: Final = ".interlock-demo"


def tell(*, folder: Path | None = None, paper: Paper | None = None) -> "Answer":
    """Tell the story, on paper as it goes on; the answer is the whole of it, with exit code 1 if anything in it is not as
    claimed. Raises FolderTaken."""
    from interlock.cli.demo.folder import LOGIN, REPO, TOKEN, Folder
    from interlock.cli.demo.page import Page
    from interlock.cli.demo.stage import Stage
    from interlock.kernel import InterlockError
    from interlock.testing import github

    place, page = Folder.at(folder or Path(FOLDER)), Page(paper)
    with github.GitHub.start(tokens={TOKEN: LOGIN}, repos=[REPO]) as server, place.environment() as environ:
        place.make(host=server.url.removeprefix("http://"), key=os.urandom(32))
        try:
            _play(Stage(server, place, page), environ)
        except InterlockError as error:
            return _ended(page, place, error)
    return _ended(page, place, None)


def serve(*, folder: Path | None = None, paper: Paper | None = None) -> None:
    """Only run the GitHub-shaped service, until Ctrl-C or SIGTERM. Raises ServiceNotStarted."""
    from interlock.cli.demo import serving

    serving.run(folder=folder or Path(FOLDER), paper=paper)


def _play(stage: "Stage", environ: Mapping[str, str]) -> None:
    from interlock.cli.demo import story

    stage.page.words(
        "Interlock: every effect is authorised before it happens, done once, and provable afterwards.",
        "An agent works on a service over real HTTP; each $ line is the command that does the same.",
        "",
    )
    with stage.opened() as il:
        story.connect(stage, il, environ)
        story.read(stage, il)
        story.create_twice(stage, il)
        story.denied(stage, il)
        story.approved(stage, il)
        story.cut_off(stage, il)
    run_id = story.killed(stage, environ)
    with stage.opened() as il:
        story.packet(stage, il, run_id)
        story.count(stage, il)


def _ended(page: "Page", place: "Folder", error: "InterlockError | None") -> "Answer":
    from interlock.cli.desk import Answer

    tips = _tips(place.name, page)
    if error is None:
        page.words("", "Try next:")
        page.tips(tips)
    else:
        page.words("", f"This is not as claimed: {error.message}", error.next_step)
    document: dict[str, JSON] = {
        "ok": error is None,
        "folder": str(place.path),
        "steps": [step.to_json() for step in page.steps],
        "error": None if error is None else error.to_json(),
        "next": list(tips),
    }
    return Answer(document=document, show=lambda _: None, exit_code=0 if error is None else 1)


def _tips(name: str, page: "Page") -> dict[str, str]:
    run_id = str(next((step.facts["run_id"] for step in reversed(page.steps) if "run_id" in step.facts), "RUN"))
    return {
        f"cd {shlex.quote(name)} && . ./env": "this shell then uses the demo's store and key",
        "interlock runs list": "all that you have just seen; reading works offline",
        f"interlock runs show {run_id}": "the run that was killed",
        "interlock demo --serve": "in another shell, before you go on: the service again",
        "interlock approvals list": "one call still waits; answer it as another --actor",
        "interlock connect github --token-env GITHUB_TOKEN": "after `interlock init` elsewhere: the same on github.com",
    }
