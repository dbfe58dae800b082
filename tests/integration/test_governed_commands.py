"""Commands as operations of a connector: policy, run, place, receipt and packet, by the same path as any other call."""

import json
from pathlib import Path
from typing import Any

import pytest

from fix_app import ASK_WRITES, Process, World, asked, run_of, shown
from fix_process import REAL_PYTHON
from interlock import plane, policy, runs, sdk
from interlock.adapters.targets import Bubblewrap, Landlock
from interlock.kernel import InterlockError, UnknownOutcome

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

TOKEN = "tok-0123456789abcdef"
SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache")
LANDLOCK: dict[str, Any] = {
    "targets": ["local-landlock"],
    "confinement": sdk.confined(read=list(SYSTEM), total_memory_bytes=2**30, processes=50),
}
OPEN: dict[str, Any] = {"targets": ["local-process"]}


class Word(sdk.Input):
    """Say a word."""

    word: str
    more: list[str] | None = None
    tone: str | None = None


class Said(sdk.Record):
    stdout: str


class Counted(sdk.Record):
    letters: int = sdk.at("/count/letters")
    word: str = sdk.echo("word")


landlocked = pytest.mark.skipif(Landlock().unavailable is not None, reason="this host has no Landlock")


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def shell(program: str) -> list[str]:
    return ["/bin/sh", "-c", program, "sh"]


def tools(*operations: sdk.Draft, auth: sdk.Draft | None = None) -> sdk.Manifest:
    return sdk.Connector(
        "tools",
        version="1.0.0",
        description="Commands of this host.",
        base_url="https://tools.acme.dev",
        auth=[auth or sdk.no_auth()],
        operations=operations,
    ).manifest


def say(program: str = 'printf "%s|" "$@"', **changes: Any) -> sdk.Draft:
    given: dict[str, Any] = {"input": Word, "output": Said, **OPEN, **changes}
    return sdk.command("word.say", [*shell(program), "--", "{word}", "{more}", "--tone={tone}"], **given)


async def speak(process: Process, word: str = "hello", **changes: Any) -> runs.Outcome:
    given = {name: changes.pop(name) for name in ("more", "tone") if name in changes}
    return await process.il.invoke("tools.word.say", {"word": word, **given}, **changes)


async def test_a_command_is_a_run(world: World):
    async with world.process(manifest=tools(say())) as process:
        outcome = await speak(process, "hello; rm -rf /", more=["a b", "$c"], tone="low")
        assert shown(outcome) == {"stdout": "--|hello; rm -rf /|a b|$c|--tone=low|"}
        [send] = (await process.last()).sends
        assert (send.target_class, send.delivery) == ("local-process", runs.Delivery.RESPONDED)
        packet = json.loads(await process.il.runs.packet(outcome.run_id))
        [sent] = packet["records"]["sends"]
        assert sent["intent"]["argv"][-3:] == ["a b", "$c", "--tone=low"]
        receipt = plane.Receipt.model_validate_json(json.dumps(sent["receipt"]))
        assert receipt.facts["exit_code"] == 0
        assert plane.verify_evidence(receipt) is None


async def test_what_is_not_given_is_left_out(file_world: World):
    async with file_world.process(manifest=tools(say())) as process:
        assert shown(await speak(process)) == {"stdout": "--|hello|"}


async def test_json_becomes_the_output(file_world: World):
    program = 'printf \'{"count": {"letters": %d}}\' $(cat | wc -c)'
    counting = sdk.command(
        "word.count", shell(program), input=Word, output=Counted, stdin="word", stdout="json", effect="read",
        idempotency="natural", **OPEN,
    )  # fmt: skip
    async with file_world.process(manifest=tools(counting)) as process:
        outcome = await process.il.invoke("tools.word.count", {"word": "hello"})
        assert shown(outcome) == {"letters": 5, "word": "hello"}


async def test_a_value_cannot_become_an_option(file_world: World):
    bare = sdk.command("word.say", [*shell("echo ran"), "{word}"], input=Word, output=Said, **OPEN)
    async with file_world.process(manifest=tools(bare)) as process:
        with pytest.raises(sdk.InvalidArgument, match="dash"):
            await speak(process, "--force")
        assert await process.states() == []


async def test_policy_asks_and_an_approval_executes_it(file_world: World):
    file_world.law = ASK_WRITES
    async with file_world.process(manifest=tools(say())) as process:
        held = await speak(process)
        assert held.state is runs.State.HELD
        await process.reviewer.approvals.approve(asked(held))
        done = await process.il.approvals.execute(asked(held))
        assert shown(done) == {"stdout": "--|hello|"}


async def test_a_secret_goes_by_variable_or_descriptor_and_nowhere_else(file_world: World, tmp_path: Path):
    secrets = [sdk.secret("token", env="TOOL_TOKEN"), sdk.secret("token", fd=5)]
    program = 'read -r by_fd <&5; [ "$by_fd" = "$TOOL_TOKEN" ] && echo "$TOOL_TOKEN"; /usr/bin/env | wc -l'
    manifest = tools(say(program, secrets=secrets), auth=sdk.token_profile())
    async with file_world.process(manifest=manifest) as process:
        await process.il.connections.connect_token("tools", TOKEN)
        outcome = await speak(process)
        assert str(shown(outcome)["stdout"]).startswith("[redacted]\n")
        packet = await process.il.runs.packet(outcome.run_id)
        assert TOKEN.encode() not in packet
    assert [path for path in files(tmp_path) if TOKEN.encode() in path.read_bytes()] == []


# -- how it ends


async def test_an_exit_code_that_says_nothing_was_done(file_world: World):
    refusing = say("exit 3", refusals={3: "resource_not_found"})
    async with file_world.process(manifest=tools(refusing)) as process:
        with pytest.raises(sdk.ResourceNotFound):
            await speak(process)
        history = await process.last()
        assert history.run.state is runs.State.FAILED
        assert history.sends[-1].delivery is runs.Delivery.REJECTED


async def test_after_any_other_exit_code_nobody_knows(file_world: World):
    async with file_world.process(manifest=tools(say("exit 1"))) as process:
        with pytest.raises(UnknownOutcome) as raised:
            await speak(process)
        run = await process.il.runs.fetch(run_of(raised.value))
        assert run.state is runs.State.WAITING
        settled = await process.reviewer.runs.settle(run.run_id, seen=runs.Seen.NOT_HAPPENED)
        assert settled.state is runs.State.FAILED


async def test_a_command_that_is_not_there_did_nothing(file_world: World):
    lost = sdk.command("word.say", ["/no/such/command"], input=Word, output=Said, **OPEN)
    async with file_world.process(manifest=tools(lost)) as process:
        with pytest.raises(InterlockError) as raised:
            await speak(process)
        assert raised.value.details["failure_class"] == "launch_failed"
        assert (await process.last()).run.state is runs.State.FAILED


async def test_a_read_that_fails_has_failed(file_world: World):
    reading = say("exit 1", effect="read", idempotency="natural")
    async with file_world.process(manifest=tools(reading)) as process:
        with pytest.raises(InterlockError) as raised:
            await speak(process)
        assert raised.value.details["failure_class"] == "exit_nonzero"
        assert await process.states() == ["failed"]


# -- where it runs


@landlocked
async def test_the_next_acceptable_place_is_tried(file_world: World):
    choosy = say(targets=["moon-base", "local-landlock"], confinement=LANDLOCK["confinement"])
    async with file_world.process(manifest=tools(choosy)) as process:
        assert shown(await speak(process)) == {"stdout": "--|hello|"}
        sends = (await process.last()).sends
        assert [(send.target_class, send.delivery.value) for send in sends] == [
            ("moon-base", "not_sent"),
            ("local-landlock", "responded"),
        ]


@landlocked
async def test_a_confined_command_touches_what_it_lists(file_world: World, tmp_path: Path):
    (tmp_path / "secret").write_text("treasure")
    nosy = say(f"cat {tmp_path}/secret; exit 0", **LANDLOCK)
    async with file_world.process(manifest=tools(nosy)) as process:
        assert shown(await speak(process)) == {"stdout": ""}


@landlocked
@pytest.mark.skipif(Bubblewrap().unavailable is not None, reason="this host has no bubblewrap")
async def test_a_confined_command_reaches_listed_hosts_where_that_was_shown(file_world: World):
    fetch = """
import sys, urllib.error, urllib.request
for url in sys.argv[1:]:
    try:
        print(urllib.request.urlopen(url, timeout=10).status)
    except urllib.error.HTTPError as error:
        print(error.code, error.reason)
"""
    reaching = sdk.command(
        "word.say",
        [REAL_PYTHON, "-I", "-S", "-c", fetch, "{word}", "{more}"],
        input=Word,
        output=Said,
        targets=["local-landlock", "local-bubblewrap"],
        confinement=sdk.confined(
            read=[*SYSTEM, str(Path(REAL_PYTHON).parents[1])], network="hosts", hosts=[file_world.host]
        ),
    )
    async with file_world.process(manifest=tools(reaching)) as process:
        said = shown(await speak(process, f"http://{file_world.host}/nothing", more=["http://127.0.0.1:9/"]))
        assert said == {"stdout": "401 Unauthorized\n403 Refused\n"}
        sends = (await process.last()).sends
        assert [(send.target_class, send.delivery.value) for send in sends] == [
            ("local-landlock", "not_sent"),
            ("local-bubblewrap", "responded"),
        ]


@pytest.mark.parametrize(
    ("author", "caller", "law"),
    [("strict", None, None), ("none", "strict", None), ("none", None, "strict")],
    ids=["the author demands it", "the caller asks for it", "policy raises it"],
)
async def test_below_the_sandbox_level_nothing_runs(file_world: World, author: Any, caller: Any, law: Any):
    file_world.law = policy.Policy(rules=(policy.Rule(rule_id="all", then=policy.Effect.ALLOW, sandbox=law),))
    weak = say(sandbox=author, **LANDLOCK)  # at `standard`: processes of the host can be seen
    async with file_world.process(manifest=tools(weak)) as process:
        with pytest.raises(runs.SandboxNotEnforced, match="'strict'"):
            await speak(process, sandbox=caller)
        assert await process.states() == []


@landlocked
@pytest.mark.parametrize("elsewhere", sorted(plane.PLACED))
async def test_a_place_elsewhere_is_passed_over(file_world: World, elsewhere: str):
    wide = say(targets=[elsewhere, "local-landlock"], confinement=LANDLOCK["confinement"])
    async with file_world.process(manifest=tools(wide)) as process:
        assert shown(await speak(process)) == {"stdout": "--|hello|"}
        sends = (await process.last()).sends
        assert [(send.target_class, send.delivery.value) for send in sends] == [
            (elsewhere, "not_sent"),
            ("local-landlock", "responded"),
        ]


async def test_a_run_that_is_cancelled_while_its_target_is_made_ready(
    file_world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    async with file_world.process(manifest=tools(say(f"touch {tmp_path}/done"))) as process:
        offered = process.parts.wiring.offered
        really = offered.ready

        async def ready(target_class: str) -> None:
            await really(target_class)
            await process.il.runs.cancel((await process.last()).run.run_id)

        monkeypatch.setattr(offered, "ready", ready)
        with pytest.raises(runs.RunCancelled):
            await speak(process)
        assert await process.states() == ["cancelled"]
        assert not (tmp_path / "done").exists()


@landlocked
async def test_a_place_below_the_level_is_passed_over(file_world: World):
    wide = say(targets=["moon-base", "local-landlock"], confinement=LANDLOCK["confinement"])
    async with file_world.process(manifest=tools(wide)) as process:
        assert shown(await speak(process, sandbox="standard")) == {"stdout": "--|hello|"}
        assert [send.target_class for send in (await process.last()).sends] == ["moon-base", "local-landlock"]


async def test_a_place_that_the_author_does_not_name_is_refused(file_world: World):
    async with file_world.process(manifest=tools(say(**LANDLOCK))) as process:
        with pytest.raises(runs.TargetRefused, match="local-landlock"):
            await speak(process, target="local-process")


# -- what an author can get wrong


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"argv": ["{word}"]}, "no input may choose it"),
        ({"argv": ["echo", "{wrod}"]}, "names no field"),
        ({"stdin": "wrod"}, "no such field"),
        ({"targets": ["local-landlock"]}, "say what it may touch"),
        ({"confinement": sdk.confined(read=["/usr"]), "targets": ["local-process"]}, "confines nothing"),
        ({"confinement": sdk.confined(read=["/usr/../etc"]), "targets": ["local-landlock"]}, "goes up"),
        ({"confinement": sdk.confined(network="hosts"), "targets": ["local-bubblewrap"]}, "hosts are listed for"),
        ({"confinement": sdk.confined(hosts=["a.dev:443"]), "targets": ["local-bubblewrap"]}, "hosts are listed for"),
        ({"confinement": sdk.confined(network="hosts", hosts=["a.dev"])}, "hosts"),
        ({"targets": ["local-process"], "sandbox": "standard"}, "needs one"),
        ({"secrets": [sdk.secret("token", env="A", fd=3)]}, "one of both"),
        ({"secrets": [sdk.secret("token", env="A")]}, "no auth profile"),
        ({"secrets": [sdk.secret("token", env="A")], "env": {"A": "x"}}, "given twice"),
        ({"reconcile": sdk.find("/x", match={"/a": "b"})}, "answers of a service"),
        ({"refusals": {0: "resource_not_found"}}, "refusals"),
    ],
)
def test_a_declaration_that_contradicts_itself(changes: dict[str, Any], problem: str):
    argv = changes.pop("argv", ["echo", "{word}"])
    given: dict[str, Any] = {"targets": ["local-process"], **changes}
    with pytest.raises(sdk.InvalidManifest, match=problem):
        tools(sdk.command("word.say", argv, input=Word, output=Said, **given))
