"""Every blob store keeps content under its key, and says clearly when it cannot."""

import os
from pathlib import Path

import pytest

from interlock.adapters import blobs
from interlock.kernel import StoreError

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "folder", "file_url"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return {"memory": ":memory:", "folder": str(tmp_path / "blobs"), "file_url": f"file://{tmp_path}/blobs"}[
        request.param
    ]


async def test_what_is_put_can_be_got(place: str) -> None:
    store = blobs.ObjectBlobs(place)
    await store.put("sha256/ab/abcd", b"\x00content")
    await store.put("sha256/ab/abcd", b"\x00content")
    assert await store.get("sha256/ab/abcd") == b"\x00content"


async def test_what_is_missing_is_one_clear_line(place: str) -> None:
    with pytest.raises(blobs.BlobMissing, match="sha256/no/nothing is not in ") as caught:
        await blobs.ObjectBlobs(place).get("sha256/no/nothing")
    assert "\n" not in caught.value.message


async def test_a_folder_is_made_when_it_is_first_used(tmp_path: Path) -> None:
    store = blobs.ObjectBlobs(str(tmp_path / "blobs"))
    assert not (tmp_path / "blobs").exists()
    await store.put("a", b"1")
    assert (tmp_path / "blobs").is_dir()


def _modes(folder: Path) -> dict[str, str]:
    return {str(each.relative_to(folder)): oct(each.stat().st_mode & 0o777) for each in folder.rglob("*")}


async def test_nobody_else_may_read_what_is_kept_in_a_folder(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        await blobs.ObjectBlobs(str(tmp_path / "data" / "content")).put("tenant-a%2Fb/ab/abcd", b"1")
    finally:
        os.umask(umask)
    assert _modes(tmp_path) == {
        "data": "0o700",
        "data/content": "0o700",
        "data/content/tenant-a%2Fb": "0o700",
        "data/content/tenant-a%2Fb/ab": "0o700",
        "data/content/tenant-a%2Fb/ab/abcd": "0o600",
    }


@pytest.mark.parametrize("key", ["../a", "/a", "a//b", "a/.."])
async def test_a_key_leads_nowhere_else(place: str, key: str) -> None:
    with pytest.raises(StoreError):
        await blobs.ObjectBlobs(place).get(key)


async def test_a_place_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(blobs.BlobUnavailable, match="cannot write"):
        await blobs.ObjectBlobs(str(tmp_path / "file")).put("a", b"1")
    with pytest.raises(blobs.BlobUnavailable, match="nonsense://"):
        await blobs.ObjectBlobs("nonsense://x").put("a", b"1")
