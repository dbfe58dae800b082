"""OpenSSH's own server, and the guest agent inside a container of runc whose root is made of this host's files."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import asyncssh
import pytest

from far_places import ESCAPED, FREE, TOKEN, carrier, placed_lane
from fix_process import Told, alive, begun, process, program, run
from interlock import plane
from interlock.adapters import lanes

pytestmark = [pytest.mark.rig, pytest.mark.anyio]

PATH = f"{plane.DEFAULT_PATH}:/usr/sbin:/sbin"
SSHD = shutil.which("sshd", path=PATH)
RUNC = shutil.which("runc", path=PATH)


async def gone(marker: str) -> None:
    while alive(marker):
        await anyio.lowlevel.checkpoint()


@asynccontextmanager
async def escaped(lane: plane.Lane, marker: str) -> AsyncGenerator[Told]:
    """While a command runs there that has detached a grandchild."""
    async with begun(lane, process("python3", "-c", ESCAPED, marker)) as (told, channel):
        await channel.until(b"away")
        yield told


async def check_a_command(lane: plane.Lane) -> None:
    """Streams, codes, signals and limits are true there."""
    cat = await run(lane, process("cat", stdin=b"in" * 500_000))
    assert (cat.failure, cat.said()) == (None, b"in" * 500_000)
    both = await run(lane, process("sh", "-c", "echo out; echo err >&2; exit 9"))
    assert (both.said(), both.said("stderr"), both.facts["exit_code"]) == (b"out\n", b"err\n", 9)
    assert (await run(lane, process("sh", "-c", "kill -9 $$"))).facts["signal"] == "SIGKILL"
    assert (await run(lane, process("env", env=(("A", "$(id)"),)))).said() == b"A=$(id)\n"
    files = await run(lane, process("sh", "-c", "ulimit -n", limits=plane.ResourceLimits(files=33)))
    assert files.said() == b"33\n"
    terminal = plane.TerminalSize(rows=30, columns=100)
    assert (await run(lane, process("stty", "size", terminal=terminal))).said() == b"30 100\r\n"


# -- OpenSSH


class OpenSsh:
    """A server on a port of its own, with keys of its own."""

    def __init__(self, folder: Path) -> None:
        assert SSHD is not None
        self.identity = folder / "identity"
        mine, self.host_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
        mine.write_private_key(str(self.identity))
        self.host_key.write_private_key(str(folder / "host_key"))
        (folder / "host_key").chmod(0o600)
        (folder / "authorized").write_bytes(mine.export_public_key())
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        settings = (
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized\n"
            "PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\nLogLevel ERROR\n"
        )
        (folder / "config").write_text(settings)
        Path("/run/sshd").mkdir(exist_ok=True)
        self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.DEVNULL)
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except ConnectionRefusedError:
                assert self.process.poll() is None
            else:
                return

    def place(self, port: int | None = None, **options: Any) -> lanes.SshPlace:
        url = plane.parse_place(f"ssh://root@127.0.0.1:{port or self.port}")
        defaults: dict[str, Any] = {"host_keys": (self.host_key.get_fingerprint(),)}
        return lanes.SshPlace(url, addresses=FREE, identity=self.identity, **defaults | options)


@pytest.fixture
def open_ssh(tmp_path: Path) -> Generator[OpenSsh]:
    if SSHD is None or os.geteuid() != 0:
        pytest.skip("needs openssh-server, and root")
    server = OpenSsh(tmp_path)
    yield server
    server.process.terminate()
    server.process.wait()


async def test_openssh_carries_commands(open_ssh: OpenSsh):
    await check_a_command(placed_lane(open_ssh.place()))


async def test_openssh_with_another_key_is_refused(open_ssh: OpenSsh):
    told = await run(placed_lane(open_ssh.place(host_keys=("SHA256:other",))), process("true"))
    assert (told.code, told.exchange.bytes_sent) == ("host_key_changed", 0)


async def test_a_cut_connection_to_openssh_ends_all(open_ssh: OpenSsh, marker: str):
    async with carrier(f"127.0.0.1:{open_ssh.port}") as way:
        async with escaped(placed_lane(open_ssh.place(way.port)), marker) as told:
            way.cut()
        assert told.code == "link_lost"
        await gone(marker)


async def test_openssh_behind_a_black_hole_ends_all(open_ssh: OpenSsh, marker: str):
    async with carrier(f"127.0.0.1:{open_ssh.port}") as way:
        async with escaped(placed_lane(open_ssh.place(way.port, silence=1.0)), marker) as told:
            way.stalled = True
            await gone(marker)
        assert told.code == "far_side_silent"


# -- a container


def container(folder: Path, *, target: str) -> dict[str, Any]:
    """A root of this host's own programs, read-only, in which only the bridge's folder can be written."""
    system = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache", sys.base_prefix)
    binds = [(each, "ro") for each in system if Path(each).exists()] + [(str(folder / "bridge"), "rw")]
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]},
        *(
            {"destination": path, "type": "bind", "source": os.path.realpath(path), "options": ["rbind", mode]}
            for path, mode in binds
        ),
    ]
    bridge = folder / "bridge"
    python = os.path.realpath(sys.executable)
    words = [python, "-I", "-S", f"{bridge}/agent.py", "--listen", f"{bridge}/s", "--token-file", f"{bridge}/token"]
    return {
        "ociVersion": "1.0.2",
        "hostname": target,
        "root": {"path": "rootfs", "readonly": True},
        "mounts": mounts,
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": words,
            "env": [],
            "cwd": "/",
            "noNewPrivileges": True,
            "capabilities": {kind: [] for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")},
        },
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")]},
    }


@pytest.fixture
def guest(tmp_path: Path) -> Generator[lanes.GuestPlace]:
    if RUNC is None or os.geteuid() != 0:
        pytest.skip("needs runc, and root")
    bridge = tmp_path / "bridge"
    bridge.mkdir()
    (tmp_path / "rootfs").mkdir()
    (bridge / "agent.py").write_text(lanes.agent_program())
    (bridge / "token").write_text(TOKEN)
    (tmp_path / "config.json").write_text(json.dumps(container(tmp_path, target="box")))
    name = f"interlock-guest-{os.getpid()}"
    words = [RUNC, "--root", str(tmp_path / "state")]
    running = subprocess.Popen(
        [*words, "run", "--bundle", str(tmp_path), name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    assert running.stdout is not None
    try:
        assert running.stdout.readline() == b"ready\n"
        url = plane.parse_place(f"guest+unix://{bridge}/s")
        yield lanes.GuestPlace(url, addresses=FREE, token=bridge / "token", silence=1.0)
    finally:
        subprocess.run([*words, "delete", "--force", name], check=False, capture_output=True)
        running.wait()
        running.stdout.close()


async def test_a_container_carries_commands_inside(guest: lanes.GuestPlace, tmp_path: Path):
    lane = placed_lane(guest)
    await check_a_command(lane)
    assert (await run(lane, process("hostname"))).said() == b"box\n"
    outside = await run(lane, process("sh", "-c", f"ls {tmp_path}; cat /etc/passwd; touch /usr/here && echo wrote"))
    assert (outside.said(), outside.code) == (b"bridge\n", "exit_nonzero")
    assert next(note for kind, _at, note in outside.exchange.notes if kind == "placed")["guest"] == "box"
    alone = await run(lane, program("import os; print(sorted(p for p in os.listdir('/proc') if p.isdigit()))"))
    assert len(alone.said().split()) <= 5


async def test_a_cut_connection_to_a_container_ends_all(guest: lanes.GuestPlace, marker: str):
    async with carrier(guest.url.removeprefix("guest+unix://")) as way:
        place = lanes.GuestPlace(plane.parse_place(way.url), addresses=FREE, token=guest_token(guest))
        async with escaped(placed_lane(place), marker) as told:
            way.cut()
        assert told.code == "link_lost"
        await gone(marker)


def guest_token(guest: lanes.GuestPlace) -> Path:
    return Path(guest.url.removeprefix("guest+unix://")).with_name("token")
