"""Guests behind a bridge: who is let in, what is granted, and that a cut connection ends all."""

import asyncio
import json
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import anyio
import anyio.lowlevel
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from far_places import ESCAPED, FREE, TOKEN, Agent, agent, attachment, carrier, placed_lane
from fix_process import Told, alive, begun, process, program, run
from interlock import plane
from interlock.adapters import lanes, targets
from interlock.adapters.lanes.places import frames, handshake
from interlock.adapters.lanes.places.link import Link, LinkLost
from interlock.adapters.lanes.process.groups import PROCESSES, Groups
from interlock.kernel import SystemClock

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

TWO_SECRETS = (
    plane.ProcessSecret(handle="token", field="token", host="api.acme.dev:443", env="TOKEN"),
    plane.ProcessSecret(handle="token", field="token", host="api.acme.dev:443", fd=3),
)


async def gone(marker: str) -> None:
    while alive(marker):
        await anyio.lowlevel.checkpoint()


# -- who is let in


async def test_a_wrong_token_is_refused_and_proves_that_nothing_was_sent(tmp_path: Path):
    wrong = tmp_path / "wrong"
    wrong.write_text("b" * 40)
    with agent(tmp_path) as guest:
        told = await run(placed_lane(guest.place(token=wrong)), process("true"))
    assert (told.code, told.exchange.bytes_sent, told.exchange.answered) == ("login_refused", 0, False)


async def test_strangers_take_nobodys_session(tmp_path: Path):
    """Whoever says nothing is there for a while, and not among more than 64: then the oldest has to go."""
    with agent(tmp_path, None, "--sessions", "1") as guest, ExitStack() as stack:
        strangers = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(66)]
        for each in strangers:
            each.settimeout(60)
            each.connect(str(tmp_path / "guest.sock"))
            assert each.recv(1), "it is greeted"
        for each in strangers[:2]:
            while each.recv(4096):  # to the end of the connection
                pass
        while len(guest.sessions) > 64:  # until those who had to go have been buried
            await anyio.lowlevel.checkpoint()
        assert len(guest.sessions) == 64
        lane = placed_lane(guest.place())
        assert (await run(lane, process("echo", "in"))).said() == b"in\n"
        while len(guest.sessions) > 63:  # until its session has been buried; one stranger more had to go for it
            await anyio.lowlevel.checkpoint()
        async with begun(lane, process("sh", "-c", "echo up; read x", interactive=True)) as (_told, channel):
            await channel.until(b"up")
            full = await run(lane, process("true"))
            assert (full.code, full.exchange.bytes_sent) == ("guest_busy", 0)
            await channel.inbox.send(plane.Input(data=b"\n"))
        while (again := await run(lane, process("true"))).code == "guest_busy":
            pass  # until the first one's session has been buried
        assert again.failure is None


_CROWD = """
import os, signal, socket, sys
from interlock.adapters.lanes.places import guest_agent
from interlock.adapters.lanes.process.keeper import prepare
guest_agent._MOST_STRANGERS = 1
woken = prepare()
listener, far, near = socket.socket(), *socket.socketpair()
doorman = guest_agent._Doorman(listener, 1)
doorman.let_in(near, b"t" * 32, (), "guest")
[(door, first)] = doorman.strangers.items()
os.kill(first, signal.SIGKILL)
os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
doorman.bury()
doorman.let_in(near, b"t" * 32, (), "guest")
print(door.fileno(), *(child != first for child in doorman.strangers.values()))
[child] = doorman.strangers.values()
os.kill(child, signal.SIGKILL)
"""


def test_who_has_to_go_may_have_gone_by_itself():
    done = subprocess.run([sys.executable, "-c", _CROWD], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("-1 True\n", "")


def tell(file: str, text: str) -> None:
    Path(file).write_text(text)


async def test_an_agent_that_can_have_no_process_goes_on(tmp_path: Path):
    """As where a command has taken all that there are."""
    groups = Groups()
    if PROCESSES not in groups.offered:
        pytest.skip("this host gives no control groups")
    with groups.limited({PROCESSES: 1}) as [members], agent(tmp_path) as guest:
        tell(members, str(guest.process.pid))
        lane = placed_lane(guest.place())
        told = await run(lane, process("true"))
        assert (told.failure is None, told.exchange.bytes_sent) == (False, 0)
        tell(members.replace("cgroup.procs", "pids.max"), "max")
        assert (await run(lane, process("echo", "in"))).said() == b"in\n"


async def test_a_token_that_is_missing_or_short_is_never_used(tmp_path: Path):
    short = tmp_path / "short"
    short.write_text("b" * 31)
    with agent(tmp_path) as guest:
        for token in (short, tmp_path / "none"):
            assert (await run(placed_lane(guest.place(token=token)), process("true"))).code == "token_unreadable"


async def test_nobody_listens(tmp_path: Path):
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        for url in (f"guest+unix://{tmp_path}/none", f"guest://127.0.0.1:{taken.getsockname()[1]}"):
            place = lanes.GuestPlace(plane.parse_place(url), addresses=FREE, token=token)
            told = await run(placed_lane(place), process("true"))
            assert (told.code, told.exchange.bytes_sent) == ("connect_failed", 0)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"tenant_id": "other"}, "tenant_mismatch"),
        ({"session_id": "ses_2"}, "session_mismatch"),
        ({"target_id": "elsewhere"}, "target_mismatch"),
        ({"revoked_at": SystemClock().now()}, "grant_revoked"),
        ({"expires_at": SystemClock().now() - timedelta(seconds=1)}, "grant_expired"),
        ({"handles": ()}, "handle_not_allowed"),
        ({"kind": plane.PostureKind.NO_CREDENTIAL}, "target_posture_forbids_credentials"),
        ({"kind": plane.PostureKind.FORBIDDEN}, "target_posture_forbidden"),
    ],
)
async def test_what_does_not_go_with_the_grant_never_gets_to_the_guest(
    tmp_path: Path, change: dict[str, Any], code: str
):
    place = lanes.GuestPlace(plane.parse_place("guest+unix:///never/asked"), addresses=FREE, token=tmp_path / "token")
    told = await run(placed_lane(place, attachment=attachment("there", **change)), process("true", secrets=TWO_SECRETS))
    assert told.failure is not None
    assert (told.failure.failure_class, told.code) == (plane.FailureClass.ATTACH_REFUSED, code)


async def test_what_a_guest_cannot_enforce_is_refused(tmp_path: Path):
    place = lanes.GuestPlace(plane.parse_place("guest+unix:///never/asked"), addresses=FREE, token=tmp_path / "token")
    told = await run(placed_lane(place), process("true", sandbox=plane.SandboxProfile()))
    assert (told.code, told.exchange.bytes_sent) == ("sandbox_unenforceable", 0)


def orphaned_groups() -> set[Path]:
    """Control groups whose makers are gone."""
    found = Path("/sys/fs/cgroup").glob("*/interlock-[0-9]*-*")
    return {path for path in found if not Path("/proc", path.name.split("-")[1]).exists()}


async def test_limits_on_all_together_hold_in_a_guest_that_can_hold_them(any_lane: plane.Lane, marker: str):
    """Here and in a guest, by control groups; of which nothing is left."""
    limits = plane.ResourceLimits(processes=5, total_memory_bytes=200_000_000)
    source = (
        "import os, time\nn = 0\ntry:\n    while True:\n        if os.fork() == 0: time.sleep(600)\n        n += 1\n"
        "except OSError: print(n)"
    )
    before = orphaned_groups()
    told = await run(any_lane, program(source, marker, limits=limits))
    if not Groups().offered:
        assert (told.code, told.exchange.bytes_sent) == ("sandbox_unenforceable", 0)
        pytest.skip("this host gives no control groups: the limits are refused, not ignored")
    assert (told.said(), told.facts["left_over"]) == (b"4\n", 4), told
    eater = await run(any_lane, program("x = b'x' * 300_000_000", marker, limits=limits))
    assert eater.failure is not None
    while orphaned_groups() - before:
        await anyio.lowlevel.checkpoint()


async def test_a_guest_that_grants_no_limits_is_asked_for_none(tmp_path: Path):
    limits = plane.ResourceLimits(processes=5)
    with agent(tmp_path, None, "--without", "limits") as guest:
        lane = placed_lane(guest.place())
        told = await run(lane, process("true", limits=limits))
        assert (told.code, told.exchange.bytes_sent) == ("capability_missing", 0)
        assert not await lane.check(plane.Exchange(SystemClock())) & {"processes", "total-memory"}


# -- what is granted


async def test_a_guest_grants_less_and_says_so(tmp_path: Path):
    with agent(tmp_path, None, "--without", "terminal", "--without", "limits") as guest:
        lane = placed_lane(guest.place())
        told = await run(lane, process("true", terminal=plane.TerminalSize()))
        assert told.failure is not None
        assert (told.failure.failure_class, told.code) == (plane.FailureClass.TARGET_UNAVAILABLE, "capability_missing")
        assert told.failure.message.endswith("does not grant terminal")
        assert (await run(lane, process("true", limits=plane.ResourceLimits(files=99)))).code == "capability_missing"
        assert (await run(lane, process("echo", "yes"))).said() == b"yes\n"
        assert await lane.check(plane.Exchange(SystemClock())) == {"environment", "time", "secrets"}


async def test_a_node_that_was_granted_less_cannot_order_more(tmp_path: Path, marker: str):
    with agent(tmp_path) as guest, Node(guest) as node:
        node.attach(["run"])
        order = node.order(argv=["sleep", "600"], env={"MARK": marker}, terminal=[24, 80])
        node.say(b"r", json.dumps(order).encode())
        assert node.hear_all() == []


# -- ends


@asynccontextmanager
async def talking(lane: plane.Lane, marker: str, **fields: Any) -> AsyncGenerator[Told]:
    """While a command runs there that has detached a grandchild."""
    async with begun(lane, program(ESCAPED, marker, **fields)) as (told, channel):
        await channel.until(b"away")
        assert len(alive(marker)) == 2
        yield told


async def test_a_cut_connection_ends_all_that_ran_there(tmp_path: Path, marker: str):
    with agent(tmp_path) as guest:
        async with carrier(str(tmp_path / "guest.sock")) as way:
            place = lanes.GuestPlace(plane.parse_place(way.url), addresses=FREE, token=guest.token)
            async with talking(placed_lane(place), marker) as told:
                way.cut()
        assert told.failure is not None
        assert (told.failure.failure_class, told.code) == (plane.FailureClass.PEER_LOST, "link_lost")
        assert (told.exchange.answered, told.exchange.bytes_sent > 0) == (False, True)
        await gone(marker)


async def test_silence_ends_it_on_both_sides(tmp_path: Path, marker: str):
    with agent(tmp_path) as guest:
        async with carrier(str(tmp_path / "guest.sock")) as way:
            place = lanes.GuestPlace(plane.parse_place(way.url), addresses=FREE, token=guest.token, silence=1.0)
            async with talking(placed_lane(place), marker) as told:
                way.stalled = True
                await gone(marker)
            assert told.code == "far_side_silent"


async def test_a_killed_node_leaves_nothing_there(tmp_path: Path, marker: str):
    with agent(tmp_path) as guest:
        node = f"""
import anyio, sys
sys.path[:0] = {[str(Path(__file__).parents[1])]!r}
from far_places import *
from fix_process import *
async def main():
    place = lanes.GuestPlace(plane.parse_place({guest.url!r}), addresses=FREE, token=Path({str(guest.token)!r}))
    async with begun(placed_lane(place), program({ESCAPED!r}, {marker!r})) as (told, channel):
        await channel.until(b"away")
        print("ready", flush=True)
anyio.run(main)
"""
        async with await anyio.open_process([sys.executable, "-c", node], stderr=None) as child:
            assert child.stdout is not None
            assert (await child.stdout.receive()).startswith(b"ready")
            child.kill()
        await gone(marker)


@pytest.mark.parametrize(("above", "code"), [(1, "keeper_lost"), (2, "link_lost")])
async def test_a_killed_supervisor_takes_its_command_along(tmp_path: Path, marker: str, above: int, code: str):
    with agent(tmp_path) as guest:
        async with talking(placed_lane(guest.place()), marker) as told:
            first = psutil.Process(min(alive(marker)))
            first.parents()[above - 1].kill()
        assert told.code == code
        await gone(marker)


async def test_a_slow_reader_slows_the_far_command(tmp_path: Path):
    class Deaf(plane.Channel):
        async def output(self, stream: str, data: bytes, facts: object = None) -> None:
            await anyio.sleep_forever()

    exchange = plane.Exchange(SystemClock())
    exchange.channel = Deaf(plane.EventLog("exe_1", exchange.clock), plane.Inbox())
    count, written = tmp_path / "count", list[int]()
    source = (
        "import os\nn = 0\nwhile True:\n    n += os.write(1, b'x' * 4096); open(os.environ['F'], 'w').write(str(n))"
    )
    with agent(tmp_path) as guest:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(
                    placed_lane(guest.place()).execute, program(source, env=(("F", str(count)),)), exchange
                )
                while not any("pipe_write" in waits_in(each) for each in everybody_below(guest)):
                    await anyio.lowlevel.checkpoint()
                written.append(int(count.read_text()))
                scope.cancel()
    assert 0 < written[0] <= frames.WINDOW * 3


# -- who lies


async def test_over_a_port_nobody_learns_the_token_and_no_secret_goes(tmp_path: Path):
    with agent(tmp_path, "127.0.0.1:0".replace(":0", f":{free_port()}")) as guest:
        async with carrier(guest.url.removeprefix("guest://")) as way:
            lane = placed_lane(lanes.GuestPlace(plane.parse_place(way.url), addresses=FREE, token=guest.token))
            assert (await run(lane, process("echo", "hello"))).said() == b"hello\n"
            assert b"hello" in way.carried
            assert TOKEN.encode() not in way.carried
            told = await run(lane, process("true", secrets=TWO_SECRETS))
            assert (told.code, told.exchange.bytes_sent) == ("place_not_private", 0)


async def test_what_is_changed_on_the_way_is_found(tmp_path: Path, marker: str):
    with agent(tmp_path) as guest:
        async with carrier(str(tmp_path / "guest.sock")) as way:
            place = lanes.GuestPlace(plane.parse_place(way.url), addresses=FREE, token=guest.token)
            intent = program(f"{ESCAPED}", marker, interactive=True)
            async with begun(placed_lane(place), intent) as (told, channel):
                await channel.until(b"away")
                way.spoil = True
                await channel.inbox.send(plane.Input(data=b"rm"))
            assert told.code in ("link_lost", "far_side_garbled")
        await gone(marker)


Act = Callable[["Impostor"], Awaitable[None]]


class Impostor:
    """Plays a guest that holds the token and does what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.frames = frames.Frames()
        self._reader = reader
        self._writer = writer

    def say(self, kind: bytes, data: bytes = b"") -> None:
        self.raw(self.frames.encode(kind, data))

    def raw(self, data: bytes) -> None:
        self._writer.write(data)

    async def hear(self) -> tuple[bytes, bytes]:
        data = b""
        while True:
            for frame in self.frames.feed(data):
                return frame
            data = await self._reader.read(65_536)
            if not data:
                raise EOFError

    async def greet(self, *, token: str = TOKEN, granted: list[str] | None = None) -> None:
        hello = json.dumps({"guest": "it", "versions": [1], "nonce": "00"}).encode()
        self.say(b"g", hello)
        _kind, asked = await self.hear()
        text = asked[handshake.PROOF :]
        answer = json.dumps({"granted": granted or json.loads(text)["required"]}).encode()
        key = token.encode()
        self.say(b"b", handshake.prove(key, b"guest", hello, text, answer) + answer)
        said = hello, text, answer
        self.frames.seal(
            ours=handshake.prove(key, b"guest frames", *said), theirs=handshake.prove(key, b"node frames", *said)
        )

    async def serve(self, kind: bytes, *data: bytes) -> None:
        await self.greet()
        self.say(b"h", b'{"protocol":1}')
        await self.hear()
        for each in data:
            self.say(kind, each)


def greets(**how: Any) -> Act:
    return lambda it: it.greet(**how)


def says(data: bytes) -> Act:
    async def act(it: Impostor) -> None:
        it.raw(data)

    return act


@asynccontextmanager
async def impostor(folder: Path, act: Act) -> AsyncGenerator[lanes.PlacedLane]:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        it = Impostor(reader, writer)
        try:
            await act(it)
            while await it.hear():
                pass
        except (EOFError, OSError, frames.BadFrame):
            pass
        finally:
            writer.close()

    (folder / "token").write_text(TOKEN)
    server = await asyncio.start_unix_server(take, folder / "s")
    async with server:
        place = lanes.GuestPlace(
            plane.parse_place(f"guest+unix://{folder}/s"), addresses=FREE, token=folder / "token", connect_seconds=5
        )
        yield placed_lane(place)


@pytest.mark.parametrize("offers", [b"", b',"offers":[]', b',"offers":["processes",1]', b',"offers":"total-memory"'])
async def test_limits_that_a_guest_does_not_offer_are_refused_before_anything_runs(tmp_path: Path, offers: bytes):
    heard: list[bytes] = []

    async def act(it: Impostor) -> None:
        await it.greet()
        it.say(b"h", b'{"protocol":1' + offers + b"}")
        heard.append((await it.hear())[0])

    limits = plane.ResourceLimits(processes=5, total_memory_bytes=200_000_000)
    async with impostor(tmp_path, act) as lane:
        told = await run(lane, process("true", limits=limits))
    assert (told.code, told.exchange.bytes_sent, heard) == ("sandbox_unenforceable", 0, [])
    assert told.failure is not None
    assert "total-memory" in told.failure.message


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (greets(token="x" * 40), "guest_unproved"),
        (greets(granted=["run", "secrets"]), "grant_widened"),
        (greets(granted=["secrets"]), "grant_widened"),
    ],
    ids=["no-token", "more", "something-else"],
)
async def test_whoever_cannot_prove_itself_or_grants_more_gets_nothing(tmp_path: Path, act: Act, code: str):
    async with impostor(tmp_path, act) as lane:
        told = await run(lane, process("true"))
    assert (told.code, told.exchange.bytes_sent) == (code, 0)


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (says(b"SSH-2.0-what\r\n"), "far_side_garbled"),
        (says(b"\xff" * 9), "far_side_garbled"),
        (says(b"\x00\x01\xff\xff" + b"x" * 200_000), "far_side_garbled"),
        (says(frames.Frames().encode(b"g", b"[")), "far_side_garbled"),
        (says(frames.Frames().encode(b"g", b'{"versions":[9]}')), "protocol_unknown"),
    ],
)
async def test_who_greets_with_garbage_proves_that_nothing_ran(tmp_path: Path, act: Act, code: str):
    async with impostor(tmp_path, act) as lane:
        told = await run(lane, process("true"))
    assert (told.code, told.exchange.bytes_sent) == (code, 0)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (b"d", [b"\x09x"]),
        (b"d", [b""]),
        (b"c", [b"\xff\xff\xff\xff"]),
        (b"c", [b"x"]),
        (b"x", [b""]),
        (b"x", [b"0 - 1 999999999999999999999999"]),
        (b"x", [b"0 - 1 " + b"9" * 5000]),
        (b"e", [b"99999999999999999999999 command"]),
        (b"x", [b"0 - 1 0", b"0 - 1 0"]),
        (b"?", [b""]),
    ],
)
async def test_a_guest_that_says_what_none_may_say_is_left(tmp_path: Path, kind: bytes, data: list[bytes]):
    async with impostor(tmp_path, lambda it: it.serve(kind, *data)) as lane:
        told = await run(lane, process("true"))
    ended_well = kind == b"x" and len(data) == 2  # what comes after the end is not read
    assert told.code == (None if ended_well else "far_side_garbled")


async def test_output_beyond_what_was_asked_for_is_not_kept():
    link = Link(silence=60)
    link.connect(lambda _data: None)
    link.order(Node.order())
    said = frames.Frames()
    for _ in range(3):
        link.data_received(said.encode(b"d", b"\x01" + b"x" * 100_000))
    with pytest.raises(LinkLost, match="more output than was asked for"):
        await link.ended()
    link.close()


def test_what_comes_when_all_is_over_is_not_kept():
    async def run() -> int:
        link = Link(silence=60)
        tracemalloc.start()
        for _ in range(40):
            link.data_received(bytes(100_000))
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return kept

    assert anyio.run(run) < 1_000_000


class Node:
    """Plays a node, frame by frame."""

    def __init__(self, guest: Agent) -> None:
        self.frames = frames.Frames()
        self._guest = guest
        self._socket = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> Self:
        self._socket.connect(self._guest.url.removeprefix("guest+unix://"))
        self._socket.settimeout(60)
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def raw(self, data: bytes) -> bool:
        """False if it has left already."""
        try:
            self._socket.sendall(data)
        except OSError:
            return False
        return True

    def say(self, kind: bytes, data: bytes = b"") -> None:
        self.raw(self.frames.encode(kind, data))

    def hear(self) -> tuple[bytes, bytes] | None:
        data = b""
        while True:
            for frame in self.frames.feed(data):
                return frame
            try:
                data = self._socket.recv(65_536)
            except ConnectionError:
                data = b""
            if not data:
                return None

    def hear_all(self) -> list[tuple[bytes, bytes]]:
        heard: list[tuple[bytes, bytes]] = []
        while (frame := self.hear()) is not None:
            heard.append(frame)
        return heard

    def attach(self, required: list[str]) -> None:
        greeting = self.hear()
        assert greeting is not None
        hello = greeting[1]
        text = json.dumps({"version": 1, "nonce": "", "required": required, "optional": []}).encode()
        self.say(b"a", handshake.prove(TOKEN.encode(), b"node", hello, text) + text)
        granted = self.hear()
        assert granted is not None
        said = hello, text, granted[1][handshake.PROOF :]
        key = TOKEN.encode()
        self.frames.seal(
            ours=handshake.prove(key, b"node frames", *said), theirs=handshake.prove(key, b"guest frames", *said)
        )
        ready = self.hear()
        assert ready is not None
        assert ready[0] == b"h"

    @staticmethod
    def order(**fields: Any) -> dict[str, Any]:
        defaults: dict[str, Any] = {
            "argv": ["true"], "env": {}, "cwd": "/", "path": "/usr/bin:/bin", "terminal": None, "merged": False,
            "limits": {}, "secrets": {}, "silence": 30,
        }  # fmt: skip
        return defaults | fields


@pytest.fixture
def guest(tmp_path: Path) -> Generator[Agent]:
    with agent(tmp_path) as found:
        yield found


@pytest.mark.parametrize(
    "asked",
    [
        "[]",
        "{}",
        "5",
        '{"version": 1, "required": 5, "optional": []}',
        '{"version": 1, "required": [7], "optional": []}',
    ],
)
def test_a_node_that_asks_for_nonsense_is_told(guest: Agent, asked: str):
    with Node(guest) as node:
        greeting = node.hear()
        assert greeting is not None
        proof = handshake.prove(TOKEN.encode(), b"node", greeting[1], asked.encode())
        node.say(b"a", proof + asked.encode())
        [(kind, reason)] = node.hear_all()
    assert (kind, json.loads(reason)) == (b"f", {"reason": "no request for capabilities"})


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.binary(max_size=300), attached=st.booleans())
def test_a_node_that_talks_garbage_is_left(guest: Agent, data: bytes, attached: bool):
    with Node(guest) as node:
        if attached:
            node.attach(["run"])
        node.raw(data + b"\xff" * 5)
        assert all(kind in b"gfp" for kind, _ in node.hear_all())
    guest.wait()
    assert guest.process.poll() is None


def test_whoever_told_the_end_stays_until_the_node_hangs_up(guest: Agent):
    """A node that still says something to nobody is told so by its own system, and may hear no more of what was told it
    before: the end."""
    with Node(guest) as node:
        node.attach(["run"])
        node.say(b"r", json.dumps(Node.order(argv=["echo", "hi"])).encode())
        assert [kind for kind, _data in node.hear_all()] == [b"d", b"x"]
        assert node.raw(node.frames.encode(b"c", b"\x01\x00\x00\x00\x03"))
    guest.wait()


@pytest.mark.parametrize(
    "said",
    [
        [(b"i", b"too early")],
        [(b"r", b"no JSON")],
        [(b"r", b"{}")],
        [(b"r", json.dumps(Node.order(silence="x")).encode())],
        [(b"r", json.dumps(Node.order(limits={"RLIMIT_WHAT": 1})).encode())],
        [(b"r", json.dumps(Node.order(argv=[])).encode())],
        [(b"r", json.dumps(Node.order(argv=["cat"])).encode()), (b"r", b"{}")],
        [(b"r", json.dumps(Node.order(argv=["sleep", "600"])).encode()), *[(b"i", b"x" * 100_000)] * 4],
        [(b"r", json.dumps(Node.order(argv=["cat"])).encode()), (b"c", b"x")],
        [(b"r", json.dumps(Node.order(argv=["cat"])).encode()), (b"s", b"gnonsense")],
        [(b"r", json.dumps(Node.order(argv=["cat"])).encode()), (b"?", b"")],
    ],
)
def test_an_order_that_cannot_be_meant_ends_the_session_and_nothing_else(
    tmp_path: Path, said: list[tuple[bytes, bytes]]
):
    with agent(tmp_path) as guest:
        with Node(guest) as node:
            node.attach(["run", "limits"])
            for kind, data in said:
                node.say(kind, data)
            assert all(kind in b"cdel" for kind, _data in node.hear_all())
        guest.wait()
        assert guest.process.poll() is None


# -- as a target


async def test_a_target_is_what_its_guest_proved_and_the_receipt_says_so(tmp_path: Path):
    clock = SystemClock()
    with agent(tmp_path, None, "--name", "box-7") as guest:
        lane = placed_lane(guest.place())
        target = targets.PlacedTarget("there", target_class=plane.GUEST_BRIDGE, lane=lane, clock=clock)
        assert target.describe().health is plane.Health.UNAVAILABLE
        authorizer, attestations = plane.Authorizer(clock=clock), plane.AttestationVerifier({}, clock=clock)
        node = plane.Node(
            "here",
            lanes=[lane],
            targets=[target],
            verifier=authorizer.verifier(),
            clock=clock,
            attestations=attestations,
        )
        attested = await target.attest(attestations.challenge("there"))
        assert attested is not None
        assert attested.properties == ("peer-proved",)
        assert attestations.accept(attested) is None
        intent = process("echo", "hello")
        authority = authorizer.issue(intent.digest, audience="here", target_class=plane.GUEST_BRIDGE)
        receipt = await node.execute(intent, authority=authority, target_class=plane.GUEST_BRIDGE)
        assert (receipt.failure, receipt.body, receipt.delivery) == (None, b"hello\n", plane.Delivery.RESPONDED)
        notes = {each.type: each.data for each in receipt.evidence}
        assert (notes["placed"]["guest"], notes["placed"]["granted"]) == ("box-7", ["run"])
        assert notes["attached"]["grant_id"] == "gra_1"
        guest.token.write_text("c" * 40)
        assert await target.attest() is None
        assert target.describe().reason is not None
        assert target.failure is not None
        assert target.failure.failure_class is plane.FailureClass.LOGIN_REFUSED


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def everybody_below(guest: Agent) -> list[psutil.Process]:
    return psutil.Process(guest.process.pid).children(recursive=True)


def waits_in(process: psutil.Process) -> str:
    try:
        return Path(f"/proc/{process.pid}/wchan").read_text()
    except OSError:
        return ""
