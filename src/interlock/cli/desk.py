"""One command's surroundings: the options that every command takes, the settings they lead to, and Interlock itself."""

import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.cli.paper import Paper
from interlock.kernel import JSON, InterlockError, Secret

if TYPE_CHECKING:
    from interlock import app, client, inference
    from interlock.cli.facade import Facade


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What every command takes. None: not given."""

    as_json: bool = False
    store: str | None = None
    config: str | None = None
    tenant: str | None = None
    actor: str | None = None
    server: str | None = None
    verbose: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command has to say: a document for programs, and how people are shown the same. With an `error` there is one
    more member of the document, or some lines on stderr."""

    document: JSON
    show: Callable[[Paper], None]
    exit_code: int = 0
    error: InterlockError | None = None


class Desk:
    """Where a command works."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.acts = False
        """Whether it may have done what stands in a store."""
        self.on_lines = False
        """Whether JSON comes as many documents, each on a line of its own: also the last one, and an error."""
        self.left_run: str | None = None
        """The run that was under way when somebody interrupted the command."""
        self.leaves: str | None = None
        """What to do next, after an interrupt of a command that leaves what it had begun."""
        self._loaded: tuple[app.Settings, app.SettingsFile | None] | None = None

    @property
    def flags(self) -> dict[str, JSON]:
        """The settings that were given as options."""
        given = {"store": _anchored(self.options.store), "tenant": self.options.tenant, "actor": self.options.actor}
        return {name: value for name, value in given.items() if value is not None}

    def find_file(self) -> Path | None:
        """The settings file: the one that was named, else the nearest. Raises NotRemote."""
        from interlock import app
        from interlock.cli.errors import NotRemote

        if self.server is not None:
            raise NotRemote(f"this is not done over the network, and {self.server[:80]!r} was named as the server")
        return Path(self.options.config).absolute() if self.options.config else app.find_file(Path.cwd())

    def settings(self) -> "app.Settings":
        """What is in force. Raises InvalidSettings."""
        return self._load()[0]

    def kept(self, settings: "app.Settings") -> "app.Settings":
        """These settings, if the next command finds what this one leaves. Raises StoreNotKept."""
        from interlock import app
        from interlock.cli.errors import StoreNotKept

        if app.is_memory(settings.store):
            raise StoreNotKept("the store is in memory: what this command does would be gone when it ends")
        return settings

    @property
    def server(self) -> str | None:
        """The server to ask, if the command is not to be carried out here."""
        return self.options.server or os.environ.get("INTERLOCK_SERVER") or None

    @asynccontextmanager
    async def open(self, *, acting: bool = False) -> AsyncGenerator["Facade"]:
        """Interlock: the server that was named, else as `open_here`. Raises as that, and ServerTokenMissing."""
        if self.server is None:
            async with self.open_here(acting=acting) as il:
                yield il
        else:
            async with self.open_there() as remote:
                yield remote

    @asynccontextmanager
    async def open_there(self) -> AsyncGenerator["client.Remote"]:
        """The server that was named. Raises ServerTokenMissing, ConfigurationError, Usage."""
        from interlock import app, client
        from interlock.cli.errors import Usage

        tracing = app.start_telemetry()
        given = {"--tenant": self.options.tenant, "--actor": self.options.actor, "--store": self.options.store}
        for option, said in given.items():
            if said is not None:
                raise Usage(f"{option} goes without a server: its token says who asks, and in which tenant")
        assert self.server is not None
        self.acts = True
        async with client.open_remote(self.server, _server_token(), tracing=tracing) as remote:
            yield remote

    @asynccontextmanager
    async def open_here(
        self,
        *,
        acting: bool = False,
        on_connection_event: "app.OnEvent | None" = None,
        models: "Mapping[str, Callable[[str], inference.Model]] | None" = None,
    ) -> AsyncGenerator["app.Interlock"]:
        """Interlock, as the settings say. Nothing is created. A command that is `acting` recovers in the background what
        dead processes left, for it may be waiting for just that, and renews connections; one that reads writes nothing. Raises
        ConfigurationError, StoreError, NotRemote."""
        import anyio

        from interlock import app

        settings, file = self._load()
        app.start_telemetry()
        self.acts = self.acts or acting
        async with app.Interlock.open(
            settings=self.kept(settings),
            file=file,
            create=False,
            background=acting,
            on_connection_event=on_connection_event,
            models=models,
        ) as il:
            try:
                yield il
            except anyio.get_cancelled_exc_class() as gone:
                from interlock import runs

                self.left_run = runs.find_cancelled(gone)
                raise

    def paper(self) -> Paper:
        """What to print on."""
        return Paper(plain=self._loaded is not None and self._loaded[0].output == "plain")

    def _load(self) -> "tuple[app.Settings, app.SettingsFile | None]":
        if self._loaded is None:
            from interlock import app

            path = self.find_file()
            file = None if path is None else app.read_file(path)
            self._loaded = app.load(file, self.flags), file
        return self._loaded


def _anchored(store: str | None) -> str | None:
    """A path on the command line starts in the working directory, and one in a settings file starts beside that."""
    if store is None or "://" in store or store == ":memory:":
        return store
    return str(Path(store).absolute())


def _server_token() -> Secret:
    """Raises ServerTokenMissing, FileRefused."""
    from interlock.cli import files
    from interlock.cli.errors import ServerTokenMissing

    text, file = os.environ.get("INTERLOCK_TOKEN", ""), os.environ.get("INTERLOCK_TOKEN_FILE", "")
    if not text and file:
        text = files.read(file, "token file", limit=4096).decode("utf-8", "replace")
    if not text.strip():
        raise ServerTokenMissing("a server was named, and no token for it")
    return Secret(text.strip())
