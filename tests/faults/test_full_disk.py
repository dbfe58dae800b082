"""A disk without room: a store is made whole or not at all, and one that is there can be read. Of what the plane does there
is evidence, or it is not done."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fix_cli import COMMAND

IN_A_NAMESPACE = ("unshare", "--map-root-user", "--mount")

PLANE = """
mount -t tmpfs -o size=$1k tmpfs disk
"$2" plane run --evidence disk/kept -- /bin/sh -c "$3"; echo evidence $?
cat /dev/zero > disk/rest 2>/dev/null
"$2" plane run --evidence disk/kept -- /usr/bin/touch again; echo again $?
"$2" plane run --receipt disk/receipt.json -- /usr/bin/touch proven; echo receipt $?
wc -l disk/kept/evidence.jsonl
"""


def may_mount() -> bool:
    return (
        shutil.which("unshare") is not None
        and subprocess.run([*IN_A_NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    )


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What `full_disk.py` tells."""
    if not may_mount():
        pytest.skip("this host gives no namespaces for mounts")
    folder = tmp_path_factory.mktemp("disk")
    script = Path(__file__).with_name("full_disk.py")
    told = subprocess.run([*IN_A_NAMESPACE, sys.executable, script, folder], capture_output=True, check=False)
    assert told.returncode == 0, told.stderr.decode()
    return json.loads(told.stdout)


def test_a_store_that_finds_no_room_is_not_there(disks: Any):
    for share, (first, left, second) in disks["small"].items():
        assert re.match("store_full: the store .*/store.db has no room left", first), (share, first)
        assert left == [], (share, left)
        assert second == "written", (share, second)
    first, _, second = disks["enough"]
    assert first in ("written", "read: store_full"), first
    assert second == "written", second


def test_a_store_on_a_full_disk_is_read(disks: Any):
    assert disks["filled"] == {free: ["read: store_full", "read: store_full", "written"] for free in ("0", "8192")}


@pytest.mark.parametrize(("kib", "codes"), [(512, (2, 2)), (4096, (0, 2))], ids=["no room", "room ahead"])
def test_what_cannot_be_proven_is_refused_or_told(tmp_path: Path, kib: int, codes: tuple[int, int]) -> None:
    if not may_mount():
        pytest.skip("this host gives no namespaces for mounts")
    (tmp_path / "disk").mkdir()
    fill = "touch once; cat /dev/zero > disk/rest 2>/dev/null; true"  # the disk is full before its evidence is written
    told = subprocess.run(
        [*IN_A_NAMESPACE, "/bin/sh", "-c", PLANE, "sh", str(kib), str(COMMAND), fill],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = told.stdout.splitlines()
    assert lines[:3] == [f"evidence {codes[0]}", f"again {codes[1]}", "receipt 125"], told.stderr
    kept = int(lines[3].split()[0])
    assert kept == (tmp_path / "once").exists(), "what was done is kept"
    assert not (tmp_path / "again").exists()
    assert (tmp_path / "proven").exists()
    assert "cannot write the receipt disk/receipt.json: No space left on device" in told.stderr


FILLS = """
import asyncio, os, sys
from interlock import app, plane

async def execute(local, line):
    name = plane.LOCAL_PROCESS
    intent = plane.ProcessIntent(**local.identity(seconds=60), argv=("/bin/sh", "-c", line), cwd=os.getcwd())
    authority = local.authorizer.issue(intent.digest, audience=local.node.node_id, target_class=name)
    return await local.node.execute(intent, authority=authority, target_class=name)

async def main():
    async with app.open_local_plane(sandboxes=[plane.LOCAL_PROCESS]) as local:
        for line in sys.argv[1:]:
            told = await execute(local, line)
            print(told.failure and told.failure.code, told.body, told.facts["signal"])

asyncio.run(main())
"""


def test_a_command_that_fills_the_disk_is_ended_and_told(tmp_path: Path) -> None:
    """By what it says, which waits in a temporary file, or by what it writes; and the next one is carried out."""
    if not may_mount():
        pytest.skip("this host gives no namespaces for mounts")
    (tmp_path / "disk").mkdir()
    lines = ("exec yes", "cat /dev/zero > disk/rest 2>/dev/null; exec yes", "echo there")
    script = 'mount -t tmpfs -o size=2048k tmpfs disk; TMPDIR=$PWD/disk "$@"; ls -A disk'
    told = subprocess.run(
        [*IN_A_NAMESPACE, "/bin/sh", "-c", script, "sh", sys.executable, "-c", FILLS, *lines],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    lost = "output_not_kept b'' SIGTERM"
    assert told.stdout.splitlines() == [lost, lost, "None b'there\\n' None", "rest"], told.stderr
