"""Fixtures: the command `interlock` in a folder of its own, beside a GitHub-shaped service.

`shell` is a folder that is set up on SQLite; `any_shell` is one on each engine in turn. `Shell.run` carries a command out
inside this process, which is twenty times faster than the real one of `Shell.spawn`; what they answer is the same.
"""

import contextlib
import io
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest import mock

import pytest

from interlock import cli
from interlock.testing import github

COMMAND = Path(sys.executable).with_name("interlock")
TOKEN = "ghp_a-token-for-the-command-line"
OTHER_TOKEN = "ghp_a-token-of-somebody-else"
REPOSITORY = "acme/rocket"


@dataclass(frozen=True)
class Told:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]


def checked(told: Told, arguments: Sequence[str]) -> Told:
    """No command ever answers with a traceback, or drives the terminal; with --json it says one document, or one a line."""
    assert "Traceback (most recent call last)" not in told.out + told.err, told.err
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", told.out + told.err)
    if "--json" in arguments and not {"--follow", "--stream", "chat"} & set(arguments):
        json.loads(told.out)
    return told


def in_time_for(command: Callable[[str], Told], enough: Callable[[Told], bool]) -> tuple[str, Told]:
    """What a command says whose time is up, once that is long enough for the command to come as far as it is to; and the
    seconds that this took, however slow the machine is."""
    for seconds in ("1", "4", "16", "64"):
        told = command(seconds)
        if enough(told):
            break
    return seconds, told


class Started(subprocess.Popen[str]):
    """A command that is under way. Whoever leaves its block by an error leaves nobody who would end it: it is killed."""

    def __exit__(
        self, exc_type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc_type is not None:
            self.kill()
        super().__exit__(exc_type, value, traceback)


class Shell:
    """A folder, an environment, and the command."""

    def __init__(self, folder: Path, service: github.GitHub, **environment: str) -> None:
        self.folder = folder
        self.service = service
        self.environment = {
            **{name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}},
            "XDG_CONFIG_HOME": str(folder / "config"),
            "INTERLOCK_EXECUTION__EGRESS_ALLOW": json.dumps([service.url.removeprefix("http://")]),
            "INTERLOCK_EXECUTION__RETRY_WAIT": "0.1",
            "TOKEN": TOKEN,
            "OTHER_TOKEN": OTHER_TOKEN,
            **environment,
        }

    @property
    def store(self) -> Path:
        return self.folder / ".interlock" / "interlock.db"

    def start(self, *arguments: str, program: Path = COMMAND, environment: Mapping[str, str] | None = None) -> Started:
        return Started(
            [str(program), *arguments],
            cwd=self.folder,
            env={**self.environment, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def spawn(
        self,
        *arguments: str,
        stdin: str = "",
        program: Path = COMMAND,
        environment: Mapping[str, str] | None = None,
    ) -> Told:
        """Run the real command to its end."""
        with self.start(*arguments, program=program, environment=environment) as process:
            out, err = process.communicate(stdin)
        return checked(Told(process.returncode, out, err), arguments)

    def run(self, *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None) -> Told:
        """Carry a command out in this process."""
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        given = io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")
        handlers = list(logging.root.handlers)
        with (
            mock.patch.dict(os.environ, {**self.environment, **(environment or {})}, clear=True),
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch.object(sys, "stdin", given),
        ):
            try:
                code = cli.main(arguments)
            finally:
                logging.root.handlers[:] = handlers
        return checked(Told(code, *(stream.buffer.getvalue().decode() for stream in (out, err))), arguments)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]

    def good(self, *arguments: str, **more: Any) -> Any:
        """The document of a command that succeeds."""
        told = self.run(*arguments, "--json", **more)
        assert told.code == 0, told.out + told.err
        return told.json

    def connect(self, *more: str) -> Any:
        return self.good("connect", "github", "--token-env", "TOKEN", "--base-url", self.service.url, *more)

    def hold(self, title: str) -> tuple[str, str]:
        """A write that waits for approval: run id, approval id."""
        told = self.run("invoke", "github.issue.create", f"repo={REPOSITORY}", f"title={title}", "--json")
        assert told.code == 4, told.out
        return told.json["run_id"], told.json["approval_id"]

    def write_settings(self, policy: str) -> None:
        """Put another policy into the settings file."""
        path = self.folder / "interlock.toml"
        head, _, _ = path.read_text().partition("\n[policy]\n")
        path.write_text(f"{head}\n{policy}")

    def let_through(self, *capabilities: str) -> None:
        """Add a rule that allows them."""
        with (self.folder / "interlock.toml").open("a") as file:
            file.write(f'\n[[policy.rules]]\nid = "let"\nthen = "allow"\ncapability = {json.dumps(capabilities)}\n')


@pytest.fixture(scope="session")
def service() -> Iterator[github.GitHub]:
    with github.GitHub.start(tokens={TOKEN: "octo-agent", OTHER_TOKEN: "mona"}, repos=(REPOSITORY,)) as server:
        yield server


@pytest.fixture
def bare_shell(tmp_path: Path, service: github.GitHub) -> Shell:
    """A folder in which nothing is set up."""
    service.reset()
    return Shell(tmp_path, service)


@pytest.fixture(scope="session")
def set_up(service: github.GitHub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to copy: set up and connected, on SQLite."""
    shell = Shell(tmp_path_factory.mktemp("set-up"), service)
    shell.good("init")
    shell.connect()
    return shell.folder


@pytest.fixture
def shell(bare_shell: Shell, set_up: Path) -> Shell:
    """A folder that is set up and connected, on SQLite."""
    shutil.copytree(set_up, bare_shell.folder, dirs_exist_ok=True)
    return bare_shell


@pytest.fixture(params=["sqlite", "postgres"])
def any_shell(request: pytest.FixtureRequest, tmp_path: Path, service: github.GitHub) -> Shell:
    """As `shell`, on each engine in turn."""
    service.reset()
    environment: dict[str, str] = {}
    if request.param == "postgres":
        url = request.getfixturevalue("empty_postgres_url")
        environment = {"INTERLOCK_STORE": url, "INTERLOCK_KEY": bytes(range(32)).hex()}
    made = Shell(tmp_path, service, **environment)
    made.good("init")
    made.connect()
    return made
