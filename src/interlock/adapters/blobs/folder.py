"""Content in a local folder, for this user alone: what folders and files we make, nobody else may read."""

import os
import stat
import tempfile
from pathlib import Path


class Folder:
    """Files by key, each whole or not at all. The folder is made with the first of them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def is_open_to_others(self) -> bool:
        """Whether its mode lets anybody in but its owner; folders above it may still keep them out."""
        try:
            return bool(stat.S_IMODE(self.path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO))
        except FileNotFoundError:
            return False

    def put(self, key: str, content: bytes) -> None:
        """Keep the content. Raises OSError, ValueError for what is no key."""
        path = self._file(key)
        make_private(path.parent)
        number, draft = tempfile.mkstemp(dir=path.parent, prefix=".interlock-")
        try:
            with os.fdopen(number, "wb") as file:
                file.write(content)
            os.replace(draft, path)
        except BaseException:
            os.unlink(draft)
            raise

    def get(self, key: str) -> bytes:
        """The content. Raises OSError, ValueError for what is no key."""
        return self._file(key).read_bytes()

    def _file(self, key: str) -> Path:
        names = key.split("/")
        if not {"", ".", ".."}.isdisjoint(names):
            raise ValueError("a key is names joined by slashes")
        return self.path.joinpath(*names)


def make_private(folder: Path) -> None:
    """The folder and those above it that are not there; `mkdir(parents=True)` would open the latter to everybody."""
    for each in (*reversed(folder.parents), folder):
        if not each.exists():
            each.mkdir(mode=0o700, exist_ok=True)
