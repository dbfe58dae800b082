"""A model that runs here, of random weights, behind llama.cpp's own server."""

import os
import socket
import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

HERE = Path(__file__).parent
PYTHON = Path(os.environ.get("TEST_LLAMA_PYTHON") or HERE.parent / ".tools" / "llama" / "bin" / "python")
"""Has llama-cpp-python with its server, and gguf."""


@contextmanager
def served(folder: Path) -> Generator[str]:
    """The server's host and port; its model and its log are in `folder`."""
    made = folder / "tiny.gguf"
    subprocess.run([PYTHON, HERE / "rig" / "tiny_model.py", made], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = [
        PYTHON,
        "-m",
        "llama_cpp.server",
        "--model",
        made,
        "--model_alias",
        "tiny",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(said, stdout=log, stderr=log) as server:
        try:
            _wait(f"http://127.0.0.1:{port}/v1/models", server)
            yield f"127.0.0.1:{port}"
        finally:
            server.kill()


def _wait(url: str, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        assert server.poll() is None, "the server ended"
        try:
            with urlopen(url, timeout=1):
                return
        except (URLError, OSError):
            with suppress(subprocess.TimeoutExpired):
                server.wait(0.1)
    raise AssertionError("the server does not come up")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """As `served`."""
    with served(tmp_path_factory.mktemp("llama")) as host:
        yield host
