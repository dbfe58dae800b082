"""The story: what an agent asks for, and what becomes of it. Each function is a step, or two that belong together."""

import json
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from interlock import approvals, connections, runs, sdk, sync
from interlock.cli.demo.folder import ISSUES, REPO, TOKEN, VARIABLE
from interlock.cli.demo.page import StoryBroken, claim
from interlock.cli.demo.stage import REVIEWER, Stage, refused
from interlock.kernel import JSON, Secret, SystemClock

TITLE, SECOND = ISSUES
HELD_TIMEOUT = 60
"""Seconds until the other process must have sent its request."""
RECOVERY_TIMEOUT = 30.0
"""Seconds. The dead process's lease is four, and a sweep comes three times in that."""


def connect(stage: Stage, il: sync.Interlock, environ: Mapping[str, str]) -> None:
    """Connect with the token that the environment holds."""
    stage.page.step(
        "A service shaped like GitHub starts on this machine; a store and a key are made; we connect.",
        f"interlock connect github --token-env {VARIABLE} --base-url {stage.server.url}",
    )
    made = il.connections.connect_token("github", Secret(environ[VARIABLE]), base_url=stage.server.url)
    claim("the connection's state", made.state, connections.State.CONNECTED)
    stage.page.saw(
        f"connected as {made.subject}; the token is kept sealed in {stage.folder.name}/interlock.db",
        connection_id=made.connection_id,
    )


def read(stage: Stage, il: sync.Interlock) -> None:
    """A read that policy allows."""
    stage.page.step("The agent reads a repository.", f"interlock invoke github.repo.fetch repo={REPO}")
    outcome = il.invoke("github.repo.fetch", {"repo": REPO})
    name, branch = _output(outcome)["full_name"], _output(outcome)["default_branch"]
    claim("the repository", name, REPO)
    stage.page.saw(f"{name}, branch {branch}; allowed: {'; '.join(outcome.reasons)}", run_id=outcome.run_id)


def create_twice(stage: Stage, il: sync.Interlock) -> None:
    """One idempotency key, one effect."""
    stage.page.step(
        "It opens an issue. Not sure that this worked, it does so again, under the same key.",
        f"interlock invoke github.issue.create repo={REPO} title='{TITLE}' --idempotency-key valve-3",
    )
    asked = {"repo": REPO, "title": TITLE}
    first = il.invoke("github.issue.create", asked, idempotency_key="valve-3")
    again = il.invoke("github.issue.create", asked, idempotency_key="valve-3")
    claim("the second answer", (again.run_id, again.output), (first.run_id, first.output))
    claim("the second answer is the first one's", (first.replayed, again.replayed), (False, True))
    count = claim("issues opened at the service", stage.server.effects("issues/create"), 1)
    claim("requests to open one", len(stage.server.requests("issues/create")), 1)
    number = _output(first)["number"]
    stage.page.saw(
        f"both times issue #{number}, from one run; issues at the service: {count}", run_id=first.run_id, effects=count
    )


def denied(stage: Stage, il: sync.Interlock) -> None:
    """A call that policy denies."""
    stage.page.step(
        "It wants to delete the main branch. Policy says no, with every reason, and nothing is sent.",
        f"interlock invoke github.git.ref.delete repo={REPO} ref=refs/heads/main",
    )
    before = len(stage.server.requests())
    outcome = il.invoke("github.git.ref.delete", {"repo": REPO, "ref": "refs/heads/main"})
    claim("the state of the run", outcome.state, runs.State.DENIED)
    claim("reasons", len(outcome.reasons), 2)
    claim("requests that reached the service", len(stage.server.requests()) - before, 0)
    stage.page.saw(
        f"denied: {'; '.join(outcome.reasons)}", refused=True, run_id=outcome.run_id, reasons=outcome.reasons
    )


def approved(stage: Stage, il: sync.Interlock) -> None:
    """A write that a person must approve; and the approval is good for one."""
    stage.page.step(
        "It wants to close the issue. That takes a person: the run is held until somebody approves.",
        "interlock approvals approve APPROVAL --actor person:reviewer",
    )
    asked = {"repo": REPO, "issue_number": 1}
    held = il.invoke("github.issue.close", asked)
    claim("the state of the run", held.state, runs.State.HELD)
    approval_id = held.approval_id or ""
    refused("the agent approves its own call", approvals.SelfReview, lambda: il.approvals.approve(approval_id))
    claim("changes of issues before the approval", stage.server.effects("issues/update"), 0)
    desk = il.as_caller(REVIEWER)
    desk.approvals.approve(approval_id)
    closed = desk.approvals.execute(approval_id)
    claim("the issue's state", _output(closed)["state"], "closed")
    count = claim("changes of issues", stage.server.effects("issues/update"), 1)
    stage.page.saw(
        f"held; the agent's own yes is refused; approved by {REVIEWER.actor}; closed {'once' if count == 1 else count}",
        run_id=held.run_id,
        approval_id=approval_id,
        effects=count,
    )
    used = refused("using the approval again", runs.RunNotHeld, lambda: desk.approvals.execute(approval_id))
    claim("its state", il.approvals.fetch(approval_id).state, approvals.State.SPENT)
    again = il.invoke("github.issue.close", asked)
    claim("the same call again", again.state, runs.State.HELD)
    if again.approval_id == approval_id:
        raise StoryBroken("the same call was held under the approval that is spent")
    claim("changes of issues after that", stage.server.effects("issues/update"), 1)
    stage.page.saw(
        f"that approval again: refused ({used.code}), it is spent; the same call again: held anew",
        refused=True,
        refusal=used.code,
        waiting_approval_id=again.approval_id,
    )


def cut_off(stage: Stage, il: sync.Interlock) -> None:
    """A write whose answer is lost on the way back."""
    stage.page.step(
        "It comments. The service takes the comment, but the connection breaks during the answer.",
        f"interlock invoke github.comment.create repo={REPO} issue_number=1 body='Fixed.'",
    )
    stage.server.fault("cut_answer", match="issues/create-comment")
    outcome = il.invoke("github.comment.create", {"repo": REPO, "issue_number": 1, "body": "Fixed."})
    claim("the state of the run", outcome.state, runs.State.COMPLETED)
    history = il.runs.history(outcome.run_id)
    purposes = [(send.purpose, send.delivery) for send in history.sends]
    claim(
        "the sends",
        purposes,
        [(runs.Purpose.EFFECT, runs.Delivery.UNKNOWN), (runs.Purpose.RECONCILE, runs.Delivery.RESPONDED)],
    )
    count = claim("comments at the service", stage.server.effects("issues/create-comment"), 1)
    claim("requests to comment", len(stage.server.requests("issues/create-comment")), 1)
    stage.page.saw(
        f"outcome unknown: looked up, not repeated; it had happened; comments at the service: {count}",
        run_id=outcome.run_id,
        effects=count,
    )


def killed(stage: Stage, environ: Mapping[str, str]) -> str:
    """A process that dies between intent and answer. Returns its run's id."""
    arguments = ["invoke", "github.issue.create", f"repo={REPO}", f"title={SECOND}"]
    stage.page.step(
        "It opens another issue, in a process that is killed with SIGKILL before the answer arrives.",
        f"interlock invoke github.issue.create repo={REPO} title='{SECOND}' & sleep 2; kill -9 $!",
    )
    stage.server.fault("hold", match="issues/create")
    try:
        with stage.process(arguments, environ) as process, stage.page.waiting("the other process sends its request …"):
            _kill_held(stage, process)
    finally:
        stage.server.release()  # to nobody: the process is dead
    claim("issues opened at the service", stage.server.effects("issues/create"), 2)
    return _recovered(stage)


def _kill_held(stage: Stage, process: subprocess.Popen[bytes]) -> None:
    for _ in range(HELD_TIMEOUT):
        try:
            stage.server.wait_held(timeout=1.0)
            break
        except TimeoutError:
            if process.poll() is not None:
                break
    process.kill()
    said = process.communicate()[1].decode(errors="replace")
    claim(f"how the other process ended; it said {said[-500:]!r}", process.returncode, -signal.SIGKILL)


def _recovered(stage: Stage) -> str:
    with stage.opened() as il, stage.page.waiting("restarted; the dead process's lease has yet to lapse …"):
        left = il.runs.list(capability="github.issue.create", limit=1)[0]
        clock = SystemClock()
        began = clock.monotonic()
        state = claim("the run that was left behind", left.state, runs.State.RUNNING)
        stage.page.saw(f"the process is dead: the service has the issue, and the ledger still says {state}")
        while state is runs.State.RUNNING and clock.monotonic() < began + RECOVERY_TIMEOUT:
            time.sleep(0.1)
            state = il.runs.fetch(left.run_id).state  # an open Interlock recovers by itself
        claim("the state of the run after the recovery", state, runs.State.COMPLETED)
        took = clock.monotonic() - began
        claim("how it came to that", _concluded(il, left.run_id), ("happened", 1))
    count = claim("issues opened at the service", stage.server.effects("issues/create"), 2)
    claim("requests to open one", len(stage.server.requests("issues/create")), 2)
    stage.page.saw(
        f"restarted: {took:.1f} s later its lease was over; looked up, found, completed; issues at the service: {count}",
        run_id=left.run_id,
        effects=count,
    )
    return left.run_id


def packet(stage: Stage, il: sync.Interlock, run_id: str) -> None:
    """What proves it, and what a forgery looks like."""
    stage.page.step(
        "All of that run goes into a signed packet, which anyone can check offline with our public key.",
        "interlock review export RUN -o packet.json; interlock review verify packet.json --trust trust.json",
    )
    data, trust = il.runs.packet(run_id), il.trust()
    _keep(stage.folder.path, {"packet.json": data, "trust.json": trust})
    verdict = runs.verify.verify(data, trust=runs.Trust.parse(trust))
    claim("the verdict", verdict.status.value, "verified")
    stage.page.saw(f"verified: {verdict.events} events, chained and signed", verdict=verdict.to_json())

    forge(stage, data, runs.Trust.parse(trust))


def forge(stage: Stage, data: bytes, trust: runs.Trust) -> None:
    """What a forgery looks like."""
    before, after = b'"matches":1', b'"matches":0'
    stage.page.step(
        f"Somebody changes one character of it: {before.decode()} becomes {after.decode()}.",
        "interlock review verify packet-altered.json --trust trust.json",
    )
    claim("places to forge", data.count(before), 1)
    altered = data.replace(before, after)
    _keep(stage.folder.path, {"packet-altered.json": altered})
    verdict = runs.verify.verify(altered, trust=trust)
    claim("the verdict", verdict.status.value, "altered")
    problem = verdict.problems[0]
    claim("the event that is blamed", problem.where.endswith("(reconcile.concluded)"), expected=True)
    stage.page.saw(f"altered: {problem.where}: {problem.what}", refused=True, verdict=verdict.to_json())


def count(stage: Stage, il: sync.Interlock) -> None:
    """Every effect at the service against the ledger, and where the token went."""
    stage.page.step("Finally the count, in the ledger and at the service.", "interlock runs list")
    listed = il.runs.list(limit=50)
    writes = [run for run in listed if il.catalog.fetch(run.capability).operation.effect is not sdk.Effect.READ]
    done = sum(run.state is runs.State.COMPLETED for run in writes)
    effects = claim("effects at the service, against completed writes in the ledger", stage.server.effects(), done)
    claim("runs", len(listed), 7)
    files = [path for path in stage.folder.path.rglob("*") if path.is_file()]
    claim(
        "the files that hold the token", [path.name for path in files if TOKEN.encode() in path.read_bytes()], ["env"]
    )
    stage.page.saw(
        f"{done} writes completed, {effects} effects at the service; the token stands in no file but env",
        runs=len(listed),
        ledger=done,
        service=effects,
    )


def _output(outcome: runs.Outcome) -> Mapping[str, JSON]:
    claim("the state of the run", outcome.state, runs.State.COMPLETED)
    if not isinstance(outcome.output, Mapping):
        raise StoryBroken(f"the output of {outcome.capability} is no object")
    return outcome.output


def _concluded(il: sync.Interlock, run_id: str) -> tuple[str, int]:
    """What reading concluded on a run."""
    bodies = [json.loads(event.body) for event in il.runs.events(run_id) if event.type == "reconcile.concluded"]
    claim("times that it was read about", len(bodies), 1)
    return bodies[0]["data"]["verdict"], bodies[0]["data"]["matches"]


def _keep(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).write_bytes(data)
