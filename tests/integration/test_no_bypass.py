"""No way past the plane: all that a process opens and starts, it opens and starts in adapters. The interpreter itself tells
(`tests/house/test_purity.py` reads the source). A native library tells nothing: import contracts hold those to adapters."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, runpy, sys
KINDS = {
    "socket.connect": "socket", "socket.bind": "socket", "socket.sendto": "socket", "socket.sendmsg": "socket",
    "subprocess.Popen": "process", "os.posix_spawn": "process", "os.fork": "process", "os.forkpty": "process",
    "os.exec": "process", "os.system": "process", "os.spawn": "process", "pty.spawn": "process",
}
seen = set()

def hear(event, _arguments):
    if event in KINDS:
        frame, name = sys._getframe(1), ""
        while frame is not None and not name.startswith("interlock."):
            frame, name = frame.f_back, frame.f_globals.get("__name__") or ""
        seen.add((KINDS[event], name if name.startswith("interlock.") else "?"))

sys.addaudithook(hear)
runpy.run_path(sys.argv[1], run_name="story")
print(json.dumps(sorted(seen)))
"""

EVERY_LANE = """
import anyio
from interlock import conformance

async def main():
    for name in conformance.LANES.names(entries=[]):
        report = await conformance.check_lane(name, conformance.LANES.find(name), only=["failures"])
        assert report.passed, report
    opened = conformance.TARGETS.find("local-landlock")
    await conformance.check_target("local-landlock", opened, only=["attestation"])

anyio.run(main)
"""

BYPASS = """
import types
room = types.ModuleType("interlock.runs.sneaky")
exec('''
import asyncio, os, subprocess, socket
def connect():
    with socket.socket() as probe: probe.connect_ex(("127.0.0.1", 9))
async def asynchronously():
    try: await asyncio.open_connection("127.0.0.1", 9)
    except OSError: pass
def start(): subprocess.run(["true"])
def fork():
    if not (child := os.fork()): os._exit(0)
    os.waitpid(child, 0)
''', room.__dict__)
"""


def told(tmp_path: Path, story: str) -> set[tuple[str, str]]:
    """Which modules of ours opened or started what in that story."""
    path = tmp_path / "story.py"
    path.write_text(story)
    command = [sys.executable, "-c", PROGRAM, str(path)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode == 0, answer.stderr
    return {(kind, name) for kind, name in json.loads(answer.stdout)}


def test_every_lane_opens_and_starts_in_adapters(tmp_path: Path):
    seen = told(tmp_path, EVERY_LANE)
    allowed = ("interlock.adapters.", "interlock.testing.")
    assert not {each for each in seen if not each[1].startswith(allowed)}
    assert {("socket", "interlock.adapters.lanes.wire"), ("socket", "interlock.testing.peer")} <= seen
    assert ("process", "interlock.adapters.lanes.process.keepers") in seen


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ("room.connect()", "socket"),
        ("import asyncio; asyncio.run(room.asynchronously())", "socket"),
        ("room.start()", "process"),
        ("room.fork()", "process"),
    ],
)
def test_a_room_that_does_it_itself_is_seen(tmp_path: Path, call: str, kind: str):
    assert (kind, "interlock.runs.sneaky") in told(tmp_path, BYPASS + call)
