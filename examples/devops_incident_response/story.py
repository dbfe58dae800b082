"""The story of two incidents, from an empty folder: `python examples/devops_incident_response/story.py`.

Interlock runs as it would in production, as a process that is killed and started again; the service is shaped like GitHub, and
delivers signed webhooks over real HTTP. Every line that begins with `$` is a command that this program ran. What it claims, it
has looked up: in the ledger, and in the service's own count of what was done to it.
"""

import argparse
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from interlock.testing import github

HERE = Path(__file__).parent
REPO, LOGIN, TOKEN = "acme/rocket", "incident-bot", "a-token-that-opens-nothing-else"
COMMENT, LABEL = "issues/create-comment", "issues/add-labels"
PROGRAM = [sys.executable, "-m", "interlock"]
SETTINGS = """\
store = "interlock.db"
actor = "app:incidents"

[app]
modules = ["incident"]

[connect]
url = "http://127.0.0.1:{port}"

[execution]
owner_lease = 4.0          # seconds until a silent process counts as dead
egress_allow = ["{host}"]  # loopback is refused unless it is named

[policy]
default = "deny"

[[policy.rules]]
id = "answer-issues"
then = "allow"
capability = ["github.comment.create", "github.issue.label"]
reason = "incidents are answered where they are reported"
"""


class NotSo(Exception):
    """Something is not as the story claims."""


def claim(what: str, seen: object, expected: object) -> None:
    """Raises NotSo unless it was seen."""
    if seen != expected:
        raise NotSo(f"{what}: expected {expected!r}, saw {seen!r}")


class Story:
    """The folder, the service, and what was told so far."""

    def __init__(self, folder: Path, server: github.GitHub) -> None:
        self.folder = folder
        self.server = server
        self._steps = 0
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("INTERLOCK_")},
            "INTERLOCK_KEY_FILE": str(folder / "root.key"),
            "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "GITHUB_TOKEN": TOKEN,
            "ON_CALL_ROSTER": str(folder / "roster.json"),
        }

    def step(self, text: str) -> None:
        """What happens now."""
        self._steps += 1
        print(f"{self._steps:>2} {text}")

    def saw(self, text: str) -> None:
        """What came of it."""
        print(f"   ✔ {text}", flush=True)

    def run(self, *words: str, code: int = 0) -> Any:
        """Run an `interlock` command and return its document. Raises NotSo unless it ends with that code."""
        print(f"   $ interlock {shlex.join(words)}", flush=True)
        done = subprocess.run(
            [*PROGRAM, *words, "--json"], cwd=self.folder, env=self._environment, capture_output=True, check=False
        )
        if done.returncode != code:
            raise NotSo(
                f"`interlock {shlex.join(words)}` ended with {done.returncode}: {done.stdout!r} {done.stderr!r}"
            )
        return json.loads(done.stdout)

    @contextmanager
    def serving(self) -> Generator[subprocess.Popen[bytes]]:
        """`interlock serve`, which takes webhooks in and works on them, until the block ends."""
        print("   $ interlock serve", flush=True)
        with subprocess.Popen(
            [*PROGRAM, "serve", "--json"], cwd=self.folder, env=self._environment, stdout=subprocess.PIPE
        ) as process:
            try:
                assert process.stdout is not None
                if not process.stdout.readline():
                    raise NotSo(f"`interlock serve` ended with {process.wait()}")
                yield process
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                    claim("how `interlock serve` ended", process.wait(timeout=60), 0)
            finally:
                process.kill()

    def newest_run(self) -> Any:
        """The handler's newest run."""
        listed = self.run("runs", "list", "--capability", "handler.incident", "--limit", "1")
        return listed["runs"][0]

    def effects(self) -> tuple[int, int]:
        """How many comments and labels the service took."""
        return self.server.effects(COMMENT), self.server.effects(LABEL)


def set_up(story: Story) -> int:
    """An account is connected, a route is made for it, and GitHub is told where that is. Returns the hook's id."""
    story.step("An account is connected, and a route is made for its webhooks.")
    account = story.run("connect", "github", "--token-env", "GITHUB_TOKEN", "--base-url", story.server.url)
    only = json.dumps({"repo": REPO, "actions": ["opened"]})
    made = story.run(
        "routes",
        "create",
        "github",
        "--on",
        "issues=incident",
        "--only",
        f"issues:{only}",
        "--retry",
        'issues:{"max_attempts": 2}',
        "--connection",
        account["connection_id"],
    )
    hook = story.server.add_hook(REPO, made["address"], secret=made["secret"], events=["issues"])
    story.saw("the route has an address that nobody guesses and a secret of its own; GitHub has both")
    return hook


def dead_letter(story: Story, hook: int) -> str:
    """The handler fails twice. Returns the run's id."""
    story.step(
        "Somebody opens an issue. Nobody can tell who is on call: the handler fails, is tried again, and gives up."
    )
    before = len(story.server.wait_delivered(hook))
    story.server.add_issues(REPO, 1, title="Igniter is late")
    delivered = story.server.wait_delivered(hook, before + 1)[-1]
    claim("what GitHub was answered", delivered["status_code"] // 100, 2)
    story.saw(f"GitHub's signed delivery is answered {delivered['status_code']}: it is on record, and will not be lost")
    run_id: str = story.newest_run()["run_id"]
    waited = story.run("runs", "wait", run_id, "--timeout", "60", code=1)
    error: Any = waited.get("error") or {"code": None}
    claim("what the handler failed with", error["code"], "handler_raised")
    letters = story.run("dispatch", "dead")["work"]
    claim(
        "the dead letters and their attempts", [(each["run_id"], each["attempts"]) for each in letters], [(run_id, 2)]
    )
    claim("comments and labels at the service", story.effects(), (1, 0))
    story.saw("dead letter after 2 attempts; both said that the issue was seen, and the service has one comment")
    return run_id


def duplicate(story: Story, hook: int) -> None:
    """GitHub delivers the same event again."""
    story.step("GitHub is asked to deliver the same event again.")
    deliveries = story.server.wait_delivered(hook)
    story.server.redeliver(hook, deliveries[-1]["id"])
    again = story.server.wait_delivered(hook, len(deliveries) + 1)[-1]
    claim("the id of the event", again["guid"], deliveries[-1]["guid"])
    claim("what GitHub was answered", again["status_code"] // 100, 2)
    states = [each["state"] for each in story.run("deliveries", "list")["deliveries"]]
    claim("the deliveries of that event", states.count("duplicate"), 1)
    story.saw("answered alike, kept as evidence, and nothing is done twice")


def replay(story: Story, run_id: str) -> None:
    """Once the cause is gone, the same run is done."""
    story.step("The roster is put right, Interlock was restarted, and the dead letter is replayed.")
    (story.folder / "roster.json").write_text(json.dumps({"on_call": "@mona"}))
    story.run("runs", "replay", run_id)
    done = story.run("runs", "wait", run_id, "--timeout", "60")
    claim("the state of the run", (done["run_id"], done["state"]), (run_id, "completed"))
    claim("what it returned", done["output"], {"issue": 1, "on_call": "@mona", "attempt": 3})
    claim("comments and labels at the service", story.effects(), (2, 1))
    story.saw("the same run is completed by attempt 3; what attempt 1 had done was not done again: 2 comments, 1 label")


def killed(story: Story, process: subprocess.Popen[bytes]) -> str:
    """The process dies while the service has its comment and has not answered. Returns the run's id."""
    story.step("A second issue. While the service takes the last comment, before it has answered, Interlock is killed.")
    story.server.fault("hold_before", match=LABEL)
    story.server.add_issues(REPO, 1, title="Valve 3 sticks")
    story.server.wait_held()
    story.server.fault("hold", match=COMMENT)
    story.server.release()
    story.server.wait_held()
    print("   $ kill -9 …", flush=True)
    process.kill()
    process.wait()
    story.server.release()  # to nobody: the process is dead
    run = story.newest_run()
    claim("the state of the run", run["state"], "running")
    claim("comments and labels at the service", story.effects(), (4, 2))
    story.saw("the service has all of it; the ledger still says that the run is at work")
    return run["run_id"]


def recovered(story: Story, run_id: str) -> None:
    """Another process takes the work over."""
    story.step("It is started again. When the dead process's lease is over, what it left is taken over.")
    done = story.run("runs", "wait", run_id, "--timeout", "60")
    claim("the state of the run", done["state"], "completed")
    claim("what it returned", done["output"], {"issue": 2, "on_call": "@mona", "attempt": 2})
    claim("comments and labels at the service", story.effects(), (4, 2))
    story.saw("completed by attempt 2; the comment whose answer was lost was looked up, not repeated: still 4 comments")


def proven(story: Story, run_id: str) -> None:
    """The record of it can be checked by anyone."""
    story.step("All of it is on record, for anyone to verify.")
    story.run("review", "export", run_id, "-o", "packet.json")
    verdict = story.run("review", "verify", "packet.json", "--trust", ".interlock/trust.json")
    claim("the verdict", verdict["status"], "verified")
    story.saw(f"verified: {verdict['events']} events, chained and signed")


def tell(story: Story) -> None:
    """From the first line to the last. Raises NotSo."""
    (story.folder / "interlock.toml").write_text(
        MARK + SETTINGS.format(port=story.port, host=story.server.url.removeprefix("http://"))
    )
    story.step("A store is made, with a key of its own; Interlock takes webhooks in and works on them.")
    story.run("init")
    with story.serving():
        hook = set_up(story)
        first = dead_letter(story, hook)
        duplicate(story, hook)
    with story.serving() as process:
        replay(story, first)
        second = killed(story, process)
    with story.serving():
        recovered(story, second)
    proven(story, second)


MARK = "# Made by the story of examples/devops_incident_response; its next run makes it afresh.\n"


def begin(folder: Path) -> None:
    """An empty folder. Raises NotSo if there is something in it that the story did not make."""
    if folder.exists():
        settings = folder / "interlock.toml"
        if not settings.is_file() or not settings.read_text().startswith(MARK):
            raise NotSo(f"{folder} holds something that this story did not make: name another --folder")
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    (folder / ".gitignore").write_text("*\n")
    (folder / "interlock.toml").write_text(MARK)
    key = folder / "root.key"
    key.touch(mode=0o600)
    key.write_text(f"{secrets.token_hex(32)}\n")


def main() -> int:
    """Tell it; 1 if anything is not as claimed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(".interlock-incidents"), help="made afresh")
    folder: Path = parser.parse_args().folder.absolute()
    try:
        begin(folder)
        with github.GitHub.start(tokens={TOKEN: LOGIN}, repos=[REPO]) as server:
            tell(Story(folder, server))
    except NotSo as error:
        print(f"   ✘ {error}")
        return 1
    print(f"\nLook around: cd {folder}; INTERLOCK_KEY_FILE=root.key interlock runs list")
    return 0


if __name__ == "__main__":
    sys.exit(main())
