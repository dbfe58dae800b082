"""The script lane, with the real interpreter: what scripts can do, what they cannot, and what ends them."""

import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.lowlevel
import psutil
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fix_plane import Bench, Intents
from interlock import plane
from interlock.adapters import targets
from interlock.adapters.lanes import ScriptLane
from interlock.kernel import JSON, InterlockError, RequestError, SystemClock

pytestmark = pytest.mark.anyio

CLASS = "script"


class Host:
    """Answers actions: with what it was given, or as told."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.performed: list[tuple[str, Mapping[str, JSON], int]] = []
        self.at_once = self.most_at_once = 0

    async def perform(
        self, action: str, arguments: Mapping[str, JSON], execution: plane.ScriptExecution
    ) -> JSON | plane.Denied | plane.Held:
        self.performed.append((action, arguments, execution.seq))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await anyio.lowlevel.checkpoint()
            answer = self.answers.get(action, arguments)
            if isinstance(answer, Exception):
                raise answer
            return await cast("Any", answer)() if callable(answer) else answer
        finally:
            self.at_once -= 1


class Scripts:
    """Runs scripts through a node."""

    def __init__(self, host: Host | None = None, **lane: Any) -> None:
        self.host = host or Host()
        self.intents = Intents()
        self.intents.clock = SystemClock()  # type: ignore[assignment]  # the interpreter's time is real
        lane.setdefault("confiner", targets.Landlock())
        self.lane = ScriptLane(self.host, **lane)
        target = plane.LocalTarget("here", target_class=CLASS, lane_id="script", clock=self.intents.clock)
        self.bench = Bench(self.intents, self.lane, [target])

    def intent(self, source: str, actions: Any = ("look",), limits: dict[str, int] | None = None, **fields: Any) -> Any:
        return plane.ScriptIntent(
            intent_id="snd_1",
            tenant_id="default",
            run_id="run_1",
            attempt_id="att_1",
            trace_id="trace-1",
            deadline_at=self.intents.clock.now() + timedelta(seconds=120),
            source=source,
            actions=tuple(plane.ScriptAction(name=each) if isinstance(each, str) else each for each in actions),
            limits=plane.ScriptLimits(**{"run_ms": 3000} | (limits or {})),
            **fields,
        )

    async def run(self, source: str, **fields: Any) -> plane.Receipt:
        return await self.bench.execute(self.intent(source, **fields), CLASS)


@pytest.fixture
def scripts() -> Scripts:
    return Scripts()


@pytest.fixture(autouse=True)
def _nothing_left() -> Any:
    """No worker outlives its script."""
    yield
    assert not [child for child in psutil.Process().children() if "monty" in child.name()]


def failed(receipt: plane.Receipt) -> tuple[str, str]:
    assert receipt.failure is not None
    return receipt.failure.failure_class.value, receipt.failure.code


# -- what scripts can do


async def test_a_script_computes(scripts: Scripts):
    receipt = await scripts.run("{'sum': sum(input['of']), 'n': len(input['of'])}", input={"of": [1, 2, 3]})
    assert receipt.failure is None
    assert receipt.body == b'{"n":3,"sum":6}'
    assert receipt.delivery is plane.Delivery.RESPONDED
    assert receipt.facts["result_digest"] == receipt.body_digest
    assert receipt.facts["actions_asked"] == receipt.facts["actions_refused"] == []


async def test_each_action_is_asked_for_with_its_arguments(scripts: Scripts):
    receipt = await scripts.run("a = look(at='x')\nb = look(at=a['at'] + 'y')\n[a, b]")
    assert receipt.body == b'[{"at":"x"},{"at":"xy"}]'
    assert scripts.host.performed == [("look", {"at": "x"}, 1), ("look", {"at": "xy"}, 2)]
    assert receipt.facts["actions_asked"] == ["look", "look"]
    links = [link for link in receipt.evidence if link.type == "action"]
    assert [link.data["seq"] for link in links] == [1, 2]
    assert "xy" not in receipt.canonical


async def test_an_action_is_a_value_like_any_function(scripts: Scripts):
    receipt = await scripts.run("f = look\n[f(n=i)['n'] for i in range(3)]")
    assert receipt.body == b"[0,1,2]"


@pytest.mark.parametrize("source", ["len", "[len]", "ValueError", "type(1)", "{1: 2}"])
async def test_a_result_that_is_no_json_is_refused(scripts: Scripts, source: str):
    assert failed(await scripts.run(source)) == ("script_failed", "result_unfit")


async def test_what_a_result_is_written_as(scripts: Scripts):
    assert (await scripts.run("def f():\n    return 1\n[f]")).body.startswith(b"[\"<function 'f'")
    assert (await scripts.run("'\\ud800'")).body == '"\ufffd"'.encode()


async def test_the_same_intent_does_the_same_again(scripts: Scripts):
    source = "import random\n[random.random(), random.randint(1, 10**9), list({'a', 'b', 'c', 'd'}), hash('x')]"
    first, second = await scripts.run(source), await scripts.run(source)
    assert first.body == second.body


async def test_one_script_sees_nothing_of_another(scripts: Scripts):
    await scripts.run("kept = 1")
    assert failed(await scripts.run("kept")) == ("script_failed", "script_failed")


async def test_output_is_heard_while_it_runs(scripts: Scripts):
    intent = scripts.intent("print('one')\nlook()\nprint('two')\n1/0")
    exchange = plane.Exchange(scripts.intents.clock)
    exchange.channel = plane.Channel(plane.EventLog("x", scripts.intents.clock), plane.Inbox())
    with pytest.raises(plane.LaneFailure, match="ZeroDivisionError in line 4"):
        await scripts.lane.execute(intent, exchange)
    said: dict[str | None, bytes] = {}
    exchange.channel.log.end(await scripts.run("1"))
    async for event in exchange.channel.log.follow():
        if event.type is plane.EventType.OUTPUT:
            said[event.stream] = said.get(event.stream, b"") + event.data
    assert said["stdout"] == b"one\ntwo\n"
    assert b"ZeroDivisionError" in said["stderr"]
    assert exchange.facts["output_bytes"] == 8


# -- what the record holds


async def test_the_record_holds_neither_source_nor_input(scripts: Scripts):
    intent = scripts.intent("'tattle'", input={"name": "hush"})
    assert "tattle" not in intent.canonical
    assert "hush" not in intent.canonical
    back = plane.ScriptIntent.model_validate_json(intent.canonical)
    assert back.digest == intent.digest
    assert not back.has_body
    intent.input["name"] = "another"
    for each in (back, intent):
        with pytest.raises(RequestError, match="not what the record speaks of"):
            await scripts.bench.node.execute(each, authority=None, target_class=CLASS)


@pytest.mark.parametrize(
    "fields",
    [
        {"source": "x" * 300_000},
        {"source": "\ud800"},
        {"source": "1", "input": float("nan")},
        {"source": "1", "input": {1: 2}},
        {"source": "1", "input": object()},
        {"source": "1", "actions": ("look", "look")},
        {"source": "1", "limits": {"recursion": 0}},
    ],
)
def test_a_malformed_intent_is_refused(scripts: Scripts, fields: dict[str, Any]):
    with pytest.raises(ValueError):
        scripts.intent(**fields)


@pytest.mark.parametrize("name", ["print", "input", "if", "Look", "__import__", "", "a.b"])
def test_an_action_cannot_take_a_word_of_the_language(name: str):
    with pytest.raises(ValueError):
        plane.ScriptAction(name=name)


# -- what scripts are refused


async def test_what_is_not_declared_is_refused_and_recorded(scripts: Scripts):
    receipt = await scripts.run("delete_all(sure=True)")
    assert failed(receipt) == ("script_denied", "script_denied")
    assert receipt.facts["actions_refused"] == ["delete_all"]
    assert receipt.delivery is plane.Delivery.NOT_SENT
    assert not scripts.host.performed


async def test_a_script_may_go_on_after_a_refusal():
    scripts = Scripts(Host(look=plane.Denied("not today", "policy_denied")))
    source = "r = ''\ntry:\n  look()\nexcept PermissionError as e:\n  r = str(e)\nr"
    receipt = await scripts.run(source)
    assert receipt.body == b'"not today"'
    assert receipt.facts["actions_refused"] == ["look"]
    assert [link.data["code"] for link in receipt.evidence if link.type == "action_refused"] == ["policy_denied"]


async def test_a_denial_that_is_not_caught_ends_it():
    receipt = await Scripts(Host(look=plane.Denied("not today"))).run("look()")
    assert failed(receipt) == ("script_denied", "script_denied")
    assert receipt.delivery is plane.Delivery.NOT_SENT


@pytest.mark.parametrize(
    ("nothing_done", "delivery"), [(True, plane.Delivery.NOT_SENT), (False, plane.Delivery.RESPONDED)]
)
async def test_an_action_that_waits_for_a_person_ends_it(nothing_done: bool, delivery: plane.Delivery):
    scripts = Scripts(Host(look=plane.Held("somebody has to look at it", nothing_done=nothing_done)))
    receipt = await scripts.run("try:\n  look()\nexcept Exception:\n  pass\n1")
    assert failed(receipt) == ("script_held", "script_held")
    assert receipt.delivery is delivery
    assert "action_held" in [link.type for link in receipt.evidence]


async def test_chance_and_time_can_be_given(scripts: Scripts):
    source = "from datetime import datetime\nstr(datetime.now())"
    moment = scripts.intents.clock.now() - timedelta(days=1)
    first = await scripts.run(source, moment=moment, seed="s", input=1)
    assert (await scripts.run(source, moment=moment, seed="s", input=2)).body == first.body
    assert (await scripts.run(source, seed="s")).body != first.body


async def test_an_action_that_fails_is_told_to_the_script():
    scripts = Scripts(Host(look=InterlockError("nobody there")))
    receipt = await scripts.run("try:\n  look()\nexcept RuntimeError as e:\n  r = str(e)\nr")
    assert b"nobody there" in receipt.body
    assert "action_failed" in [link.type for link in receipt.evidence]
    assert receipt.facts["actions_failed"] == ["look: interlock_error"]


async def test_an_action_that_fails_and_is_not_caught_is_named_with_its_code_and_without_its_words():
    receipt = await Scripts(Host(look=RequestError("nobody called mona"))).run("1\nlook()")
    assert failed(receipt) == ("script_failed", "script_failed")
    assert receipt.failure is not None
    assert receipt.failure.message == "the script ended: the action look failed (invalid_request) in line 2"
    assert receipt.facts["actions_failed"] == ["look: invalid_request"]
    assert "mona" not in receipt.canonical


async def test_what_went_wrong_with_the_script_itself_is_put_on_no_action():
    receipt = await Scripts(Host(look=RequestError("no"))).run("try:\n  look()\nexcept RuntimeError:\n  pass\n[][1]")
    assert receipt.failure is not None
    assert receipt.failure.message == "the script ended: IndexError in line 5"


SCHEMA = {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"], "additionalProperties": False}


@pytest.mark.parametrize("call", ["look()", "look(at=1)", "look(at='x', by=2)", "look('x')", "look(at={1: 2})"])
async def test_arguments_that_do_not_fit_reach_nobody(scripts: Scripts, call: str):
    receipt = await scripts.run(call, actions=(plane.ScriptAction(name="look", arguments=SCHEMA),))
    assert failed(receipt) == ("script_failed", "script_failed")
    assert not scripts.host.performed


async def test_an_answer_that_does_not_fit_is_no_answer():
    scripts = Scripts(Host(look=5))
    receipt = await scripts.run("look()", actions=(plane.ScriptAction(name="look", answer={"type": "string"}),))
    assert failed(receipt) == ("script_failed", "answer_unfit")
    assert receipt.delivery is plane.Delivery.RESPONDED


@pytest.mark.parametrize("schema", [{"type": 5}, {"$ref": "https://schemas.acme.dev/x.json"}])
async def test_a_schema_that_is_none_ends_it_before_it_begins(scripts: Scripts, schema: Any):
    receipt = await scripts.run("1", actions=(plane.ScriptAction(name="look", arguments=schema),))
    assert failed(receipt) == ("script_invalid", "schema_invalid")


async def test_an_action_has_its_own_count(scripts: Scripts):
    receipt = await scripts.run("look()\nlook()", actions=(plane.ScriptAction(name="look", max_calls=1),))
    assert failed(receipt) == ("script_denied", "script_denied")
    assert len(scripts.host.performed) == 1


ESCAPES = {
    "module": "import subprocess",
    "socket": "import socket",
    "ctypes": "import ctypes",
    "importer": "__import__('os').system('id')",
    "system": "import os\nos.system('id')",
    "environment": "import os\nos.environ['HOME']",
    "read": "open('/etc/passwd').read()",
    "write": "open('/tmp/x', 'w').write('x')",
    "path": "from pathlib import Path\nPath('/etc/passwd').read_text()",
    "list": "import os\nos.listdir('/')",
    "entropy": "import os\nos.urandom(8)",
    "sleep": "import time\ntime.sleep(1)",
    "classes": "().__class__.__bases__[0].__subclasses__()",
    "getattr": "getattr((), '__cl' + 'ass__')",
    "globals": "(lambda: 0).__globals__",
    "action": "f = look\nf.__globals__",
    "builtins": "__builtins__.open",
    "modules": "import sys\nsys.modules['os']",
    "frames": "try:\n  1/0\nexcept Exception as e:\n  e.__traceback__.tb_frame.f_globals",
    "eval": "eval('__import__(\"os\")').system",
    "format": "'{0.__class__.__mro__}'.format(1)",
    "host": "look.__self__",
}


@pytest.mark.parametrize("source", ESCAPES.values(), ids=ESCAPES.keys())
async def test_there_is_no_way_out(scripts: Scripts, source: str):
    receipt = await scripts.run(source)
    assert failed(receipt)[0] in {"script_failed", "script_denied"}
    assert receipt.delivery is plane.Delivery.NOT_SENT
    assert not scripts.host.performed


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux sets another process's limits")
async def test_the_system_keeps_the_interpreter_from_files_and_processes():
    """The second wall, looked at from outside while the script waits for its action."""
    seen: dict[str, Any] = {}

    async def look() -> None:
        (worker,) = [child for child in psutil.Process().children() if "monty" in child.name()]
        root = Path(f"/proc/{worker.pid}")
        seen["environment"] = (root / "environ").read_bytes()
        seen["files"] = [os.readlink(link) for link in (root / "fd").iterdir()]
        lines = (root / "limits").read_text().splitlines()
        seen["walls"] = {line[:26].strip(): line[26:].split()[:2] for line in lines[1:]}
        told = dict(line.split(":\t", 1) for line in (root / "status").read_text().splitlines() if ":\t" in line)
        seen["groups"] = (root / "cgroup").read_text()
        seen["held"] = [told[name].strip("0") for name in ("NoNewPrivs", "Seccomp", "CapEff", "CapBnd", "CapPrm")]

    receipt = await Scripts(Host(look=look)).run("look()")
    assert receipt.failure is None
    assert (
        seen["walls"]["Max open files"]
        == seen["walls"]["Max processes"]
        == seen["walls"]["Max file size"]
        == ["0", "0"]
    )
    assert seen["walls"]["Max cpu time"] == ["4", "4"]
    assert seen["environment"] == b""
    confined_by = receipt.facts["confined_by"]
    assert isinstance(confined_by, list)
    assert "rlimits" in confined_by
    assert ("processes" in confined_by) is (os.geteuid() != 0 or "/interlock-" in seen["groups"])
    if targets.Landlock().unavailable is None:
        assert confined_by[0] == plane.LOCAL_LANDLOCK
        assert seen["held"] == ["1", "2", "", "", ""]
    assert not [name for name in seen["files"] if "socket" in name or name.endswith(".db")]


class Bare(targets.Landlock):
    """Says that it confines, and does not."""

    @asynccontextmanager
    async def confine(
        self, command: plane.Command, profile: plane.SandboxProfile, limits: plane.ResourceLimits
    ) -> AsyncGenerator[plane.Confinement]:
        async with super().confine(command, profile, limits) as made:
            launch = plane.Launch(argv=command.argv, env=command.env, cwd=command.cwd)
            yield _Confined(launch, made.not_started, made.wait_status)


class Tight(targets.Landlock):
    """Lets nothing be read, so that nothing can be started."""

    @asynccontextmanager
    async def confine(
        self, command: plane.Command, profile: plane.SandboxProfile, limits: plane.ResourceLimits
    ) -> AsyncGenerator[plane.Confinement]:
        async with super().confine(command, profile.model_copy(update={"read": ()}), limits) as made:
            yield made


@dataclass
class _Confined:
    launch: plane.Launch
    not_started: Callable[[], plane.Failure | None]
    wait_status: Callable[[int], int | None]


@pytest.mark.skipif(targets.Landlock().unavailable is not None, reason="this host has no Landlock")
@pytest.mark.parametrize(
    ("confiner", "code", "words"),
    [(Bare(), "interpreter_unconfined", "without the confinement"), (Tight(), "interpreter_lost", "cannot be used")],
)
async def test_an_interpreter_that_is_not_held_as_it_should_be_runs_nothing(
    confiner: plane.Confiner, code: str, words: str
):
    receipt = await Scripts(confiner=confiner).run("1")
    assert failed(receipt) == ("lane_unavailable", code)
    assert receipt.failure is not None
    assert words in receipt.failure.message
    assert receipt.delivery is plane.Delivery.NOT_SENT


# -- what ends them

LIMITS: dict[str, tuple[str, str, dict[str, int]]] = {
    "loop": ("while True:\n  pass", "run_ms", {"run_ms": 100}),
    "stubborn loop": (
        "while True:\n  try:\n    while True: pass\n  except BaseException: pass",
        "run_ms",
        {"run_ms": 100},
    ),
    "slow operation": ("str(10**4000000)", "run_ms", {"run_ms": 100}),
    "list": ("x = []\nwhile True:\n  x.append('a' * 1000)", "memory_bytes", {}),
    "string": ("x = 'a'\nwhile True:\n  x = x + x", "memory_bytes", {}),
    "one allocation": ("'ab' * (1 << 40)", "memory_bytes", {}),
    "number": ("pow(3, 10**9)", "memory_bytes", {}),
    "join": ("('a' * 100000).join(['b'] * 100000)", "memory_bytes", {}),
    "recursion": ("def f(n):\n  return f(n + 1)\nf(0)", "recursion", {}),
    "output": ("while True:\n  print('a' * 1000)", "output_bytes", {"output_bytes": 10_000}),
    "actions": ("while True:\n  look()", "max_actions", {"max_actions": 7}),
    "refusals": ("while True:\n  try:\n    nope()\n  except BaseException: pass", "max_actions", {"max_actions": 7}),
    "lookups": ("while True:\n  try:\n    nope\n  except BaseException: pass", "max_actions", {}),
}


@pytest.mark.parametrize(("source", "limit", "limits"), LIMITS.values(), ids=LIMITS.keys())
async def test_a_limit_ends_it(scripts: Scripts, source: str, limit: str, limits: dict[str, int]):
    receipt = await scripts.run(source, limits=limits)
    assert failed(receipt) == ("script_limit", limit)
    assert receipt.facts["limit"] == limit
    assert len(scripts.host.performed) <= 7
    if scripts.host.performed:
        assert receipt.delivery is plane.Delivery.RESPONDED
    else:
        assert receipt.delivery is plane.Delivery.NOT_SENT


async def test_memory_is_bounded_outside_too(scripts: Scripts):
    receipt = await scripts.run("x = []\nwhile True:\n  x.append('a' * 1000)")
    took = receipt.facts["memory_bytes"]
    assert took is None or (isinstance(took, int) and took < 100 * 2**20)


BOMBS = {
    "shared": "x = [1]\nfor _ in range(60):\n  x = [x, x]\nx",
    "shared in an argument": "x = [1]\nfor _ in range(60):\n  x = [x, x]\nlook(x=x)",
    "deep": "x = []\nfor _ in range(200000):\n  x = [x]\nx",
    "wide": "[0] * 200000",
    "long": "'x' * 1000000",
    "not JSON": "{1, 2}",
    "not a number": "float('nan')",
    "huge number": "2 ** 4000",
    "huge decimal": "10 ** 5000",
    "key": "{1: 2}",
    "bytes": "b'x'",
}


@pytest.mark.parametrize("source", BOMBS.values(), ids=BOMBS.keys())
async def test_a_value_that_cannot_cross_the_border(scripts: Scripts, source: str):
    receipt = await scripts.run(source)
    assert failed(receipt)[0] == "script_failed"
    assert receipt.body == b""
    assert not scripts.host.performed


@pytest.mark.parametrize("source", ["def", "(" * 20_000 + ")" * 20_000, "x = = 1", "\x00", "def g():\n  yield 1\ng()"])
async def test_what_is_no_program_never_runs(scripts: Scripts, source: str):
    receipt = await scripts.run("look()\n" + source)
    assert failed(receipt) == ("script_invalid", "script_invalid")
    assert not scripts.host.performed


async def test_its_own_words_stay_out_of_the_receipt(scripts: Scripts):
    receipt = await scripts.run("x = 1\nraise ValueError('hush ' + input)", input="hush")
    assert failed(receipt) == ("script_failed", "script_failed")
    assert receipt.failure is not None
    assert "ValueError in line 2" in receipt.failure.message
    assert "hush" not in receipt.canonical


async def test_a_hot_loop_holds_up_nobody(scripts: Scripts):
    """The loop of events goes on."""
    turns, receipts = 0, list[plane.Receipt]()

    async def run() -> None:
        receipts.append(await scripts.run("while True:\n  pass", limits={"run_ms": 200}))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        while not receipts:
            await anyio.lowlevel.checkpoint()
            turns += 1
    assert failed(receipts[0]) == ("script_limit", "run_ms")
    assert turns > 100


async def test_cancelling_ends_a_hot_loop(scripts: Scripts):
    """The fixture then looks for what is left behind."""
    with anyio.move_on_after(0.2) as scope:
        await scripts.run("while True:\n  pass", limits={"run_ms": 60_000})
    assert scope.cancelled_caught


async def test_cancelled_while_an_action_is_open_nobody_knows():
    scope = anyio.CancelScope()

    async def look() -> None:
        scope.cancel()
        await anyio.sleep_forever()

    scripts = Scripts(Host(look=look))
    intent, receipts = scripts.intent("look()"), list[plane.Receipt]()
    with scope:
        await scripts.bench.node.execute(
            intent,
            authority=scripts.bench.authority(intent, CLASS),
            target_class=CLASS,
            on_receipt=receipts.append,
        )
    (receipt,) = receipts
    assert failed(receipt) == ("cancelled", "cancelled")
    assert receipt.delivery is plane.Delivery.UNKNOWN
    assert receipt.facts["actions_asked"] == ["look"]


async def test_a_killed_interpreter_is_a_failure():
    async def kill() -> None:
        (worker,) = [child for child in psutil.Process().children() if "monty" in child.name()]
        worker.kill()
        worker.wait()

    receipt = await Scripts(Host(look=kill)).run("look()")
    assert failed(receipt) == ("script_failed", "interpreter_died")


ORPHAN = """
import sys
sys.path[:0] = {paths!r}
import anyio, psutil
from test_script_lane import Host, Scripts

async def show():
    (worker,) = psutil.Process().children()
    print(worker.pid, flush=True)

SOURCE = "look()\\nwhile True:\\n  try:\\n    while True: pass\\n  except BaseException: pass"

async def main():
    await Scripts(Host(look=show)).run(SOURCE, limits={{"run_ms": 100}})

anyio.run(main)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux sets another process's limits")
@pytest.mark.faults
def test_a_killed_host_leaves_no_hot_loop_behind():
    folder = Path(__file__).parent
    program = ORPHAN.format(paths=[str(folder), str(folder.parent)])
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        worker = psutil.Process(int(host.stdout.readline()))
        host.kill()
    _gone, alive = psutil.wait_procs([worker], timeout=30)
    assert not alive


@pytest.mark.faults
async def test_a_hundred_at_once():
    scripts = Scripts(workers=8)
    receipts: list[plane.Receipt] = []

    async def one(number: int) -> None:
        receipts.append(await scripts.run("look(n=input)['n'] * 2", input=number))

    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(one, number)
    assert sorted(int(receipt.body) for receipt in receipts) == [2 * number for number in range(100)]
    assert scripts.host.most_at_once <= 8


async def test_a_closed_lane_runs_nothing(scripts: Scripts):
    await scripts.lane.aclose()
    assert failed(await scripts.run("1")) == ("lane_unavailable", "lane_closed")


async def test_without_its_extra_it_says_what_to_install(scripts: Scripts, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    receipt = await scripts.run("1")
    assert failed(receipt) == ("lane_unavailable", "interpreter_missing")
    assert receipt.failure is not None
    assert 'pip install "interlock[script]"' in receipt.failure.message


TEXT = """input look( ) [ ] { } : , . = + ** 'x' 1 10**9 def f(): return lambda if else for in while try: except class A: import
os json re not None True @ * ; % 'x'*9**9 sorted( dict( range( yield await async with as raise del f'{'"""
WORDS = st.sampled_from([*TEXT.split(), "\n", "\n\t"])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(source=st.one_of(st.text(max_size=200), st.lists(WORDS, max_size=40).map(" ".join)))
@example(source="[" * 5000)
@example(source="f'{" * 500)
@example(source="lambda: " * 3000)
@pytest.mark.faults
async def test_no_source_does_harm(source: str):
    """Whatever is written, there is one receipt, of a value or of a failure that is the script's own."""
    receipt = await Scripts().run(source, limits={"run_ms": 200, "max_actions": 5})
    if receipt.failure is not None:
        assert failed(receipt)[0].startswith("script_")
        assert failed(receipt)[1] != "interpreter_died"
