"""What every step of the story needs: the service, the folder, the page, and a way to open Interlock."""

import subprocess
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from interlock import app, sync
from interlock.cli.demo.folder import Folder
from interlock.cli.demo.page import Page, StoryBroken
from interlock.kernel import Caller, InterlockError
from interlock.testing import github

REVIEWER = Caller(actor="person:reviewer", roles=frozenset({"approver"}))

E = TypeVar("E", bound=InterlockError)


PROGRAM = [sys.executable, "-c", "from interlock.cli import main; raise SystemExit(main())"]


class Stage(NamedTuple):
    """Where the story is played."""

    server: github.Control
    folder: Folder
    page: Page

    @contextmanager
    def opened(self) -> Generator[sync.Interlock]:
        """Interlock on the demo's store, acting for the agent."""
        file = app.read_file(self.folder.settings_file)
        with sync.Interlock.open(settings=app.load(file), file=file) as il:
            yield il

    @contextmanager
    def process(self, arguments: Sequence[str], environ: Mapping[str, str]) -> Generator[subprocess.Popen[bytes]]:
        """The command line in a process of its own, in the demo's folder; it is dead afterwards."""
        process = subprocess.Popen(  # noqa: S603 - our own program
            [*PROGRAM, *arguments],
            cwd=self.folder.path,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()


def refused(what: str, error: type[E], act: Callable[[], object]) -> E:
    """The error with which something is refused. Raises StoryBroken if it is not."""
    try:
        act()
    except error as refusal:
        return refusal
    raise StoryBroken(f"{what}: expected a refusal, and it was done")
