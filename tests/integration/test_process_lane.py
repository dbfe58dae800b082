"""The process lane against real processes, the unruly ones included."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import psutil
import pytest

from fix_process import PYTHON, SPAWN_ESCAPED, Told, alive, begun, cancelled, process, program, run
from interlock import plane
from interlock.adapters import lanes
from interlock.adapters.lanes.process.groups import TOTAL_MEMORY, Groups
from interlock.kernel import SystemClock

pytestmark = [pytest.mark.anyio, pytest.mark.faults]  # starts servers or kills commands


async def test_it_says_what_the_command_said(any_lane: plane.Lane):
    told = await run(any_lane, process("printf", "one\\ntwo"))
    assert told.failure is None
    assert told.said() == b"one\ntwo"
    assert told.exchange.answered
    assert told.exchange.bytes_sent == len("printfone\\ntwo")
    assert (told.facts["exit_code"], told.facts["signal"]) == (0, None)
    assert told.facts["stdout_digest"] == f"sha256:{hashlib.sha256(b'one' + bytes([10]) + b'two').hexdigest()}"
    assert (told.facts["stdout_bytes"], told.facts["stderr_bytes"], told.facts["left_over"]) == (7, 0, 0)
    assert told.facts["max_rss_bytes"] > 100_000


async def test_arguments_reach_the_command_as_they_are(any_lane: plane.Lane):
    arguments = ["", "a b", "$HOME", "`id`", "'\"", "--", "-x", "\n", "é€😀", "*"]
    told = await run(any_lane, program("import sys, json; print(json.dumps(sys.argv[1:]))", *arguments))
    assert json.loads(told.said()) == arguments


async def test_the_environment_is_what_is_listed(any_lane: plane.Lane, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LEAK", "leaked")
    assert (await run(any_lane, process("env"))).said() == b""
    assert (await run(any_lane, process("env", env=(("A", "1"), ("B", "x=y z"))))).said() == b"A=1\nB=x=y z\n"


async def test_nothing_but_the_streams_is_open(any_lane: plane.Lane):
    told = await run(any_lane, program("import os; print(os.listdir('/proc/self/fd'))"))
    assert told.said() == b"['0', '1', '2', '3']\n"  # the last is the folder itself


@pytest.mark.parametrize("size", [1, 65_536, 3_000_000])
async def test_input_and_output_are_exact(any_lane: plane.Lane, size: int):
    data = os.urandom(size)
    told = await run(any_lane, process("cat", stdin=data))
    assert told.said() == data
    assert told.exchange.bytes_sent == len(data) + 3


async def test_errors_are_kept_apart_or_merged(any_lane: plane.Lane):
    source = "import os\nos.write(1, b'out'); os.write(2, b'err')"
    apart = await run(any_lane, program(source))
    assert (apart.said("stdout"), apart.said("stderr")) == (b"out", b"err")
    merged = await run(any_lane, program(source, stderr="merged"))
    assert (merged.said("stdout"), merged.said("stderr")) == (b"outerr", b"")


async def test_lines_come_one_by_one(any_lane: plane.Lane):
    told = await run(any_lane, process("printf", "a\\nb\\r\\nc\\rd", output="lines"))
    assert [data for _stream, data in told.pieces] == [b"a\n", b"b\r\n", b"c\r", b"d"]


async def test_a_code_and_a_signal_are_told_apart(any_lane: plane.Lane):
    code = await run(any_lane, program("import sys; sys.exit(137)"))
    assert (code.code, code.facts["exit_code"], code.facts["signal"]) == ("exit_nonzero", 137, None)
    killed = await run(any_lane, program("import os; os.kill(os.getpid(), 9)"))
    assert (killed.code, killed.facts["exit_code"], killed.facts["signal"]) == ("killed_by_signal", None, "SIGKILL")
    assert code.exchange.answered
    assert killed.exchange.answered


@pytest.mark.parametrize(
    ("intent", "says"),
    [
        (process("no-such-command-anywhere"), "the command cannot be used: No such file"),
        (process("/etc/passwd"), "the command cannot be used: Permission denied"),
        (process("true", cwd="/no/such/folder"), "the working folder cannot be used: No such file"),
        (process("true", cwd="/etc/passwd"), "the working folder cannot be used: Not a directory"),
        (process("./true", cwd="/"), "the command cannot be used: No such file"),
    ],
)
async def test_what_cannot_start_proves_that_nothing_ran(any_lane: plane.Lane, intent: plane.ProcessIntent, says: str):
    told = await run(any_lane, intent)
    assert told.failure is not None
    missing = says.startswith("the command") and says.endswith("No such file")
    assert told.code == ("command_not_found" if missing else "launch_failed")
    assert told.failure.failure_class is plane.FailureClass.LAUNCH_FAILED
    assert told.failure.message.startswith(says)
    assert (told.exchange.bytes_sent, told.exchange.answered, told.facts) == (0, False, {})


async def test_a_long_command_passes(any_lane: plane.Lane):
    arguments = ["x" * 100_000] * 4
    told = await run(any_lane, program("import sys; print(sum(map(len, sys.argv[1:])))", *arguments))
    assert told.said() == b"400000\n"


async def test_the_path_of_the_intent_counts(any_lane: plane.Lane, tmp_path: Path):
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\necho here\n")
    tool.chmod(0o755)
    assert (await run(any_lane, process("tool"))).code == "command_not_found"
    assert (await run(any_lane, process("tool", env=(("PATH", str(tmp_path)),)))).said() == b"here\n"


@pytest.mark.parametrize("fd", [3, 4, 5, 6, 63])
async def test_secrets_go_by_variable_and_by_descriptor(any_lane: plane.Lane, fd: int):
    secrets = (
        plane.ProcessSecret(handle="token", field="token", host="api.acme.dev:443", env="TOKEN"),
        plane.ProcessSecret(handle="token", field="token", host="api.acme.dev:443", fd=fd),
    )
    source = (
        f"import os\nprint(os.environ['TOKEN'], os.read({fd}, 100))\nprint(input())\n"
        "print(b's3c' + b'r3t' in open('/proc/self/cmdline', 'rb').read())\nos.write(2, b'err')"
    )
    intent = program(source, secrets=secrets, stdin=b"in\n")
    told = await run(any_lane, intent)
    assert told.said() == b"s3cr3t-value b's3cr3t-value'\nin\nFalse\n"
    assert told.said("stderr") == b"err"
    assert "s3cr3t" not in intent.canonical
    assert "s3cr3t" not in repr((intent, told.facts, told.exchange.notes))


@pytest.mark.parametrize("leaves", ["sleep 600 &", "setsid sleep 600 &", "(sleep 600 &);"])
async def test_what_a_command_leaves_behind_ends_with_it(any_lane: plane.Lane, marker: str, leaves: str):
    told = await run(any_lane, process("sh", "-c", f"{leaves} echo done", env=(("MARK", marker),)))
    assert (told.failure, told.said(), told.facts["left_over"]) == (None, b"done\n", 1)


async def test_whoever_detaches_twice_ends_as_well(any_lane: plane.Lane, marker: str):
    told = await run(any_lane, program(SPAWN_ESCAPED, marker))
    assert told.facts["left_over"] == 1


async def test_a_cancelled_command_ends_with_all_its_children(any_lane: plane.Lane, marker: str):
    def two_are_alive() -> None:
        assert len(alive(marker)) == 2

    told = await cancelled(
        any_lane, program(f"{SPAWN_ESCAPED}\ntime.sleep(600)", marker), after=b"away", check=two_are_alive
    )
    assert alive(marker) == []
    assert told.facts["signal"] == "SIGTERM"
    assert not told.exchange.answered


async def test_whoever_ignores_term_is_killed(any_lane: plane.Lane, marker: str):
    source = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(600)"
    told = await cancelled(any_lane, program(source, marker, grace_ms=50), after=b"deaf")
    assert told.facts["signal"] == "SIGKILL"


async def test_whoever_obeys_term_has_time(any_lane: plane.Lane, marker: str, tmp_path: Path):
    """It still writes more than a pipe holds: somebody reads on."""
    source = (
        "import signal, sys, time, os\n"
        "def end(*_):\n    os.write(1, b'x' * 300000); open(sys.argv[2], 'w').write('tidy')\n    os._exit(3)\n"
        "signal.signal(15, end)\nprint('up', flush=True)\ntime.sleep(600)"
    )
    note = tmp_path / "note"
    told = await cancelled(any_lane, program(source, marker, str(note), grace_ms=20_000), after=b"up")
    assert told.facts["exit_code"] == 3, told
    assert note.read_text() == "tidy"


async def test_a_fork_bomb_ends(any_lane: plane.Lane, marker: str):
    source = (
        "import os, time\nfor _ in range(6):\n    os.fork()\nos.setsid() if os.getpid() != os.getpgrp() else 0\n"
        "print('x', flush=True)\ntime.sleep(600)"
    )
    await cancelled(any_lane, program(source, marker, grace_ms=0), after=b"x\n" * 64)
    assert alive(marker) == []


async def test_too_much_output_ends_it(any_lane: plane.Lane, marker: str):
    told = await run(any_lane, process("sh", "-c", "yes; :", env=(("MARK", marker),), max_output_bytes=1000))
    assert told.code == "output_too_large"
    assert not told.exchange.answered


async def test_a_slow_reader_slows_the_command(process_lane: lanes.ProcessLane, tmp_path: Path):
    """What is written beyond the pipe and what was read waits in the command."""

    class Slow(plane.Channel):
        async def output(self, stream: str, data: bytes, facts: object = None) -> None:
            await anyio.sleep_forever()

    told = Told(plane.Exchange(SystemClock()))
    told.exchange.channel = Slow(plane.EventLog("exe_1", told.exchange.clock), plane.Inbox())
    source = (
        "import os\nn = 0\nwhile True:\n    n += os.write(1, b'x' * 4096); open(os.environ['F'], 'w').write(str(n))"
    )
    count, written = tmp_path / "count", list[int]()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process_lane.execute, program(source, env=(("F", str(count)),)), told.exchange)
            child = await first_child_of_a_keeper()
            while not count.exists() or not waits_in_a_pipe(child.pid):
                await anyio.lowlevel.checkpoint()
            written.append(int(count.read_text()))
            scope.cancel()
    assert 0 < written[0] < 1_000_000


async def test_a_command_that_closes_its_output_goes_on(any_lane: plane.Lane):
    source = "import os, sys\nos.close(1); os.close(2)\nos._exit(len(sys.stdin.buffer.read()) % 256)"
    told = await run(any_lane, program(source, stdin=b"x" * 200_007))
    assert told.facts["exit_code"] == 200_007 % 256


async def test_a_command_that_reads_no_input_is_not_waited_for(any_lane: plane.Lane):
    told = await run(any_lane, process("true", stdin=b"x" * 1_000_000))
    assert told.failure is None


async def test_an_outsider_who_holds_the_output_is_not_waited_for(any_lane: plane.Lane, tmp_path: Path):
    """The command hands its stdout to somebody outside of its tree: to us."""
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        source = (
            "import socket, sys\ns = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
            "socket.send_fds(s, [b'x'], [1]); s.recv(1); print('bye')"
        )
        async with begun(any_lane, program(source, str(tmp_path / "s"))) as (told, _channel):
            connection, _ = await anyio.to_thread.run_sync(listener.accept)
            with connection:
                _data, fds, _flags, _address = socket.recv_fds(connection, 1, 1)
                connection.send(b"x")
                while not told.exchange.answered:
                    await anyio.lowlevel.checkpoint()
                os.close(fds[0])
    assert told.said() == b"bye\n"


async def test_an_interactive_command_is_talked_with(any_lane: plane.Lane):
    async with begun(any_lane, process("cat", stdin=b"first ", interactive=True)) as (told, channel):
        await channel.until(b"first ")
        await channel.inbox.send(plane.Input(data=b"second"))
        await channel.until(b"second")
        channel.inbox.end()
    assert (told.failure, told.said()) == (None, b"first second")
    assert told.exchange.bytes_sent == len("cat") + len("first second")


async def test_signals_reach_the_command(any_lane: plane.Lane):
    source = (
        "import signal, time, sys\nsignal.signal(signal.SIGUSR1, lambda *_: sys.exit(5))\n"
        "print('up', flush=True)\nwhile True: time.sleep(600)"
    )
    async with begun(any_lane, program(source)) as (told, channel):
        await channel.until(b"up")
        await channel.inbox.send(plane.Input(kind=plane.InputKind.SIGNAL, facts={"signal": "SIGNONSENSE"}))
        await channel.inbox.send(plane.Input(kind=plane.InputKind.SIGNAL, facts={"signal": "SIGUSR1"}))
    assert told.facts["exit_code"] == 5


async def test_on_a_terminal(any_lane: plane.Lane):
    source = (
        "import os, signal, sys\n"
        "def size(*_):\n    os.write(1, b'size %d %d\\n' % os.get_terminal_size())\n"
        "signal.signal(signal.SIGWINCH, size)\n"
        "print([os.isatty(n) for n in (0, 1, 2)], os.getsid(0) == os.getpid(), os.tcgetpgrp(0) == os.getpgrp(), flush=True)\n"
        "size()\n"
        "for line in sys.stdin:\n    print('got', repr(line), flush=True)\n"
        "print('end of input', flush=True)\n"
        "import time; time.sleep(600)"
    )
    intent = program(source, terminal=plane.TerminalSize(rows=30, columns=100), interactive=True)
    async with begun(any_lane, intent) as (told, channel):
        await channel.until(b"[True, True, True] True True")
        await channel.until(b"size 100 30")
        await channel.inbox.send(plane.Input(kind=plane.InputKind.RESIZE, facts={"rows": 40, "columns": 120}))
        await channel.until(b"size 120 40")
        await channel.inbox.send(plane.Input(data="grüß\n".encode()))
        await channel.until(b"got ")
        await channel.inbox.send(plane.Input(data=b"\x04"))
        await channel.until(b"end of input")
        await channel.inbox.send(plane.Input(kind=plane.InputKind.SIGNAL, facts={"signal": "SIGINT"}))
    assert told.code in ("killed_by_signal", "exit_nonzero")
    assert b"KeyboardInterrupt" in told.said()


async def test_a_terminal_without_input_reads_its_end(any_lane: plane.Lane):
    told = await run(any_lane, process("cat", terminal=plane.TerminalSize()))
    assert told.failure is None


async def test_limits_hold(process_lane: lanes.ProcessLane, tmp_path: Path):
    async def limited(source: str, **limits: int) -> Told:
        return await run(process_lane, program(source, str(tmp_path / "f"), limits=plane.ResourceLimits(**limits)))

    cpu = await limited("while True: pass", cpu_seconds=1)
    assert (cpu.code, cpu.facts["signal"]) == ("killed_by_signal", "SIGXCPU")
    big = await limited(
        "import sys, signal\nsignal.signal(25, signal.SIG_DFL)\n"
        "open(sys.argv[1], 'wb', 0).write(b'x' * 5000)\nopen(sys.argv[1], 'ab', 0).write(b'x')",
        file_bytes=1000,
    )
    assert big.facts["signal"] == "SIGXFSZ"
    assert (tmp_path / "f").stat().st_size == 1000
    memory = await limited("x = bytearray(500_000_000)", memory_bytes=200_000_000)
    assert (memory.code, b"MemoryError" in memory.said("stderr")) == ("exit_nonzero", True)
    files = await limited("import os\nwhile True: os.dup(1)", files=16)
    assert b"Too many open files" in files.said("stderr")
    raised = await limited("import resource; resource.setrlimit(7, (17, 17))", files=16)
    if os.geteuid():  # root may raise any limit; a sandbox takes that away
        assert raised.code == "exit_nonzero"


async def test_limits_on_all_together_hold_or_are_refused(process_lane: lanes.ProcessLane, marker: str):
    limits = plane.ResourceLimits(processes=5, total_memory_bytes=200_000_000)
    source = (
        "import os, time\nn = 0\ntry:\n    while True:\n        if os.fork() == 0: time.sleep(600)\n        n += 1\n"
        "except OSError: print(n)"
    )
    told = await run(process_lane, program(source, marker, limits=limits))
    if not {plane.Restraint.PROCESSES, plane.Restraint.TOTAL_MEMORY} <= process_lane.enforces:
        assert (told.code, told.exchange.bytes_sent) == ("sandbox_unenforceable", 0)
        pytest.skip("this host gives no control groups: the limits are refused, not ignored")
    assert (told.said(), told.facts["left_over"]) == (b"4\n", 4)
    eater = await run(
        process_lane,
        program(
            "import os\nfor _ in range(3): os.fork()\nx = b'x' * 80_000_000\nimport time; time.sleep(1)",
            marker,
            limits=plane.ResourceLimits(total_memory_bytes=100_000_000),
        ),
    )
    assert eater.failure is not None or eater.facts["left_over"] < 7


_KILLED = """
import os, signal
from interlock.adapters.lanes.process.groups import TOTAL_MEMORY, Groups
with Groups().limited({TOTAL_MEMORY: 1 << 30}) as files:
    print(*files, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_groups_that_somebody_killed_has_left_are_taken_away_and_no_others():
    groups = Groups()
    if TOTAL_MEMORY not in groups.offered:
        pytest.skip("this host gives no control groups")
    with groups.limited({TOTAL_MEMORY: 1 << 30}) as files:
        killed = subprocess.run(
            [sys.executable, "-c", _KILLED], capture_output=True, text=True, timeout=60, check=False
        )
        assert killed.returncode == -signal.SIGKILL
        [left] = killed.stdout.split()
        assert Path(left).exists()
        Groups()
        assert (Path(left).exists(), [Path(each).exists() for each in files]) == (False, [True])
    assert not Path(files[0]).exists()


async def test_what_cannot_be_enforced_is_refused(process_lane: lanes.ProcessLane):
    told = await run(process_lane, process("true", sandbox=plane.SandboxProfile()))
    assert told.code == "sandbox_unenforceable"
    assert told.failure is not None
    assert told.failure.message == "local-process cannot enforce here: network-none, read, write"
    assert told.exchange.bytes_sent == 0


async def test_a_killed_keeper_takes_its_command_along(process_lane: lanes.ProcessLane, marker: str):
    source = "import os, time\nprint('up', flush=True)\ntime.sleep(600)"
    async with begun(process_lane, program(source, marker)) as (told, channel):
        await channel.until(b"up")
        [child] = alive(marker)
        os.kill(psutil.Process(child).ppid(), signal.SIGKILL)
    assert told.code == "keeper_lost"
    assert not told.exchange.answered
    while alive(marker):
        await anyio.lowlevel.checkpoint()
    assert (await run(process_lane, process("echo", "again"))).said() == b"again\n"


async def test_a_killed_mother_is_replaced(process_lane: lanes.ProcessLane):
    others = psutil.Process().children()
    await run(process_lane, process("true"))
    [mother] = set(psutil.Process().children()) - set(others)
    family = [*mother.children(), mother]
    for each in family:
        each.kill()
    while any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in family):
        await anyio.lowlevel.checkpoint()
    assert (await run(process_lane, process("echo", "again"))).said() == b"again\n"


async def test_many_at_once(process_lane: lanes.ProcessLane):
    tolds: list[Told] = []

    async def one(number: int) -> None:
        tolds.append(await run(process_lane, process("sh", "-c", f"read x; echo {number}", stdin=b"\n")))

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(one, number)
    assert sorted(int(told.said()) for told in tolds) == list(range(50))
    assert all(told.failure is None for told in tolds)


async def test_a_killed_node_leaves_nothing(marker: str):
    """The node dies by SIGKILL in the middle: its keepers see that their sockets close."""
    node = f"""
import anyio, sys
sys.path[:0] = {[str(Path(__file__).parents[1])]!r}
from fix_process import *
async def main():
    lane = lanes.ProcessLane(credentials=Leases())
    async with begun(lane, program({SPAWN_ESCAPED + "time.sleep(600)"!r}, {marker!r})) as (told, channel):
        await channel.until(b"away")
        print("ready", flush=True)
anyio.run(main)
"""
    async with await anyio.open_process([PYTHON[0], "-c", node], stderr=None) as child:
        assert child.stdout is not None
        assert (await child.stdout.receive()).startswith(b"ready")
        child.kill()
    while alive(marker):
        await anyio.lowlevel.checkpoint()


def waits_in_a_pipe(pid: int) -> bool:
    return Path(f"/proc/{pid}/wchan").read_text().endswith("pipe_write")


async def first_child_of_a_keeper() -> psutil.Process:
    while True:
        for mother in psutil.Process().children():
            for keeper in mother.children():
                for child in keeper.children():
                    return child
        await anyio.lowlevel.checkpoint()
