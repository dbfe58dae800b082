"""A disk without room: a store is made whole or not at all, and one that is there can be read."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

IN_A_NAMESPACE = ("unshare", "--map-root-user", "--mount")


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
