"""Planted secrets: the forms in which one could turn up, and where to look for it."""

import base64
import gc
import json
import logging
import traceback
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest


def forms(secret: str) -> dict[str, str]:
    """What encoders make of a secret."""
    return {
        "plain": secret,
        "base64": base64.b64encode(secret.encode()).decode(),
        "basic": base64.b64encode(f"octo:{secret}".encode()).decode(),
        "url": quote(secret, safe=""),
        "url-lower": quote(secret, safe="").replace("%2B", "%2b").replace("%2F", "%2f"),
        "hex": secret.encode().hex(),
        "json": json.dumps(secret)[1:-1].replace("/", "\\/"),
    }


def canaries(secrets: Iterable[str]) -> tuple[bytes, ...]:
    """What of each form depends on the secret alone (base64 mixes the neighbours into the edges)."""
    return tuple(form[4:-4].encode() for secret in secrets for form in forms(secret).values())


class Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record) + repr(record.__dict__))


class Shown(list[str]):
    """What was shown. It is itself a local of the frames that are rendered into it."""

    def __repr__(self) -> str:
        return "Shown"


@pytest.fixture
def listener() -> Iterator[Listener]:
    handler, root = Listener(), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(before)


def rendered(error: BaseException) -> str:
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def reprs(root: object) -> Iterator[str]:
    """Of everything that can be reached, but for code, and for the value inside a Secret: that must be somewhere."""
    seen: set[int] = set()
    stack: list[object] = [root]
    skipped = (types.ModuleType, types.FunctionType, types.CodeType, types.FrameType, type, types.BuiltinFunctionType)
    while stack:
        item = stack.pop()
        if id(item) in seen or isinstance(item, skipped):
            continue
        seen.add(id(item))
        name = f"{type(item).__module__}.{type(item).__qualname__}"
        if name.startswith("interlock"):
            yield repr(item)
        if name not in ("interlock.kernel.secret.Secret", "interlock.kernel.redaction.Redactor"):
            stack.extend(gc.get_referents(item))


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
