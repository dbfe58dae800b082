"""bubblewrap, runc and gVisor: what each stops, what it was shown to be, and that nothing of it is left."""

import ctypes
import itertools
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import psutil
import pytest

import escapes
from fix_peer import Conversation, listen
from fix_process import REAL_PYTHON, begun, nothing_left, process, program, run, whole_lane
from interlock import conformance, plane
from interlock.adapters import targets
from interlock.adapters.lanes import Egress
from interlock.adapters.lanes.process import asking
from interlock.conformance import escapes as kit
from interlock.kernel import SystemClock

pytestmark = [pytest.mark.rig, pytest.mark.anyio]

CONFINERS: dict[str, plane.Confiner] = {
    each.target_class: each
    for each in (
        targets.Bubblewrap(),
        targets.Container(plane.CONTAINER_RUNC),
        targets.Container(plane.CONTAINER_GVISOR),
    )
}
SHELL = plane.SandboxProfile(read=targets.SYSTEM)
PYTHONS = (*targets.SYSTEM, str(Path(REAL_PYTHON).parents[1]))
LOOPBACK = Egress(addresses=plane.AddressPolicy(allow=("127.0.0.0/8",)))


OF_THE_KERNEL = {"namespace-by-clone"}
"""Attempts that get no further than the kernel, where that is the sandbox's own."""


def attempts(*, without: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    tried = itertools.product(sorted(CONFINERS), sorted(set(escapes.ESCAPES) - without))
    return [each for each in tried if each[0] != plane.CONTAINER_GVISOR or each[1] not in OF_THE_KERNEL]


@pytest.fixture(params=sorted(CONFINERS))
def confiner(request: pytest.FixtureRequest) -> plane.Confiner:
    found = CONFINERS[request.param]
    if found.unavailable is not None:
        pytest.skip(found.unavailable)
    return found


@pytest.mark.parametrize(("confiner", "name"), attempts(), indirect=["confiner"])
async def test_it_stops(confiner: plane.Confiner, tmp_path: Path, name: str):
    async with whole_lane(confiner=confiner) as lane:
        with escapes.prey(tmp_path) as prey:
            assert not await prey.tempt(lane, name, confined=True)
            assert prey.untouched


@pytest.mark.parametrize(
    ("confiner", "name"),
    attempts(without=frozenset({"udp"})),
    indirect=["confiner"],  # which its own loopback takes
)
async def test_it_stops_with_listed_hosts_too(confiner: plane.Confiner, tmp_path: Path, name: str):
    """The listener that the attempts go for is itself on the list: it is reached through the proxy, and not otherwise."""
    async with whole_lane(confiner=confiner, egress=LOOPBACK) as lane:
        with escapes.prey(tmp_path) as prey:
            assert not await prey.tempt(lane, name, confined=True, hosts=(f"127.0.0.1:{prey.port}",))
            assert prey.untouched


@pytest.mark.parametrize(
    ("property_", "statement"),
    [
        (property_, statement)
        for property_, escape in kit.ESCAPES.items()
        for statement in escape.statements
        if property_ not in plane.CLASSES[plane.LOCAL_PROCESS]
        and "sysrq" not in statement  # a key not all kernels have
    ],
)
async def test_every_attempt_of_the_kit_gets_out_of_a_plain_process(
    property_: plane.Property, statement: str, monkeypatch: pytest.MonkeyPatch
):
    if os.geteuid() != 0:
        pytest.skip("some take root")
    monkeypatch.setattr(kit, "ESCAPES", {property_: kit.Escape("", (statement,))})
    async with conformance.TARGETS.find(plane.LOCAL_PROCESS)() as subject:
        assert await kit.find_escape(subject, property_) == statement


@pytest.fixture
def mounted(tmp_path: Path) -> Generator[Path]:
    """A folder with another file system mounted in it, at `mount`."""
    if os.geteuid() != 0:
        pytest.skip("to mount something takes root")
    point, libc = tmp_path / "listed" / "mount", ctypes.CDLL(None)
    point.mkdir(parents=True)
    assert libc.mount(b"none", os.fsencode(point), b"tmpfs", 0, None) == 0
    try:
        (point / "file").write_text("kept")
        yield point.parent
    finally:
        assert libc.umount2(os.fsencode(point), 0) == 0


async def test_what_is_mounted_below_a_path_to_read_is_only_read_too(confiner: plane.Confiner, mounted: Path):
    profile = SHELL.model_copy(update={"read": (*SHELL.read, str(mounted))})
    async with whole_lane(confiner=confiner) as lane:
        line = "cat mount/file; echo changed > mount/file; touch mount/new"
        told = await run(lane, process("sh", "-c", line, sandbox=profile, cwd=str(mounted)))
    assert told.said() == b"kept", (told, told.said("stderr"))
    assert (mounted / "mount/file").read_text() == "kept"
    assert not (mounted / "mount/new").exists()


async def test_the_hosts_processes_do_not_come_in_by_a_path(confiner: plane.Confiner, tmp_path: Path):
    (tmp_path / "link").symlink_to("/proc")
    async with whole_lane(confiner=confiner) as lane:
        for path in ("/proc", "/proc/1", "/proc/sys", str(tmp_path / "link")):
            told = await run(lane, process("true", sandbox=plane.SandboxProfile(read=(*SHELL.read, path))))
            assert (told.code, told.exchange.bytes_sent) == ("path_refused", 0), path
            assert told.failure is not None
            assert path in told.failure.message
        whole = plane.SandboxProfile(read=("/",), write=(str(tmp_path),))
        line = f"ls -d /proc/[0-9]* | wc -l; echo x > {tmp_path}/new; echo x > /new; echo x > /dev/shm/new"
        told = await run(lane, process("sh", "-c", line, sandbox=whole))
    assert int(told.said()) < 10, (told, told.said("stderr"))
    assert (tmp_path / "new").exists()
    assert not {"new"} & {*os.listdir("/"), *os.listdir("/dev/shm")}


FETCH = """
import sys, urllib.request
for url in sys.argv[1:]:
    try: print(urllib.request.urlopen(url, timeout=30).read().decode())
    except Exception as error: print(type(error).__name__, getattr(error, "code", ""))
"""


async def test_listed_hosts_alone_are_reached(confiner: plane.Confiner):
    """By programs that know nothing of it but the usual variables."""

    async def answer(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(b"hello")

    async with (
        listen(answer) as peer,
        listen(answer) as other,
        whole_lane(confiner=confiner, egress=LOOPBACK) as lane,
    ):
        profile = plane.SandboxProfile(read=PYTHONS, network=plane.Network.HOSTS, hosts=(peer.host,))
        told = await run(lane, process(REAL_PYTHON, "-I", "-S", "-c", FETCH, peer.url, other.url, sandbox=profile))
        assert told.said() == b"hello\nHTTPError 403\n", (told, told.said("stderr"))
        if (curl := shutil.which("curl")) is not None:
            for proxy in ((), ("--proxytunnel",), ("--proxy", "socks5h://127.0.0.1:1080")):
                curled = await run(lane, process(curl, "-sS", *proxy, peer.url, sandbox=profile))
                assert curled.said() == b"hello", (curled, curled.said("stderr"))
    assert other.connections == 0
    reached = [dict(facts) for kind, _at, facts in told.exchange.notes if kind == "host_reached"]
    assert [(facts["host"], facts["peer"]) for facts in reached] == [(peer.host, "127.0.0.1")]
    assert (told.facts["hosts_reached"], told.facts["hosts_refused"]) == (1, 1)


async def test_without_a_way_out_listed_hosts_are_refused(confiner: plane.Confiner):
    profile = plane.SandboxProfile(read=PYTHONS, network=plane.Network.HOSTS, hosts=("acme.dev:443",))
    async with whole_lane(confiner=confiner) as lane:
        told = await run(lane, process("true", sandbox=profile))
    assert (told.code, told.exchange.bytes_sent) == ("sandbox_unenforceable", 0)


async def test_it_is_proved_from_inside(confiner: plane.Confiner):
    async with whole_lane(confiner=confiner) as lane:
        target = targets.LocalSandbox("box", lane=lane, clock=SystemClock(), confiner=confiner)
        attestation = await target.attest()
        assert attestation is not None, target.describe().reason
        assert attestation.target_class == confiner.target_class
        assert plane.Property.NETWORK_HOSTS not in attestation.properties
        assert plane.Restraint.NETWORK_HOSTS not in target.describe().features


async def test_listed_hosts_are_proved_from_inside(confiner: plane.Confiner):
    """Under an operator's policy that allows no such address: what a probe of ours listens at is its own."""
    async with whole_lane(confiner=confiner, egress=Egress(addresses=plane.AddressPolicy())) as lane:
        target = targets.LocalSandbox("box", lane=lane, clock=SystemClock(), confiner=confiner)
        attestation = await target.attest()
        assert attestation is not None, target.describe().reason
        assert plane.Property.NETWORK_HOSTS in attestation.properties
        assert plane.Restraint.NETWORK_HOSTS in target.describe().features


@dataclass
class Beside:
    """A confinement whose command is started in the network of the host."""

    inner: plane.Confinement

    @property
    def launch(self) -> plane.Launch:
        words = self.inner.launch.argv
        return replace(self.inner.launch, argv=words[next(i for i, word in enumerate(words) if "bwrap" in word) :])

    def not_started(self) -> plane.Failure | None:
        return self.inner.not_started()

    def wait_status(self, code: int) -> int | None:
        return self.inner.wait_status(code)


class Leaky(targets.Bubblewrap):
    """Its network with listed hosts is no network of its own."""

    @asynccontextmanager
    async def confine(
        self, command: plane.Command, profile: plane.SandboxProfile, limits: plane.ResourceLimits
    ) -> AsyncGenerator[plane.Confinement]:
        async with super().confine(command, profile, limits) as inner:
            yield inner if inner.launch.way_out is None else Beside(inner)


def anywhere(host_port: str) -> str:
    return host_port[:0]


@pytest.mark.parametrize("leak", ["network", "proxy"])
async def test_a_network_that_leaks_is_found_out(leak: str, monkeypatch: pytest.MonkeyPatch):
    """What was not shown is not attested to, and so what needs it is not sent there; the class stands for less."""
    confiner = Leaky() if leak == "network" else targets.Bubblewrap()
    if confiner.unavailable is not None:
        pytest.skip(confiner.unavailable)
    if leak == "proxy":
        monkeypatch.setattr(asking, "normal", anywhere)
    async with whole_lane(confiner=confiner, egress=LOOPBACK) as lane:
        target = targets.LocalSandbox("box", lane=lane, clock=SystemClock(), confiner=confiner)
        attestation = await target.attest()
    assert attestation is not None
    assert plane.Property.NETWORK_HOSTS not in attestation.properties
    assert plane.Restraint.NETWORK_HOSTS not in target.describe().features


async def test_a_command_is_a_command(confiner: plane.Confiner, tmp_path: Path):
    profile = SHELL.model_copy(update={"write": (str(tmp_path),)})
    async with whole_lane(confiner=confiner) as lane:
        cat = await run(lane, process("cat", sandbox=profile, stdin=b"in" * 100_000))
        assert (cat.failure, cat.said()) == (None, b"in" * 100_000)
        code = await run(lane, process("sh", "-c", "echo out; echo err >&2; exit 9", sandbox=profile))
        assert (code.code, code.facts["exit_code"]) == ("exit_nonzero", 9)
        assert (code.said("stdout"), code.said("stderr")) == (b"out\n", b"err\n")
        wrote = await run(lane, process("sh", "-c", "pwd > place", sandbox=profile, cwd=str(tmp_path)))
        assert (wrote.failure, (tmp_path / "place").read_text()) == (None, f"{tmp_path}\n")
        env = await run(lane, process("env", sandbox=profile, env=(("A", "1"),)))
        assert env.said() == b"A=1\n"
        own = await run(lane, process("env", sandbox=profile, env=(("PWD", "mine"), ("HOME", ""))))
        assert set(own.said().split()) == {b"PWD=mine", b"HOME="}
        (tmp_path / "text").write_text("text")
        for command, code in (
            ("no-such-command", "command_not_found"),
            ("/usr/bin/no-such-command", "command_not_found"),
            (REAL_PYTHON, "command_not_found"),  # it is there, and not in the sandbox
            (str(tmp_path / "text"), "launch_failed"),
            (str(tmp_path), "launch_failed"),
        ):
            missing = await run(lane, process(command, sandbox=profile))
            assert missing.failure is not None
            assert missing.failure.failure_class is plane.FailureClass.LAUNCH_FAILED
            assert (missing.code, missing.exchange.bytes_sent, missing.facts) == (code, 0, {})


@pytest.mark.parametrize("name", ["TERM", "ABRT", "KILL", "XCPU", "INT"])
async def test_a_signal_ends_the_command(confiner: plane.Confiner, name: str):
    async with whole_lane(confiner=confiner) as lane:
        told = await run(lane, process("sh", "-c", f"kill -{name} $$; echo survived", sandbox=SHELL))
    assert (told.said(), told.code) == (b"", "killed_by_signal"), (told, told.said("stderr"))
    assert (told.facts["exit_code"], told.facts["signal"]) == (None, f"SIG{name}")


@pytest.mark.parametrize("code", [1, 127, 129, 137, 143, 255])
async def test_a_code_is_no_signal(confiner: plane.Confiner, code: int):
    async with whole_lane(confiner=confiner) as lane:
        told = await run(lane, process("sh", "-c", f"exit {code}", sandbox=SHELL))
    assert (told.code, told.facts["exit_code"], told.facts["signal"]) == ("exit_nonzero", code, None)
    assert "maybe_signal" not in told.facts


async def test_a_command_cannot_speak_for_its_init(confiner: plane.Confiner):
    """Nor end it, where the kernel is one that spares a process 1."""
    line = "kill -9 1; cat /proc/1/environ; for n in 3 4 5 66 67 68; do echo aaaa > /proc/1/fd/$n; done; exit 3"
    async with whole_lane(confiner=confiner) as lane:
        told = await run(lane, process("sh", "-c", line, sandbox=SHELL))
    ended = (told.said(), told.facts["exit_code"], told.facts["signal"])
    assert ended == ((b"", None, "SIGKILL") if confiner.target_class == plane.CONTAINER_GVISOR else (b"", 3, None))


async def test_what_a_runtime_remarks_is_not_among_the_words_of_the_command(tmp_path: Path):
    runtime = shutil.which("runc", path="/usr/sbin:/usr/bin:/usr/local/bin")
    talkative = tmp_path / "runc"
    talkative.write_text(f'#!/bin/sh\ncase "$*" in *" --log "*) ;; *) echo remark >&2;; esac\nexec {runtime} "$@"\n')
    talkative.chmod(0o755)
    confiner = targets.Container(plane.CONTAINER_RUNC, program=str(talkative))
    if runtime is None or confiner.unavailable is not None:
        pytest.skip(confiner.unavailable or "this host has no runc")
    async with whole_lane(confiner=confiner) as lane:
        told = await run(lane, process("sh", "-c", "echo own >&2", sandbox=SHELL))
    assert told.said("stderr") == b"own\n"


async def test_what_loses_its_parent_is_collected(confiner: plane.Confiner):
    line = "p=$(true & echo $!); for n in $(seq 300); do test -e /proc/$p || exit 0; sleep 0.1; done; exit 1"
    async with whole_lane(confiner=confiner) as lane:
        assert (await run(lane, process("sh", "-c", line, sandbox=SHELL))).failure is None


async def test_a_signal_from_outside_ends_the_command_at_once(confiner: plane.Confiner):
    """And not only after the grace."""
    intent = process("sh", "-c", "echo up; exec sleep 600", sandbox=SHELL, grace_ms=60_000)
    async with whole_lane(confiner=confiner) as lane, begun(lane, intent) as (told, ear):
        await ear.until(b"up")
        await ear.inbox.send(plane.Input(kind=plane.InputKind.SIGNAL, facts={"signal": "SIGTERM"}))
    own_kernel = (
        confiner.target_class == plane.CONTAINER_GVISOR
    )  # which is what the signal meets, and ends, or hands on
    assert told.facts["signal"] in (("SIGTERM", "SIGKILL") if own_kernel else ("SIGTERM",))


async def test_variables_are_never_arguments(tmp_path: Path):
    bubblewrap = CONFINERS[plane.LOCAL_BUBBLEWRAP]
    if bubblewrap.unavailable is not None:
        pytest.skip(bubblewrap.unavailable)
    secret = plane.ProcessSecret(handle="token", field="token", host="a.dev:443", env="TOKEN")
    async with whole_lane(confiner=bubblewrap) as lane:
        intent = process("sh", "-c", "echo up; read x; echo $TOKEN", sandbox=SHELL, secrets=(secret,), interactive=True)
        async with begun(lane, intent) as (told, ear):
            await ear.until(b"up")
            assert "s3cr3t-value" not in arguments_of_all()
            await ear.inbox.send(plane.Input(data=b"\n"))
        assert told.said() == b"up\ns3cr3t-value\n"


async def test_a_container_takes_no_secret_variables_and_no_terminal():
    for target_class in (plane.CONTAINER_RUNC, plane.CONTAINER_GVISOR):
        confiner = CONFINERS[target_class]
        if confiner.unavailable is not None:
            pytest.skip(confiner.unavailable)
        secret = plane.ProcessSecret(handle="token", field="token", host="a.dev:443", env="TOKEN")
        async with whole_lane(confiner=confiner) as lane:
            for intent in (
                process("true", sandbox=SHELL, secrets=(secret,)),
                process("true", sandbox=SHELL, terminal=plane.TerminalSize()),
            ):
                told = await run(lane, intent)
                assert (told.code, told.exchange.bytes_sent) == ("sandbox_unenforceable", 0)


async def test_runc_hands_secrets_over_by_descriptor():
    confiner = CONFINERS[plane.CONTAINER_RUNC]
    if confiner.unavailable is not None:
        pytest.skip(confiner.unavailable)
    secret = plane.ProcessSecret(handle="token", field="token", host="a.dev:443", fd=3)
    async with whole_lane(confiner=confiner) as lane:
        assert (
            await run(lane, process("sh", "-c", "cat <&3", sandbox=SHELL, secrets=(secret,)))
        ).said() == b"s3cr3t-value"


async def test_a_cancelled_command_leaves_nothing(confiner: plane.Confiner):
    before = set(runtime_folders())
    async with whole_lane(confiner=confiner) as lane:
        line = "setsid sh -c 'trap \"\" TERM; while :; do sleep 600; done' & trap '' TERM; echo up; while :; do sleep 600; done"
        with anyio.CancelScope() as scope:
            async with begun(lane, process("sh", "-c", line, sandbox=SHELL, grace_ms=100)) as (_told, ear):
                await ear.until(b"up")
                scope.cancel()
    assert set(runtime_folders()) == before


async def test_what_is_left_ends_with_the_sandbox_uncounted(confiner: plane.Confiner):
    profile = SHELL.model_copy(update={"network": plane.Network.HOSTS, "hosts": ("127.0.0.1:9",)})
    async with whole_lane(confiner=confiner, egress=LOOPBACK) as lane:
        left = await run(lane, process("sh", "-c", "sleep 600 & sleep 600 & true", sandbox=profile))
    assert (left.failure, "left_over" in left.facts) == (None, False)


async def test_limits_hold(confiner: plane.Confiner):
    limits = plane.ResourceLimits(processes=8, total_memory_bytes=150_000_000)
    source = (
        "import os, time\nn = 0\ntry:\n    while n < 50:\n        if os.fork() == 0: time.sleep(600)\n        n += 1\n"
        "except OSError: pass\nprint(n)"
    )
    profile = plane.SandboxProfile(read=(*targets.SYSTEM, str(Path(REAL_PYTHON).parents[1])), limits=limits)
    async with whole_lane(confiner=confiner) as lane:
        intent = program(source, sandbox=profile)
        told = await run(lane, intent.model_copy(update={"argv": (REAL_PYTHON, *intent.argv[1:])}))
        if not limits.restraints <= lane.enforces:
            assert (told.code, told.exchange.bytes_sent) == ("sandbox_unenforceable", 0)
            return
        assert 5 <= int(told.said()) <= 7
        with nothing_left():
            big = program("x = bytearray(400_000_000)", sandbox=profile)
            eater = await run(lane, big.model_copy(update={"argv": (REAL_PYTHON, *big.argv[1:])}))
        assert eater.failure is not None


async def test_a_loopback_of_its_own(confiner: plane.Confiner):
    profile = plane.SandboxProfile(
        read=(*targets.SYSTEM, str(Path(REAL_PYTHON).parents[1])), network=plane.Network.LOOPBACK
    )
    source = (
        "import socket, sys\ns = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname())\n"
        "print('inner')\n"
        "for family in (1, 16, 40):\n"  # of files, of the kernel, of virtual machines: none of them is a loopback
        "    try: socket.socket(family, socket.SOCK_DGRAM); print('open')\n"
        "    except OSError: pass\n"
        "socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5); print('outer')"
    )
    with socket.create_server(("127.0.0.1", 0)) as outer:
        async with whole_lane(confiner=confiner) as lane:
            intent = process(REAL_PYTHON, "-I", "-S", "-c", source, str(outer.getsockname()[1]), sandbox=profile)
            told = await run(lane, intent)
    if plane.Restraint.NETWORK_LOOPBACK not in plane.ENFORCED_BY[confiner.target_class]:
        assert told.code == "sandbox_unenforceable"
    else:
        assert told.said() == b"inner\n"


def arguments_of_all() -> str:
    found: list[str] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found.append((folder / "cmdline").read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(found)


def runtime_folders() -> list[Path]:
    """What a runtime may leave: control groups, its state, our bundles."""
    places = [
        (Path("/sys/fs/cgroup"), f"*/interlock-container-*-{os.getpid()}-*"),
        (Path(tempfile.gettempdir()), f"interlock-container-*-{os.getpid()}-*"),
    ]
    return [path for place, pattern in places for path in place.glob(pattern)]


async def test_a_sandbox_that_is_killed_says_nothing_of_its_command(tmp_path: Path):
    """The command had begun: only the sandbox, which would have told, is gone."""
    bubblewrap = CONFINERS[plane.LOCAL_BUBBLEWRAP]
    if bubblewrap.unavailable is not None:
        pytest.skip(bubblewrap.unavailable)
    profile = SHELL.model_copy(update={"write": (str(tmp_path),)})
    intent = process("sh", "-c", f"touch {tmp_path}/done; echo begun; sleep 60", sandbox=profile)
    async with whole_lane(confiner=bubblewrap) as lane, begun(lane, intent) as (told, channel):
        await channel.until(b"begun")
        outer = [each for each in psutil.Process().children(recursive=True) if each.name() == "bwrap"]
        outer[0].kill()
        channel.inbox.end()
    assert (tmp_path / "done").exists()
    assert told.code == "killed_by_signal", told
    assert told.exchange.bytes_sent > 0
