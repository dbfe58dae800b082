"""The command `interlock` without its start: `python warm.py FOLDER` puts a program there that asks this process.

Everything is imported once; each command is then a fork: a process of its own with the caller's arguments, folder,
environment and streams, which costs a tenth of a start. For tests of what commands say and do. Those of how they start, and
how they take signals, run the real one.
"""

import atexit
import fcntl
import gc
import importlib
import marshal
import os
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from interlock import cli

CLIENT = """#!{python} -IS
import _signal, _socket, marshal, os, sys
there = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
there.connect({address!r})
asked = marshal.dumps((sys.argv[1:], os.getcwd(), dict(os.environ)))
streams = b"".join(each.to_bytes(4, sys.byteorder) for each in (0, 1, 2))
there.sendmsg([len(asked).to_bytes(8, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
there.sendall(asked)
fork = int.from_bytes(there.recv(4), sys.byteorder)
_signal.signal(_signal.SIGTERM, lambda number, frame: os.kill(fork, number))
code = there.recv(1)
os._exit(code[0] if code else 137)
"""


def main(folder: Path) -> None:
    """Serve until this process is killed."""
    warm_up()
    gc.freeze()  # forks share what is there, and none of them looks through it
    address, path = str(folder / "socket"), folder / "interlock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    path.write_text(CLIENT.format(python=sys.executable, address=address))
    path.chmod(0o755)
    print("warm", flush=True)
    while True:
        there, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            os._exit(carry_out(there))
        there.close()
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass


def warm_up() -> None:
    """Have everything imported that commands import as they go."""
    for module in ("psycopg", "interlock.adapters.lanes", "interlock.agents", "interlock.server", "uvicorn"):
        importlib.import_module(module)
    kept = dict(os.environ), sys.stdout
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        os.chdir(folder)
        os.environ["XDG_CONFIG_HOME"] = folder
        sys.stdout = nowhere
        for arguments in (["init"], ["doctor"], ["capabilities", "list"], ["runs", "list", "--json"]):
            assert cli.main(arguments) == 0
        os.chdir("/")
    sys.stdout = kept[1]
    os.environ.clear()
    os.environ.update(kept[0])


def carry_out(there: socket.socket) -> int:
    """One command, in the fork. Its exit code is also sent back."""
    size, streams, _, _ = socket.recv_fds(there, 8, 3)
    asked = b""
    while len(asked) < int.from_bytes(size, "big"):
        asked += there.recv(1 << 20)
    there.send(os.getpid().to_bytes(4, sys.byteorder))
    # Who asked is gone: so is the command.
    fcntl.fcntl(there, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(there, fcntl.F_SETFL, fcntl.fcntl(there, fcntl.F_GETFL) | os.O_ASYNC)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    arguments, folder, environment = marshal.loads(asked)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = map(open, range(3), "rww")
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = environment.get("PYTHONPATH", "").split(os.pathsep)
    atexit._clear()  # what this process has to do at its end is not the fork's
    code = cli.main(arguments)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(BrokenPipeError):
            stream.flush()
    there.send(bytes([code]))
    return code


if __name__ == "__main__":
    main(Path(sys.argv[1]))
