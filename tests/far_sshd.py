"""An SSH server as a program, which executes what it is asked to by a shell, as any other does. It writes down who came and
what was asked for. Arguments: a folder with `host_key` and `authorized`."""

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from subprocess import PIPE
from typing import Any

import anyio
import asyncssh

FOLDER = Path(sys.argv[1])
SHELLS = {
    "me": ("/bin/sh", "-c"),
    "bare": ("/usr/bin/env", "PATH=/nowhere", "/bin/sh", "-c"),
    "chatty": ("/bin/sh", "-c", "echo Welcome to this host; cat >/dev/null"),
    "nobody": ("/bin/sh", "-c", "echo no shells here >&2; exit 1"),
}


def note(name: str, text: str) -> None:
    with (FOLDER / name).open("a") as file:
        file.write(f"{text}\n")


class Doorman(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        note("attempts", username)
        return True


async def serve(process: Any) -> None:
    note("asked", process.command)
    shell = SHELLS[process.get_extra_info("username")]
    environment = {"PATH": os.environ["PATH"]}
    child = await asyncio.create_subprocess_exec(
        *shell, process.command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment
    )
    assert child.stdin is not None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(carry_input, process.stdin, child.stdin)
        async with anyio.create_task_group() as outputs:
            outputs.start_soon(carry, child.stdout, process.stdout)
            outputs.start_soon(carry, child.stderr, process.stderr)
        process.exit(await child.wait())
        tasks.cancel_scope.cancel()


async def carry_input(reader: Any, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncssh.Error):
        await carry(reader, writer)
    writer.close()


async def carry(reader: Any, writer: Any) -> None:
    while data := await reader.read(65_536):
        with contextlib.suppress(OSError, asyncssh.Error):
            writer.write(data)
            await writer.drain()


async def main() -> None:
    listener = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=Doorman,
        server_host_keys=[str(FOLDER / "host_key")],
        authorized_client_keys=str(FOLDER / "authorized"),
        process_factory=serve,
        encoding=None,
    )
    sys.stdout.write(f"{listener.get_port()}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


asyncio.run(main())
