"""The story of an agent that triages issues, from an empty folder: `python examples/triage_agent/story.py`.

It reads issues, recalls what it knows, asks a person before it comments, is killed at work, goes on, and leaves a packet that
proves all of it. Every line that begins with `$` is a command that this program ran. What it claims, it has looked up: in the
ledger, and in the service's own count of what was done to it.
"""

import argparse
import json
import os
import random
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from interlock.testing import github

HERE = Path(__file__).parent
REPO, LOGIN, TOKEN = "acme/rocket", "triage-bot", "a-token-that-opens-nothing-else"
TITLES = ("Igniter is late", "Valve sticks")
NOTE = "@mona looks after all that is about the igniter of acme/rocket."
COMMENT = "issues/create-comment"
HELD = 4
FAILED = "agent_turn_failed"
MOST_ENTRIES = 30
PROGRAM = [sys.executable, "-m", "interlock"]
SETTINGS = """\
store = "interlock.db"
actor = "app:triage"

[memory]
config = {{ embedder = "none" }}  # words alone; with the extra `memory` also likeness

[execution]
owner_lease = 4.0      # seconds until a silent process counts as dead
egress_allow = {hosts}  # loopback is refused unless it is named

[policy]
default = "deny"

[[policy.rules]]
id = "triage"
then = "allow"
capability = ["github.issue.list", "github.issue.fetch", "github.comment.create"]
reason = "issues are read, and answered where they are; the agent's spec asks a person before"
"""
PROVIDER = """
[inference.providers.local]
kind = "compatible"
base_url = "{url}"
api_key = ""
"""


class NotSo(Exception):
    """Something is not as the story claims."""


def complaint(words: Sequence[str], code: int, said: bytes, besides: bytes = b"") -> NotSo:
    """That a command failed, in the words that it had for it: with `--json` the last line of what it said."""
    try:
        error = json.loads(said.splitlines()[-1])["error"]
        told = f"{error['message']} ({error['code']})\n     {error['next_step']}"
    except (IndexError, KeyError, TypeError, ValueError):
        told = (besides or said).decode(errors="replace").strip() or "it said nothing"
    return NotSo(f"`interlock {' '.join(words)}` ended with {code}: {told}")


def claim(what: str, seen: object, expected: object) -> None:
    """Raises NotSo unless it was seen."""
    if seen != expected:
        raise NotSo(f"{what}: expected {expected!r}, saw {seen!r}")


@dataclass(slots=True)
class Fate:
    """When the agent's process is killed: with entry `at` of the turn's journal, counted over all processes that take it, or
    (None) once the journal says that it is about to comment. It strikes once."""

    at: int | None
    seen: int = 0
    struck: bool = False

    def strikes(self, entry: Any) -> bool:
        """Whether it does with this entry."""
        self.seen += 1
        comments = entry["kind"] == "turn.intended" and entry["data"].get("operation") == "comment"
        met = not self.struck and (comments if self.at is None else self.seen == self.at)
        self.struck = self.struck or met
        return met


class Story:
    """The folder, the service (None: the real one), and what was told so far."""

    def __init__(self, folder: Path, *, server: github.GitHub | None, repo: str, model: str, fate: Fate) -> None:
        self.folder = folder
        self.server = server
        self.repo = repo
        self.model = model
        self.fate = fate
        self._steps = 0
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("INTERLOCK_")},
            "INTERLOCK_KEY_FILE": str(folder / "root.key"),
            **({} if server is None else {"GITHUB_TOKEN": TOKEN}),
        }

    def step(self, text: str) -> None:
        """What happens now."""
        self._steps += 1
        print(f"{self._steps:>2} {text}")

    def saw(self, text: str) -> None:
        """What came of it."""
        print(f"   ✔ {text}", flush=True)

    def run(self, *words: str) -> Any:
        """Run an `interlock` command and return its document. Raises NotSo if it fails."""
        print(f"   $ interlock {shlex.join(words)}", flush=True)
        done = subprocess.run(
            [*PROGRAM, *words, "--json"], cwd=self.folder, env=self._environment, capture_output=True, check=False
        )
        if done.returncode != 0:
            raise complaint(words[:2], done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def take(self, *words: str) -> Any:
        """Run an `interlock agent` command that takes the turn, and listen to its journal; return the turn as it then stands, and
        None if the process was killed. Raises NotSo if the command fails, but for a turn that came to a bad end."""
        print(f"   $ interlock agent {shlex.join(words)}", flush=True)
        command = [*PROGRAM, "agent", *words, "--stream", "--json"]
        line = b""
        with (
            tempfile.TemporaryFile() as complaints,
            subprocess.Popen(
                command, cwd=self.folder, env=self._environment, stdout=subprocess.PIPE, stderr=complaints
            ) as process,
        ):
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    entry = json.loads(line)
                    if entry.get("kind", "delta") != "delta" and self.fate.strikes(entry):
                        self._kill(process, entry)
                        return None
            except BaseException:
                process.kill()
                raise
            if process.wait() in (0, HELD):
                return json.loads(line)
            error = json.loads(line or b"{}").get("error", {})
            if error.get("code") == FAILED:
                return {"run_id": error["run_id"], "state": "failed"}
            complaints.seek(0)
            raise complaint(("agent", words[0]), process.returncode, line, complaints.read())

    def _kill(self, process: subprocess.Popen[bytes], entry: Any) -> None:
        """SIGKILL, and if the service is there to say so, while it has the comment and has not answered."""
        answered = self.server is None or self.fate.at is not None
        if self.server is not None and not answered:
            self.server.wait_held()
        process.kill()
        process.wait()
        print(f"   $ kill -9 …  # {entry['kind']} was entry {self.fate.seen} of the journal", flush=True)
        if self.server is not None and not answered:
            self.server.release()  # to nobody: the process is dead
            if not self.server.effects(COMMENT):
                raise NotSo("the service has no comment")
            self.saw("the service has the comment; the ledger knows only that it was about to be made")


def set_up(story: Story) -> None:
    """A store, an account, and a memory of who looks after what."""
    story.step("A store is made, an account connected, and the agent's memory told who looks after what.")
    story.run("init")
    there = () if story.server is None else ("--base-url", story.server.url)
    story.run("connect", "github", "--token-env", "GITHUB_TOKEN", *there)
    story.run("memory", "remember", NOTE, "--agent", "triage", "--class", "semantic", "--kind", "fact")
    story.run("agent", "validate", "triage.yaml")
    story.saw("the spec is plain data: what it may do, what watches over it, and what a second time would mean")


def said_yes() -> bool:
    """Whether whoever runs this says so."""
    try:
        return input("   May it? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:  # nobody is there
        print()
        return False


def decided(story: Story, waiting: Any) -> None:
    """Somebody says yes to what the turn waits for, or no. At the real service that is whoever runs this."""
    story.step("It wants to comment. Nothing was sent: it waits for a person, and keeps no process meanwhile.")
    print(f"   {waiting['operation']} {json.dumps(waiting['arguments'], ensure_ascii=False)}")
    who = ("--actor", "user:reviewer")
    if story.server is not None or said_yes():
        story.run("approvals", "approve", waiting["approval_id"], *who)
        story.saw("approved: this call with exactly these arguments, once")
    else:
        story.run("approvals", "deny", waiting["approval_id"], "--reason", "not this one", *who)
        story.saw("denied: the model is told, and goes on without it")


def triaged(story: Story) -> Any:
    """The turn, taken until it has ended, by as many processes as that needs."""
    story.step(f"The agent is asked to triage {story.repo}.")
    turn = story.take("run", "triage.yaml", f"Triage the open issues of {story.repo}.", "--model", story.model)
    while turn is None or turn["state"] not in ("completed", "failed"):
        if turn is None:
            story.step(
                "It was killed. Somebody goes on with the turn, once its process has been silent for long enough."
            )
            turn = story.run("agent", "list", "--agent", "triage", "--limit", "1")["turns"][0]
        else:
            claim("the state of the turn", turn["state"], "held")
            for each in turn["waiting"]:
                decided(story, each)
            story.step("The turn goes on.")
        turn = story.take("resume", turn["run_id"])
    return turn


def looked_up(story: Story, run_id: str) -> bool:
    """What came of it, by what stands in the ledger and at the service, and whether it came to a good end."""
    if not story.fate.struck:
        story.saw(f"it came to its end with entry {story.fate.seen} of its journal; nobody had to be killed")
    found = story.run("agent", "inspect", run_id)
    turn, state = found["turn"], found["state"]
    parts = [part for message in state["said"] for part in message["parts"] if part["kind"] == "outcome"]
    made = [json.loads(part["text"]) for part in parts if part["name"] == "comment" and not part["failed"]]
    for each in made:
        print(f"   {each['html_url']}")
    if story.server is not None:
        claim("comments at the service", story.server.effects(COMMENT), len(made))
        told = [state["recalled"], *(part["text"] for part in parts if part["name"] == "recall")]
        if not any("@mona" in str(each) for each in told):
            raise NotSo(f"it was not told what its memory holds, but {told}")
    if story.model.startswith("fake:"):
        claim("the comments that it made", len(made), 1)
    asked, done = counted(turn["rounds"], "question"), counted(turn["operations"], "operation")
    story.saw(f"{asked} to the model, {done}, {counted(len(made), 'comment')}: once each")
    if turn["failure"] is None:
        print(f"   “{turn['answer']}”")
        return True
    print(f"   ✘ the turn has failed ({turn['failure']['code']}): {turn['failure']['message']}")
    print(f"     {turn['error']['next_step']}")
    return False


def counted(number: int, what: str) -> str:
    """So many of those."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def proven(story: Story, run_id: str) -> None:
    """The record of it can be checked by anyone."""
    story.step("All of it is on record, for anyone to verify.")
    story.run("agent", "replay", run_id)
    story.run("review", "export", run_id, "-o", "packet.json")
    verdict = story.run("review", "verify", "packet.json", "--trust", ".interlock/trust.json")
    claim("the verdict", verdict["status"], "verified")
    story.saw(f"verified: {verdict['events']} events, chained and signed, from which the turn can be found again")


MARK = "# Made by the story of examples/triage_agent; its next run makes it afresh.\n"


def begin(folder: Path, *, repo: str, server: str | None, model_url: str | None) -> None:
    """A folder with settings, a key, and the agent. Raises NotSo if there is something in it that the story did not make."""
    if folder.exists():
        settings = folder / "interlock.toml"
        if not settings.is_file() or not settings.read_text().startswith(MARK):
            raise NotSo(f"{folder} holds something that this story did not make: name another --folder")
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    (folder / ".gitignore").write_text("*\n")
    hosts = [urlsplit(each).netloc for each in (server, model_url) if each is not None]
    provider = "" if model_url is None else PROVIDER.format(url=model_url)
    (folder / "interlock.toml").write_text(MARK + SETTINGS.format(hosts=json.dumps(hosts)) + provider)
    key = folder / "root.key"
    key.touch(mode=0o600)
    key.write_text(f"{secrets.token_hex(32)}\n")
    (folder / "triage.yaml").write_text((HERE / "triage.yaml").read_text().replace(REPO, repo))
    shutil.copy(HERE / "script.yaml", folder)


def tell(folder: Path, *, repo: str | None, model: str, model_url: str | None, fate: Fate) -> bool:
    """From the first line to the last; without a `repo` at a service of our own. Whether the turn came to a good end,
    which is its model's affair. Raises NotSo."""
    with ExitStack() as stack:
        server = None
        if repo is None:
            server = stack.enter_context(github.GitHub.start(tokens={TOKEN: LOGIN}, repos=[REPO]))
            for title in TITLES:
                server.add_issues(REPO, 1, title=title)
            if fate.at is None:
                server.fault("hold", match=COMMENT)
        begin(folder, repo=repo or REPO, server=None if server is None else server.url, model_url=model_url)
        story = Story(folder, server=server, repo=repo or REPO, model=model, fate=fate)
        set_up(story)
        run_id = triaged(story)["run_id"]
        is_good = looked_up(story, run_id)
        proven(story, run_id)
    return is_good


def _entry(text: str) -> int:
    if text == "any":
        return random.randint(1, MOST_ENTRIES)
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither `any` nor the number of an entry, counted from 1")
    return int(text)


def main() -> int:
    """Tell it; 1 if anything is not as claimed, or the turn failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--folder", type=Path, default=Path(".interlock-triage"), help="made afresh")
    add(
        "--kill-at",
        type=_entry,
        metavar="N",
        help="kill it with entry N of its journal, or with `any`; else in a comment",
    )
    add("--model", metavar="PROVIDER:NAME", help="a real model, such as openai:gpt-4o-mini (extra `inference`)")
    add("--model-url", metavar="URL", help="where the provider `local` serves Chat Completions: --model local:NAME")
    add(
        "--github",
        metavar="OWNER/NAME",
        help="a real repository (token in GITHUB_TOKEN): you are asked before it comments",
    )
    told = parser.parse_args()
    if told.github is not None and told.model is None:
        parser.error("--github needs a --model: the script knows only issues of its own")
    if (told.model_url is not None) is not (told.model or "").startswith("local:"):
        parser.error("--model-url says where --model local:NAME is: they go together")
    folder: Path = told.folder.absolute()
    model = told.model or "fake:script.yaml"
    try:
        is_good = tell(folder, repo=told.github, model=model, model_url=told.model_url, fate=Fate(told.kill_at))
    except NotSo as error:
        print(f"   ✘ {error}")
        return 1
    print(f"\nLook around: cd {folder}; INTERLOCK_KEY_FILE=root.key interlock agent list")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
