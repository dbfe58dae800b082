"""Placements to test with: a guest agent and an SSH server as child processes, and lanes to them."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import asyncssh
import psutil

from fix_process import SPAWN_ESCAPED, Leases
from interlock import plane
from interlock.adapters import lanes
from interlock.kernel import SystemClock

TOKEN = "a-token-that-nobody-guesses-0123456789"
ESCAPED = f"{SPAWN_ESCAPED}\ntime.sleep(600)"
"""As that one, and stays."""
FREE = plane.AddressPolicy(allow=("127.0.0.0/8",))


def attachment(
    target_id: str, /, *, kind: plane.PostureKind = plane.PostureKind.INJECT_ENV, **grant: Any
) -> plane.Attachment:
    """A target that may be given the lease `token` for api.acme.dev."""
    clock = SystemClock()
    posture = plane.TargetPosture(
        target_id=target_id,
        kind=kind,
        audiences=("api.acme.dev:443",),
        handle_kinds=("env", "descriptor"),
        max_handles=4,
    )
    later = clock.now() + timedelta(hours=1)
    session = plane.BoundarySessionDescriptor(
        session_id="ses_1",
        tenant_id="default",
        decision_digest=posture.digest,
        state=plane.SessionState.ATTACHED,
        workspace="here",
        expires_at=later,
    )
    fields: dict[str, Any] = {
        "grant_id": "gra_1",
        "tenant_id": "default",
        "session_id": session.session_id,
        "target_id": target_id,
        "posture_digest": posture.digest,
        "workspace": session.workspace,
        "handles": ("token",),
        "expires_at": later,
    }
    return plane.Attachment(posture=posture, grant=plane.AttachGrant(**fields | grant), session=session)


def placed_lane(place: lanes.Place, **options: Any) -> lanes.PlacedLane:
    defaults: dict[str, Any] = {
        "credentials": Leases(token="s3cr3t-value"),
        "attachment": attachment("there"),
        "lane_id": "there",
    }
    return lanes.PlacedLane(place, **defaults | options)


# -- guests


class Agent:
    """A guest agent that runs here, as a child."""

    def __init__(self, folder: Path, where: str, *options: str) -> None:
        self.token = folder / "token"
        self.token.write_text(TOKEN)
        program = folder / "agent.py"
        if not program.exists():
            program.write_text(lanes.agent_program())
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(program), "--listen", where, "--token-file", str(self.token), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"
        self.url = f"guest+unix://{where}" if where.startswith("/") else f"guest://{where}"

    def place(self, **options: Any) -> lanes.GuestPlace:
        defaults: dict[str, Any] = {"addresses": FREE, "token": self.token}
        return lanes.GuestPlace(plane.parse_place(self.url), **defaults | options)

    @property
    def sessions(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def wait(self) -> None:
        """Until nothing runs in it."""
        while self.sessions:
            os.sched_yield()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def agent(folder: Path, where: str | None = None, *options: str) -> Generator[Agent]:
    """While it runs; at the end nothing runs in it."""
    found = Agent(folder, where or str(folder / "guest.sock"), *options)
    try:
        yield found
        found.wait()
    finally:
        found.close()


class Carrier:
    """Carries connections to an address, remembers what it carried, and breaks them when asked to."""

    def __init__(self, to: str) -> None:
        self.to = to
        self.carried = bytearray()
        self.stalled = False
        self.spoil = False
        self.port = 0
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        return f"guest://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Both ends of all connections are reset."""
        for writer in self._writers:
            writer.transport.abort()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.to.startswith("/"):
            far_reader, far_writer = await asyncio.open_unix_connection(self.to)
        else:
            host, _, port = self.to.rpartition(":")
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
        self._writers += [writer, far_writer]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._pump, reader, far_writer)
            tasks.start_soon(self._pump, far_reader, writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                self.carried += data
                if self.spoil:
                    data = data[:-1] + bytes([data[-1] ^ 1])
                if not self.stalled:
                    writer.write(data)
                    await writer.drain()
        except OSError:
            pass
        finally:
            if not self.stalled:
                writer.close()


@asynccontextmanager
async def carrier(to: str) -> AsyncGenerator[Carrier]:
    found = Carrier(to)
    server = await asyncio.start_server(found.take, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        found.cut()
        await anyio.lowlevel.checkpoint()


# -- SSH


class SshHost:
    """An SSH server as a child process, with its keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.identity = folder / "identity"
        mine, self.host_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
        mine.write_private_key(str(self.identity))
        self.host_key.write_private_key(str(folder / "host_key"))
        (folder / "authorized").write_bytes(mine.export_public_key())
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("far_sshd.py")), str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def took(self, name: str) -> list[str]:
        """Who came (`attempts`), or what was asked for (`asked`), since this was called last."""
        path = self.folder / name
        found = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return found

    def place(
        self, *, user: str = "me", name: str = "127.0.0.1", port: int | None = None, **options: Any
    ) -> lanes.SshPlace:
        defaults: dict[str, Any] = {
            "addresses": FREE,
            "identity": self.identity,
            "host_keys": (self.host_key.get_fingerprint(),),
        }
        return lanes.SshPlace(plane.parse_place(f"ssh://{user}@{name}:{port or self.port}"), **defaults | options)

    def wait(self) -> None:
        """Until nothing runs there."""
        while psutil.Process(self.process.pid).children():
            os.sched_yield()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
