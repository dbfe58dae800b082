"""Time, ids and chance come from the kernel; only adapters open sockets, start processes and block; the start is quick."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import sources

CHANCE = re.compile(
    r"(datetime\.datetime\.(now|utcnow|today)|datetime\.date\.today|time\.(?!sleep|struct_time)\w+|uuid|random|secrets|os\.urandom"
    r"|asyncio\.sleep|sqlalchemy\.func\.(now|current_timestamp|random))(\.|$)"
)
EFFECTS = re.compile(
    r"(time\.sleep|_?socket|socketserver|subprocess|_posixsubprocess|multiprocessing|_multiprocessing|pty|ctypes|_ctypes|webbrowser"
    r"|concurrent\.futures\.(process|ProcessPoolExecutor)|ssl\.(wrap_socket|get_server_certificate|SSLSocket)"
    r"|http\.(client|server)|urllib\.request|urllib3|requests|aiohttp|httpx2?|httpcore2?|websockets|ftplib|smtplib|imaplib|poplib"
    r"|xmlrpc|wsgiref|uvicorn|hypercorn|asyncssh|paramiko|grpc|mcp|obstore|psycopg|\?"
    r"|os\.(system|popen|fork|forkpty|openpty|posix_spawnp?|posix_openpt|exec[lv]\w*|spawn[lv]\w*|startfile)"
    r"|asyncio\.(open_connection|open_unix_connection|start_server|start_unix_server|create_subprocess_\w+|subprocess)"
    r"|anyio\.(open_process|run_process|connect_\w+|create_(tcp|unix|udp|connected)\w*|to_process|as_connectable"
    r"|(TCP|UNIX)Connectable))(\.|$)"
)
DYNAMIC = re.compile(
    r"(importlib\.(import_module|__import__|util|machinery)|imp|runpy|builtins\.(__import__|eval|exec))(\.|$)"
)

MAY_USE_CHANCE: dict[str, str] = {
    "interlock.kernel": "the injected clock and id source live here",
    "interlock.adapters.keys": "keys and nonces need the system's own random bytes; tests inject theirs",
    "interlock.plane.authority": "the per-process key must be unforeseeable; tests inject theirs",
    "interlock.plane.signed_authority": "nonces must be unforeseeable; tests inject theirs",
    "interlock.plane.attestation": "challenges must be unforeseeable; tests inject theirs",
    "interlock.adapters.lanes.places.outpost": "runs on another host, alone, with that host's clock",
    "interlock.adapters.lanes.places.guest_agent": "runs on another host, alone, with that host's clock and dice",
    "interlock.adapters.lanes.places.guest": "nonces must be unforeseeable; tests inject theirs",
    "interlock.adapters.targets": "what marks a probe must be unforeseeable; tests inject theirs",
    "interlock.adapters.nodes": "no two readers or senders may have one name; tests inject theirs",
    "interlock.testing": "plays somebody else's service, which has a clock and dice of its own",
    "interlock.cli.demo": "makes the throwaway key of its own store",
}
MAY_HAVE_EFFECTS: dict[str, str] = {
    "interlock.adapters": "the outside world behind the rooms' ports",
    "interlock.testing": "plays somebody else's service, on loopback",
    "interlock.server": "listens; what it has carried out goes through the plane",
    "interlock.client": "asks a server of ours, which carries effects out through its plane",
    "interlock.conformance.memories": "tries providers in a child process, which may hang and die with them",
    "interlock.cli.opening": "opens the person's own browser, which is theirs and no effect of ours",
    "interlock.cli.demo": "kills a process of its own, and runs the service that it plays with",
}
MAY_LOAD_BY_NAME: dict[str, str] = {
    "interlock.adapters": "asks whether a database driver is installed; may do it all anyway",
    "interlock.memory.registry": "asks whether the package is installed that a provider of ours needs; loads none",
    "interlock.testing.memory": "loads the provider that a person names, and others' stores to try theirs on",
    "interlock.sdk.functions": "loads the functions that a connector names, which the import contracts hold to sdk and kernel",
}

HEAVY = {
    "alembic", "anyio", "asyncio", "asyncssh", "cryptography", "fastapi", "h11", "httpx2", "jsonschema_rs", "mcp", "obstore",
    "opentelemetry", "psycopg", "pydantic", "pydantic_monty", "rich", "sqlalchemy", "starlette", "typer",
    "uvicorn", "websockets", "yaml",
}  # fmt: skip
HELP = """
import sys
sys.argv = ["interlock", "--help"]
import interlock.cli
try:
    interlock.cli.main()
except SystemExit:
    pass
"""


def within(module: sources.Module, package: str) -> bool:
    return f"{module.name}.".startswith(f"{package}.")


def found(module: sources.Module, pattern: re.Pattern[str]) -> list[str]:
    return [f"{module.name}:{line}: {name}" for name, line in sources.uses(module) if pattern.match(name)]


RULES = pytest.mark.parametrize(
    ("pattern", "exceptions"),
    [
        pytest.param(CHANCE, MAY_USE_CHANCE, id="chance"),
        pytest.param(EFFECTS, MAY_HAVE_EFFECTS, id="effects"),
        pytest.param(DYNAMIC, MAY_LOAD_BY_NAME, id="dynamic"),
    ],
)


@RULES
def test_chance_is_injected_and_effects_are_left_to_adapters(pattern: re.Pattern[str], exceptions: dict[str, str]):
    modules = [module for module in sources.MODULES if not any(within(module, name) for name in exceptions)]
    assert not [use for module in modules for use in found(module, pattern)]


@RULES
def test_exceptions_are_still_needed(pattern: re.Pattern[str], exceptions: dict[str, str]):
    used = {
        name for name in exceptions for module in sources.MODULES if within(module, name) and found(module, pattern)
    }
    assert not set(exceptions) - used


@pytest.mark.parametrize(
    ("pattern", "source"),
    [
        (CHANCE, "from datetime import datetime as moment\nmoment.now()"),
        (CHANCE, "import datetime\ndatetime.datetime.now(datetime.UTC)"),
        (CHANCE, "def f():\n    from time import monotonic"),
        (CHANCE, "import time as t\nt.time_ns()"),
        (CHANCE, "import uuid"),
        (CHANCE, "from random import uniform"),
        (CHANCE, "import os\nos.urandom(8)"),
        (EFFECTS, "import socket"),
        (EFFECTS, "from subprocess import run"),
        (EFFECTS, "import asyncio\nasyncio.create_subprocess_exec('x')"),
        (EFFECTS, "import anyio\nanyio.connect_tcp('x', 1)"),
        (EFFECTS, "import urllib.request"),
        (EFFECTS, "import os\nos.posix_spawn"),
        (EFFECTS, "import os as o\no.execvpe('x', [], {})"),
        (EFFECTS, "from os import fork"),
        (EFFECTS, "import pty"),
        (EFFECTS, "import ssl\nssl.get_server_certificate(('x', 1))"),
        (EFFECTS, "import multiprocessing.pool"),
        (EFFECTS, "from concurrent.futures import ProcessPoolExecutor"),
        (EFFECTS, "import asyncio\nasyncio.open_connection('x', 1)"),
        (EFFECTS, "import asyncio\nasyncio.get_running_loop().create_connection(f, 'x', 1)"),
        (EFFECTS, "import anyio as a\na.open_process(['x'])"),
        (EFFECTS, "def f():\n    from anyio import run_process"),
        (EFFECTS, "from anyio import to_process"),
        (EFFECTS, "import httpx2"),
        (EFFECTS, "import websockets.asyncio.client"),
        (EFFECTS, "import uvicorn"),
        (EFFECTS, "import ctypes"),
        (DYNAMIC, "from importlib import import_module"),
        (DYNAMIC, "__import__('socket')"),
        (DYNAMIC, "exec('import socket')"),
    ],
)
def test_the_patterns_catch(tmp_path: Path, pattern: re.Pattern[str], source: str):
    path = tmp_path / "sample.py"
    path.write_text(source)
    assert found(sources.Module("interlock.runs.sample", path), pattern)


def test_the_patterns_let_plain_code_pass(tmp_path: Path):
    path = tmp_path / "sample.py"
    path.write_text("import os\nfrom datetime import datetime\nclock.now()\nos.getpid()\ndatetime.fromisoformat('x')")
    module = sources.Module("interlock.runs.sample", path)
    assert not [*found(module, CHANCE), *found(module, EFFECTS), *found(module, DYNAMIC)]


def loaded(program: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after the program."""
    command = [sys.executable, "-c", f"{program}\nimport sys; print(*sys.modules, file=sys.stderr)"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return {name.partition(".")[0] for name in answer.stderr.split()}


def test_importing_interlock_loads_nothing_heavy():
    assert not loaded("import interlock") & HEAVY


def test_help_loads_no_engine():
    assert not loaded(HELP) & (HEAVY - {"typer", "rich"})
