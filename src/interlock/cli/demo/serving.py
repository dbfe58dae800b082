"""The GitHub-shaped service alone, for tries of one's own."""

import shlex
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Final

from interlock.cli import streams
from interlock.cli.demo.folder import ISSUES, LOGIN, REPO, TOKEN, VARIABLE, Folder
from interlock.cli.paper import Paper
from interlock.cli.text import json_text
from interlock.kernel import JSON, ConfigurationError

_TRY: Final = f"interlock invoke github.issue.create repo={REPO} title=Hello"


class ServiceNotStarted(ConfigurationError):
    """The GitHub-shaped service does not start."""

    code = "demo_service_not_started"
    next_step = "If its port is taken, end what holds it, or run `interlock demo` again, which takes another."


def run(*, folder: Path, paper: Paper | None) -> None:
    """Serve until Ctrl-C or SIGTERM: at the address that the demo's connection knows, if there is one, else at a free one.

    Raises ServiceNotStarted.
    """
    place = next((each for each in (Folder.at(folder), Folder.at(Path.cwd())) if each.is_ours), None)
    host = None if place is None else place.host()
    port = "0" if host is None else host.rpartition(":")[2]
    command = [sys.executable, "-m", "interlock.testing.github", "--port", port, "--token", f"{TOKEN}={LOGIN}"]
    command += ["--repo", REPO, *(f"--issue={title}" for title in ISSUES)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as service:  # noqa: S603

        def stop(_number: int, _frame: FrameType | None) -> None:
            service.terminate()

        signal.signal(signal.SIGTERM, stop)
        assert service.stdout is not None
        try:
            url = service.stdout.readline().strip()
            if url:
                _announce(url, None if host is None else place, paper)
                service.wait()
        except KeyboardInterrupt:
            return
        finally:
            service.terminate()
        if not url:
            raise ServiceNotStarted(f"the service does not start: {_last_line(service)}")


def _announce(url: str, place: Folder | None, paper: Paper | None) -> None:
    allow = f"""export {VARIABLE}={TOKEN} INTERLOCK_EXECUTION__EGRESS_ALLOW='["{url.removeprefix("http://")}"]'"""
    connect = f"interlock connect github --token-env {VARIABLE} --base-url {url}"
    commands = [allow, connect, _TRY] if place is None else [f"cd {shlex.quote(str(place.path))} && . ./env", _TRY]
    if paper is None:
        document: dict[str, JSON] = {"url": url, "next": commands}
        streams.answers().write(json_text(document) + "\n")
    else:
        paper.line(f"A service shaped like GitHub answers at {url} until Ctrl-C, with the issues of the demo.")
        paper.line("Nothing is kept. In another shell:")
        for each in commands:
            paper.line(f"  {each}")
    streams.answers().flush()


def _last_line(service: subprocess.Popen[str]) -> str:
    said = "" if service.stderr is None else service.stderr.read().strip()
    return said.rpartition("\n")[2][:300] or f"it ended with {service.wait()}"
