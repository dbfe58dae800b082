"""The GitHub connector against Prism, a mock server by others, which judges requests by GitHub's own description.

Needs npm: `make rig` installs the pinned version into `.tools` and runs this; elsewhere it skips and says so.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest

import fix_github as github
from interlock import sdk, testing

pytestmark = pytest.mark.rig

TOP = Path(__file__).parents[2]
PRISM = TOP / ".tools" / "prism" / "node_modules" / ".bin" / "prism"
DESCRIPTION = Path(testing.__file__).parent / "data" / "github.openapi.json"
FACTS = sdk.Facts(subject="octocat", started_at=testing.ManualClock().now())


@pytest.fixture(scope="module")
def prism() -> Iterator[str]:
    if not PRISM.exists() or shutil.which("node") is None:
        pytest.skip(f"{PRISM} is not installed: run `make rig`")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"PATH": os.environ["PATH"], "HOME": str(Path.cwd())}
    server = subprocess.Popen(
        [str(PRISM), "mock", "-h", "127.0.0.1", "-p", str(port), str(DESCRIPTION)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not _answers(url):
            time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=10)


def plain_input(operation_id: str) -> dict[str, Any]:
    """Prism's router knows no path parameter with a slash, so a commit is named by its hash."""
    value = github.plain_input(operation_id)
    if operation_id.startswith(("check_runs.", "commit.")):
        value["ref"] = github.SHA
    return value


BRANCH_PATHS = frozenset({"git.ref.create", "git.ref.delete"})
"""Operations whose paths hold a whole ref (`heads/main`), which Prism cannot route."""


def _answers(url: str) -> bool:
    try:
        httpx2.get(f"{url}/user", trust_env=False)
    except httpx2.TransportError:
        return False
    return True


def sent(url: str, request: sdk.HttpRequest, **more: str) -> httpx2.Response:
    # Prism serves only the media types that the description names, and that says plain JSON.
    headers = {**dict(request.headers), "accept": "application/json", **more}
    if request.content is not None:
        headers["content-type"] = "application/json"
    return httpx2.request(
        request.method, url + request.target, content=request.content, headers=headers, trust_env=False
    )


def test_it_rejects_what_is_wrong(prism: str) -> None:
    """Before its yes is worth anything."""
    wrong = sdk.HttpRequest(method="POST", path="/repos/a/b/issues", json_body={"titel": 5})
    assert sent(prism, wrong).status_code == 422


@pytest.mark.parametrize("operation_id", sorted(set(github.OPERATIONS) - {"git.ref.delete"}))
def test_every_operation_is_understood_and_understands(prism: str, operation_id: str) -> None:
    operation = github.OPERATIONS[operation_id]
    value = plain_input(operation_id)
    program = sdk.program(operation, value, FACTS)
    answer = sent(prism, next(program), prefer="dynamic=true")
    assert answer.status_code in (200, 201, 204), answer.text
    headers = tuple((name.lower(), text) for name, text in answer.headers.items() if name.lower() != "link")
    with pytest.raises(StopIteration) as finished:
        program.send(sdk.HttpResponse(status=answer.status_code, headers=headers, body=answer.content))
    output = cast("sdk.Output", finished.value.value)
    github.CATALOG.fetch(f"github.{operation_id}").validate_output(output.value)


@pytest.mark.parametrize("operation_id", sorted(set(github.WRITES) - BRANCH_PATHS))
def test_every_reconciling_read_is_understood(prism: str, operation_id: str) -> None:
    reading = sdk.reconciliation(github.OPERATIONS[operation_id], plain_input(operation_id), FACTS)
    answer = sent(prism, next(reading))
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("operation_id", "status", "code"),
    [
        ("issue.create", 403, "provider_forbidden"),
        ("issue.create", 410, "resource_not_found"),
        ("issue.fetch", 404, "resource_not_found"),
    ],
)
def test_documented_failures_are_mapped(prism: str, operation_id: str, status: int, code: str) -> None:
    program: Any = sdk.program(github.OPERATIONS[operation_id], plain_input(operation_id), FACTS)
    answer = sent(prism, next(program), prefer=f"code={status}")
    assert answer.status_code == status
    with pytest.raises(sdk.OperationFailed) as failed:
        program.send(sdk.HttpResponse(status=status, body=answer.content))
    assert (failed.value.code, failed.value.effect) == (code, "none")
