"""Targets of this host without anything installed: what Landlock stops, what a plain process honestly does not stop, and
that no class is claimed without a probe."""

import base64
import tempfile
from pathlib import Path
from typing import Any, Self

import anyio
import anyio.lowlevel
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import escapes
from fix_process import REAL_PYTHON, begun, process, run, whole_lane
from interlock import plane, testing
from interlock.adapters import targets
from interlock.kernel import SystemClock

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

LANDLOCK = targets.Landlock()
needs_landlock = pytest.mark.skipif(LANDLOCK.unavailable is not None, reason=str(LANDLOCK.unavailable))

NEEDS_PRIVILEGE = {
    "mount",
    "bpf",
    "capabilities",
    "user-namespace",
    "trace",
    "read-memory",
    "root-of-another",
    "io-uring",
    "raw-packets",
    "udp-outwards",
    "virtual-machine-socket",
    "name",
    "namespace-by-clone",
    "namespace-by-clone3",
    "attributes",
    "attributes-by-ioctl",
    "kernel-log",
    "kernel-setting",
    "kernel-settings",
    "kernel-keys",
}
"""Attempts that a plain process may be too weak for: nobody stops them here, and yet they can fail."""


@pytest.mark.parametrize("name", sorted(set(escapes.ESCAPES) - NEEDS_PRIVILEGE))
async def test_a_plain_process_stops_nothing(tmp_path: Path, name: str):
    async with whole_lane() as lane:
        with escapes.prey(tmp_path) as prey:
            assert await prey.tempt(lane, name, confined=False)


@needs_landlock
@pytest.mark.parametrize("name", sorted(escapes.ESCAPES))
async def test_landlock_stops(tmp_path: Path, name: str):
    async with whole_lane(confiner=LANDLOCK, lane_id="process.landlock") as lane:
        with escapes.prey(tmp_path) as prey:
            assert not await prey.tempt(lane, name, confined=True)
            assert prey.untouched


@needs_landlock
async def test_what_landlock_does_not_stop(tmp_path: Path):
    """What cannot be read can still be seen to exist. The class says so: it is not shown to hide processes."""
    source = "import os, sys; print(os.path.exists('/proc/1/stat'), os.stat(sys.argv[1]).st_size)"
    (tmp_path / "file").write_text("12345")
    profile = plane.SandboxProfile(read=(*targets.SYSTEM, str(Path(REAL_PYTHON).parents[1])))
    async with whole_lane(confiner=LANDLOCK) as lane:
        told = await run(lane, process(REAL_PYTHON, "-I", "-S", "-c", source, str(tmp_path / "file"), sandbox=profile))
    assert told.said() == b"True 5\n", told
    assert plane.Property.PROCESSES_HIDDEN not in plane.CLASSES[plane.LOCAL_LANDLOCK]


@needs_landlock
async def test_what_a_command_does_with_itself_under_landlock_goes_on(tmp_path: Path):
    """Modes and times cannot be told apart by where a file is, and so they are refused in the paths to write, too."""
    source = (
        "import os, resource, socket, subprocess, sys, threading\n"
        "threading.Thread(target=os.getpid).start(); subprocess.run(['true'], check=True)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50)); os.setpriority(0, 0, os.getpriority(0, 0)); os.nice(1)\n"
        "os.sched_setaffinity(0, os.sched_getaffinity(0)); a, b = socket.socketpair(); a.send(b'x'); b.recv(1)\n"
        "open('new', 'w').write('x'); os.mkdir('folder'); os.rename('new', 'folder/new'); os.isatty(1)\n"
        "try: os.chmod('folder/new', 0o600)\n"
        "except PermissionError: print('refused')"
    )
    profile = plane.SandboxProfile(read=(*targets.SYSTEM, str(Path(REAL_PYTHON).parents[1])), write=(str(tmp_path),))
    async with whole_lane(confiner=LANDLOCK) as lane:
        told = await run(lane, process(REAL_PYTHON, "-I", "-S", "-c", source, sandbox=profile, cwd=str(tmp_path)))
    assert told.said() == b"refused\n", (told, told.said("stderr"))


@needs_landlock
async def test_a_confined_command_is_still_a_command(tmp_path: Path):
    """Streams, codes, signals, secrets, limits, variables and the working folder are what they are without a sandbox."""
    (tmp_path / "given").write_text("text")
    profile = plane.SandboxProfile(
        read=(*targets.SYSTEM, str(tmp_path)), write=(str(tmp_path),), limits=plane.ResourceLimits(files=20)
    )
    secret = plane.ProcessSecret(handle="token", field="token", host="a.dev:443", fd=5)

    def shell(line: str, **fields: Any) -> plane.ProcessIntent:
        return process("sh", "-c", line, sandbox=profile, cwd=str(tmp_path), **fields)

    async with whole_lane(confiner=LANDLOCK) as lane:
        assert (await run(lane, shell("cat given > out; cat; cat <&5", stdin=b"in ", secrets=(secret,)))).said() == (
            b"in s3cr3t-value"
        )
        assert (tmp_path / "out").read_text() == "text"
        assert (await run(lane, shell("kill -9 $$"))).facts["signal"] == "SIGKILL"
        assert (await run(lane, shell("exit 9"))).facts["exit_code"] == 9
        assert (await run(lane, shell("ulimit -n; pwd"))).said() == f"20\n{tmp_path}\n".encode()
        assert (await run(lane, process("env", sandbox=profile, env=(("A", "1"),)))).said() == b"A=1\n"
        for command in ("no-such-command", "/usr/bin/no-such-command", str(tmp_path / "no-such-command")):
            missing = await run(lane, process(command, sandbox=profile))
            assert (missing.code, missing.exchange.bytes_sent, missing.facts) == ("command_not_found", 0, {})
        unusable = await run(lane, process(str(tmp_path / "given"), sandbox=profile))
        assert (unusable.code, unusable.exchange.bytes_sent) == ("sandbox_not_started", 0)
        nowhere = await run(lane, process("true", sandbox=profile.model_copy(update={"write": ("/no/such",)})))
        assert (nowhere.code, nowhere.failure and nowhere.failure.failure_class) == (
            "sandbox_not_started",
            plane.FailureClass.LAUNCH_FAILED,
        )
        async with begun(lane, shell("read x; echo $x", terminal=plane.TerminalSize(), interactive=True)) as (
            told,
            ear,
        ):
            await ear.inbox.send(plane.Input(data=b"typed\n"))
        assert told.said().endswith(b"typed\r\n")


@needs_landlock
@pytest.mark.parametrize(
    "profile",
    [
        plane.SandboxProfile(network=plane.Network.LOOPBACK),
        plane.SandboxProfile(network=plane.Network.HOSTS, hosts=("api.acme.dev:443",)),
    ],
)
async def test_what_landlock_cannot_enforce_is_refused(profile: plane.SandboxProfile):
    async with whole_lane(confiner=LANDLOCK) as lane:
        told = await run(lane, process("true", sandbox=profile))
        assert (told.code, told.exchange.bytes_sent) == ("sandbox_unenforceable", 0)
        assert (await run(lane, process("true"))).code == "profile_missing"


@needs_landlock
async def test_settings_of_the_kernel_are_not_to_be_written_by_another_name(tmp_path: Path):
    (tmp_path / "link").symlink_to("/proc/sys")
    async with whole_lane(confiner=LANDLOCK) as lane:
        told = await run(lane, process("true", sandbox=plane.SandboxProfile(write=(str(tmp_path / "link"),))))
    assert (told.code, told.exchange.bytes_sent) == ("path_refused", 0)


class Key:
    key_id = "host-key"

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()
        self.public = base64.b64encode(self._private.public_key().public_bytes_raw()).decode()

    def sign(self, data: bytes) -> str:
        return base64.b64encode(self._private.sign(data)).decode()


async def test_a_probed_target_is_what_it_was_shown_to_be():
    clock, key = testing.ManualClock(), Key()
    verifier = plane.AttestationVerifier({"host-key": key.public}, clock=clock)
    async with whole_lane() as lane:
        target = targets.LocalSandbox("here", lane=lane, clock=clock, signer=key)
        before = target.describe()
        assert (before.health, before.attestation.target_class) == (plane.Health.UNAVAILABLE, plane.UNPROVEN)
        attestation = await target.attest(verifier.challenge("here"))
        assert attestation is not None
        assert verifier.accept(attestation) is None
        assert verifier.holds(target.describe()) is None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(target.attest)
            await anyio.lowlevel.checkpoint()
            assert target.describe().attestation == attestation  # until it is probed anew
    shown = set(attestation.properties)
    assert shown >= plane.CLASSES[plane.LOCAL_PROCESS]
    assert not shown & {
        plane.Property.WRITES_CONFINED,
        plane.Property.READS_CONFINED,
        plane.Property.NETWORK_NONE,
        plane.Property.PROCESSES_HIDDEN,
        plane.Property.KERNEL_APART,
    }


@needs_landlock
async def test_landlock_is_proved_from_inside():
    async with whole_lane(confiner=LANDLOCK, lane_id="process.landlock") as lane:
        target = targets.LocalSandbox("box", lane=lane, clock=SystemClock(), confiner=LANDLOCK)
        attestation = await target.attest()
        assert attestation is not None, target.describe().reason
        assert attestation.target_class == plane.LOCAL_LANDLOCK
        assert plane.Property.PROCESSES_HIDDEN not in attestation.properties
        assert attestation.attested_by == "self"


async def test_a_sandbox_that_does_not_confine_is_found_out():
    """A backend that says it confines and does not: the probe shows otherwise, and no class is minted."""

    class Liar(targets.Landlock):
        @property
        def unavailable(self) -> None:
            return None

        @property
        def enforces(self) -> frozenset[plane.Restraint]:
            return frozenset({plane.Restraint.READ, plane.Restraint.WRITE, plane.Restraint.NETWORK_NONE})

        def confine(self, command: plane.Command, profile: plane.SandboxProfile, limits: plane.ResourceLimits) -> Any:
            return _Unconfined(command)

    liar = Liar()
    async with whole_lane(confiner=liar) as lane:
        target = targets.LocalSandbox("box", lane=lane, clock=SystemClock(), confiner=liar)
        assert await target.attest() is None
    described = target.describe()
    assert described.health is plane.Health.UNAVAILABLE
    assert described.reason is not None
    assert "the probe did not show" in described.reason
    assert "writes-confined" in described.reason
    assert described.attestation.target_class == plane.UNPROVEN


@pytest.mark.parametrize("confiner", [None, pytest.param(LANDLOCK, marks=needs_landlock)])
async def test_a_long_path_for_temporary_files_is_no_reason_to_prove_nothing(
    confiner: plane.Confiner | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Though it is longer than a socket's address may be."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    async with whole_lane(confiner=confiner) as lane:
        target = targets.LocalSandbox("box", lane=lane, clock=SystemClock(), confiner=confiner)
        attestation = await target.attest()
    assert attestation is not None, target.describe().reason
    assert (plane.Property.NETWORK_NONE in attestation.properties) is (confiner is not None)


class _Unconfined:
    def __init__(self, command: plane.Command) -> None:
        self.launch = plane.Launch(argv=command.argv, env=command.env, cwd=command.cwd)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        pass

    def not_started(self) -> None:
        return None

    def wait_status(self, code: int) -> int | None:
        """It has no wrappers of which one could ask."""
        raise AssertionError(code)


@pytest.mark.parametrize(
    "confiner",
    [
        targets.Bubblewrap("no-such-bwrap"),
        targets.Container(plane.CONTAINER_RUNC, program="no-such-runc"),
        targets.Container(plane.CONTAINER_GVISOR, program="no-such-runsc"),
    ],
)
async def test_a_host_that_lacks_a_sandbox_says_so(confiner: Any):
    async with whole_lane(confiner=confiner) as lane:
        target = targets.LocalSandbox("box", lane=lane, clock=SystemClock(), confiner=confiner)
        assert await target.attest() is None
        described = target.describe()
        assert (described.health, described.attestation.target_class) == (plane.Health.UNAVAILABLE, plane.UNPROVEN)
        assert described.reason is not None
        assert "this host has no" in described.reason
        told = await run(lane, process("true", sandbox=plane.SandboxProfile()))
        assert (told.code, told.exchange.bytes_sent) == ("no_sandbox", 0)


async def test_the_table_says_the_most_that_a_backend_enforces():
    for confiner in (
        LANDLOCK,
        targets.Bubblewrap(),
        *map(targets.Container, (plane.CONTAINER_RUNC, plane.CONTAINER_GVISOR)),
    ):
        async with whole_lane(confiner=confiner) as lane:
            assert lane.enforces <= plane.ENFORCED_BY[confiner.target_class]
    async with whole_lane() as lane:
        assert lane.enforces <= plane.ENFORCED_BY[plane.LOCAL_PROCESS]
