"""The folder that the demo works in: made by it, known by its settings file, and emptied only of what it put there."""

import os
import shlex
import shutil
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from interlock import app
from interlock.kernel import RequestError

MARK: Final = "# Made by `interlock demo`; its next run makes it afresh.\n"
OWN: Final = (
    "interlock.db", "interlock.db-wal", "interlock.db-shm", "blobs", "root.key", "env", ".gitignore", "packet.json",
    "packet-altered.json", "trust.json",
)  # fmt: skip

REPO: Final = "acme/rocket"
ISSUES: Final = ("Valve 3 sticks", "Igniter is late")
"""What the story opens, and the service alone begins with."""
LOGIN: Final = "octo-agent"
TOKEN: Final = "demo-token-that-opens-nothing"  # noqa: S105 - the GitHub-shaped service takes it; it is good nowhere else
VARIABLE: Final = "DEMO_TOKEN"
"""The environment variable that holds it."""

_SETTINGS: Final = """
store = "interlock.db"
actor = "agent:triage"   # who asks, unless --actor says otherwise
roles = ["approver"]     # nobody approves what they asked for themselves
environment = "demo"

[execution]
owner_lease = 4.0        # seconds until a silent process counts as dead
egress_allow = ["{host}"]  # loopback is refused unless it is named

[policy]
default = "ask"

[[policy.rules]]
id = "read-and-add"
then = "allow"
effect = ["read", "create"]
reason = "agents may read and add"

[[policy.rules]]
id = "keep-branches"
then = "deny"
actor = "agent:*"
capability = "github.git.ref.*"
reason = "branches are not an agent's business"

[[policy.rules]]
id = "delete-nothing"
then = "deny"
effect = "delete"
environment = "demo"
reason = "nothing is deleted in the demo"
"""


class FolderTaken(RequestError):
    """The folder holds something that the demo did not make."""

    code = "demo_folder_taken"
    next_step = "Name another folder: `interlock demo --folder DIR`."


class Folder(NamedTuple):
    """The demo's folder, and its name as the user gave it."""

    path: Path
    name: str

    @classmethod
    def at(cls, path: Path) -> "Folder":
        """The folder at a path, whether it is there or not."""
        return cls(path.absolute(), str(path))

    @property
    def settings_file(self) -> Path:
        """The settings file, whose first line says whose the folder is."""
        return self.path / app.FILE_NAME

    @property
    def is_ours(self) -> bool:
        """Whether the demo made it."""
        try:
            return self.settings_file.read_text(encoding="utf-8").startswith(MARK)
        except (OSError, UnicodeDecodeError):
            return False

    def make(self, *, host: str, key: bytes) -> None:
        """Begin afresh: settings that allow this host:port, a key, an environment. Raises FolderTaken."""
        try:
            if self.path.exists() and not self.is_ours and (not self.path.is_dir() or any(self.path.iterdir())):
                raise FolderTaken(f"{self.name} holds something that the demo did not make, so it is left alone")
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in OWN:
                self._remove(name)
            # First, so that the folder is known again even if what follows fails.
            self.settings_file.write_text(MARK + _SETTINGS.format(host=host), encoding="utf-8")
            (self.path / ".gitignore").write_text("*\n")
            key_file = self.path / "root.key"
            key_file.touch(mode=0o600)
            key_file.write_text(f"{key.hex()}\n")
            (self.path / "env").write_text(self._exports())
        except OSError as error:
            raise FolderTaken(f"{self.name} cannot be made: {error}") from error

    def host(self) -> str | None:
        """The host:port of the service that the folder's settings allow, if the demo made it."""
        if not self.is_ours:
            return None
        allowed = app.read_file(self.settings_file).values.get("execution", {}).get("egress_allow", [])
        return next((str(each) for each in allowed), None)

    @contextmanager
    def environment(self) -> Generator[Mapping[str, str]]:
        """This process's environment as `. env` makes it, with the demo's token: none of the user's own settings."""
        before = dict(os.environ)
        for name in before:
            if name.startswith("INTERLOCK_"):
                del os.environ[name]
        os.environ.update({"INTERLOCK_KEY_FILE": str(self.path / "root.key"), VARIABLE: TOKEN})
        try:
            yield os.environ
        finally:
            os.environ.clear()
            os.environ.update(before)

    def _exports(self) -> str:
        programs = shlex.quote(str(Path(sys.executable).parent))
        return (
            f"# For your shell: `. {shlex.quote(self.name)}/env`. A key of your own should not lie beside its store.\n"
            # As in `environment`: what the shell had set would go before the demo's own settings.
            "unset $(env | sed -n 's/^\\(INTERLOCK_[A-Za-z0-9_]*\\)=.*/\\1/p') INTERLOCK_KEY_FILE\n"
            f"export INTERLOCK_KEY_FILE={shlex.quote(str(self.path / 'root.key'))}\n"
            f"export {VARIABLE}={TOKEN}\n"
            f'command -v interlock >/dev/null || export PATH={programs}:"$PATH"\n'
        )

    def _remove(self, name: str) -> None:
        path = self.path / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
