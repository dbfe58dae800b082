"""Files are written whole or not at all."""

import os
import resource
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.cli import files, inputs
from interlock.cli.errors import FileRefused


@pytest.fixture(name="short_of_room")
def _short_of_room() -> Iterator[None]:
    """No file may grow beyond a hundred bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("short_of_room")
@pytest.mark.parametrize("there", [None, b"mine"])
def test_what_cannot_be_written_whole_leaves_what_was_there(tmp_path: Path, there: bytes | None):
    path = tmp_path / "out"
    if there is not None:
        path.write_bytes(there)
    with pytest.raises(FileRefused, match="File too large"):
        files.write(str(path), b"x" * 101, "packet", force=there is not None)
    assert os.listdir(tmp_path) == ([] if there is None else ["out"])
    assert there is None or path.read_bytes() == there


def test_a_file_that_is_there_stays(tmp_path: Path):
    path = tmp_path / "out"
    files.write(str(path), b"first", "packet")
    with pytest.raises(FileRefused, match="is there already"):
        files.write(str(path), b"second", "packet")
    assert path.read_bytes() == b"first"
    files.write(str(path), b"third", "packet", force=True)
    assert path.read_bytes() == b"third"


def test_a_name_that_cannot_be_is_refused(tmp_path: Path):
    for name in ("x" * 300, "", str(tmp_path)):
        with pytest.raises(FileRefused):
            files.write(name, b"x", "packet")


def test_a_full_disk_is_told_as_that():
    with pytest.raises(FileRefused, match="No space left") as caught:
        files.write("/dev/full", b"x", "packet")
    assert caught.value.next_step == "Make room where it goes, or choose another place."


def test_a_file_without_end_is_read_to_just_past_the_limit():
    tracemalloc.start()
    try:
        with pytest.raises(
            FileRefused, match="the input file /dev/zero is too large; the limit is 1048576 bytes"
        ) as large:
            inputs.read_object("/dev/zero")
        assert large.value.next_step.startswith("Give a smaller input file")
        assert tracemalloc.get_traced_memory()[1] < 8 * 1_048_576
    finally:
        tracemalloc.stop()
