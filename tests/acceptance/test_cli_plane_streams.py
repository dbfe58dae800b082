"""`interlock plane` between a shell's streams: an end comes when it is due, whoever does not write, read or answer."""

import contextlib
import http.server
import os
import pty
import signal
import socket
import ssl
import subprocess
import termios
import threading
from collections.abc import Generator
from pathlib import Path

import pytest
import websockets.exceptions
import websockets.sync.server

from fix_cli import COMMAND, Shell, in_time_for
from interlock import plane

pytestmark = pytest.mark.faults  # starts servers and commands

PATIENCE = 60
"""Seconds after which something hangs: being slow fails no test."""


def ended(process: subprocess.Popen[str]) -> int:
    """Its exit code, while its streams stay as they are."""
    try:
        return process.wait(PATIENCE)
    finally:
        process.kill()


def test_a_command_that_has_ended_waits_for_no_input(bare_shell: Shell) -> None:
    with bare_shell.start("plane", "run", "--", "/bin/echo", "done") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        assert ended(process) == 0


def test_a_timeout_waits_for_no_reader_and_no_input(bare_shell: Shell) -> None:
    with bare_shell.start("plane", "run", "--timeout", "3", "--", "yes") as process:
        assert ended(process) == 124
        assert process.stderr is not None
        assert process.stderr.read().startswith("error: not done within 3 seconds")


@contextlib.contextmanager
def at_a_terminal(shell: Shell, *arguments: str) -> Generator[tuple[subprocess.Popen[str], int]]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(COMMAND), *arguments], cwd=shell.folder, env=shell.environment, stdin=theirs, stdout=theirs, stderr=theirs,
        text=True,
    )  # fmt: skip
    os.close(theirs)
    with process:
        try:
            yield process, ours
        finally:
            process.kill()
            os.close(ours)


def read_to(terminal: int, word: bytes) -> None:
    shown = b""
    while word not in shown:
        shown += os.read(terminal, 65_536)


def test_nobody_needs_to_press_a_key(bare_shell: Shell) -> None:
    with at_a_terminal(bare_shell, "plane", "run", "--", "/bin/echo", "done") as (process, terminal):
        read_to(terminal, b"done")
        assert ended(process) == 0


RESIZED = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 600 & wait; done"


def test_a_terminal_keeps_the_size_of_ours(bare_shell: Shell) -> None:
    with at_a_terminal(bare_shell, "plane", "run", "--tty", "--", "/bin/sh", "-c", RESIZED) as (process, terminal):
        read_to(terminal, b"ready")
        termios.tcsetwinsize(terminal, (33, 111))
        process.send_signal(signal.SIGWINCH)
        read_to(terminal, b"33 111")
        assert ended(process) == 0


@pytest.mark.parametrize("json", [(), ("--json",)])
def test_a_terminal_is_not_given_where_there_is_none(bare_shell: Shell, json: tuple[str, ...]) -> None:
    told = bare_shell.run("plane", "run", "--tty", *json, "--", "/bin/true")
    assert (told.code, "stdin is no terminal" in told.out + told.err) == (2, True)


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("-- yes | head -2", 141, ""),
        ("-- yes > /dev/full", 125, "error: the answer could not be written: No space left on device\n"),
        ("-- sh -c 'yes >&2' 2>&1 >/dev/null | head -2", 141, ""),
    ],
)
def test_output_that_nobody_takes_ends_the_command(
    bare_shell: Shell, warm: Path, line: str, code: int, said: str
) -> None:
    script = f"{warm / 'interlock'} plane run {line}; exit ${{PIPESTATUS[0]}}"
    told = subprocess.run(
        ["bash", "-c", script], cwd=bare_shell.folder, env=bare_shell.environment, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert told.returncode == code
    assert told.stderr.startswith(said)
    assert "Traceback" not in told.stderr


@contextlib.contextmanager
def silent_peer() -> Generator[str]:
    """Takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"https://127.0.0.1:{listening.getsockname()[1]}"


def test_a_node_that_does_not_answer_is_not_waited_for(bare_shell: Shell, warm: Path) -> None:
    bare_shell.environment["INTERLOCK_EXECUTION__EGRESS_ALLOW"] = '["127.0.0.0/8"]'
    bare_shell.good("node", "init", "keys", "--name", "127.0.0.1")
    with silent_peer() as url:
        node = ("--placement", url, "--identity", "keys/client")
        seconds, told = in_time_for(
            lambda seconds: bare_shell.spawn(
                "plane", "run", "--json", *node, "--timeout", seconds, "--", "/bin/true", program=warm / "interlock"
            ),
            lambda told: "not reached" not in told.error["message"],
        )
    assert (told.code, told.error["details"]["failure_class"]) == (124, "total_timeout")
    message = f"not done within {seconds} seconds: it was not accepted, as far as is known here"
    assert told.error["message"] == message


def test_a_node_that_is_not_there_is_named_with_the_reason(bare_shell: Shell) -> None:
    bare_shell.environment["INTERLOCK_EXECUTION__EGRESS_ALLOW"] = '["127.0.0.0/8"]'
    bare_shell.good("node", "init", "keys", "--name", "127.0.0.1")
    node = ("--placement", "https://127.0.0.1:1", "--identity", "keys/client")
    told = bare_shell.run("plane", "run", "--json", *node, "--timeout", "1", "--", "/bin/true")
    assert told.code == 124
    assert told.error["message"].endswith("; the node was not reached: Connection refused")


@contextlib.contextmanager
def deaf_node(keys: Path) -> Generator[tuple[str, threading.Event]]:
    """A node that reads a request to carry something out, says that it has come, and never answers it."""
    heard, over = threading.Event(), threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            heard.set()
            over.wait()

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Not told on stderr."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys / "cert.pem", keys / "key.pem")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_port}", heard
        finally:
            over.set()
            server.shutdown()
            thread.join()


def test_what_may_have_begun_on_a_node_is_not_called_late(bare_shell: Shell, warm: Path) -> None:
    """Whoever read that it only took too long would repeat it."""
    bare_shell.environment["INTERLOCK_EXECUTION__EGRESS_ALLOW"] = '["127.0.0.0/8"]'
    bare_shell.good("node", "init", "keys", "--name", "127.0.0.1")
    with deaf_node(bare_shell.folder / "keys" / "node") as (url, heard):
        node = ("--placement", url, "--identity", "keys/client")
        _, told = in_time_for(
            lambda seconds: bare_shell.spawn(
                "plane", "run", "--json", *node, "--timeout", seconds, "--", "/bin/true", program=warm / "interlock"
            ),
            lambda _: heard.is_set(),
        )
    assert told.error["details"]["failure_class"] == "peer_lost"
    assert "what it has done is unknown from here" in told.error["message"]


@contextlib.contextmanager
def echo(answers: int) -> Generator[str]:
    """Says each message back; closes after so many."""

    def talk(connection: websockets.sync.server.ServerConnection) -> None:
        with contextlib.suppress(websockets.exceptions.ConnectionClosed):
            for _ in range(answers):
                connection.send(connection.recv())

    with websockets.sync.server.serve(talk, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def loopback(bare_shell: Shell) -> Shell:
    bare_shell.environment["INTERLOCK_EXECUTION__EGRESS_ALLOW"] = '["127.0.0.0/8"]'
    return bare_shell


def test_answers_are_waited_for_at_the_end_of_the_input(loopback: Shell) -> None:
    with echo(100) as url:
        told = loopback.run("plane", "ws", url, "--wait", "1", stdin="one\ntwo")
    assert (told.code, told.out, told.err) == (0, "one\ntwo\n", "")


def test_no_more_answers_are_waited_for_than_expected(loopback: Shell) -> None:
    with echo(100) as url, loopback.start("plane", "ws", url, "--expect", "1") as process:
        assert process.stdin is not None
        process.stdin.write("one\n")
        process.stdin.flush()  # and stays open
        assert ended(process) == 0


@pytest.fixture(params=["http", "ws"])
def asking(request: pytest.FixtureRequest, loopback: Shell) -> Generator[list[str]]:
    """A command that has an answer."""
    if request.param == "http":
        yield ["http", "GET", f"{loopback.service.url}/user"]
        return
    with echo(1) as url:
        yield ["ws", url, "--expect", "1"]


def test_an_answer_that_finds_no_room_is_an_error(loopback: Shell, asking: list[str]) -> None:
    """What was sent was sent, as the receipt says."""
    told = loopback.run("plane", *asking, "--output", "/dev/full", "--receipt", "receipt.json", stdin="one\n")
    assert told.code == 125
    assert told.err.startswith("error: the answer could not be written: No space left on device\n")
    receipt = plane.Receipt.model_validate_json((loopback.folder / "receipt.json").read_text())
    assert (plane.verify_evidence(receipt), bool(receipt.bytes_sent)) == (None, True)


def test_a_receipt_that_finds_no_room_is_an_error(loopback: Shell, asking: list[str]) -> None:
    """The answer is there all the same."""
    told = loopback.run("plane", *asking, "--output", "answer", "--receipt", "/dev/full", stdin="one\n")
    assert told.code == 125
    assert told.err.startswith("error: cannot write the receipt /dev/full: No space left on device\n")
    assert (loopback.folder / "answer").read_bytes() != b""


def test_fewer_answers_than_expected_are_an_error(loopback: Shell) -> None:
    with echo(1) as url:
        told = loopback.run("plane", "ws", url, "--expect", "2", stdin="one\n")
    assert told.code == 1
    assert "the peer closed after 1 of 2 messages" in told.err


def test_a_line_that_does_not_end_is_no_message(loopback: Shell) -> None:
    with echo(1) as url:
        told = loopback.run("plane", "ws", url, stdin="x" * 20_000_000)
    assert (told.code, "a line of stdin has more than" in told.err) == (2, True)
