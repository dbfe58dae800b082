"""What is installed is found at once, though it is looked through once."""

from pathlib import Path

import pytest

from interlock.kernel import entry_points, package_of

GROUP = "interlock.things-of-this-test"


def install(folder: Path, name: str, version: str) -> None:
    place = folder / f"{name}-{version}.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (place / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {name}:it\n")


def test_entry_points_of_new_packages_and_who_brought_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert entry_points(group=GROUP) == entry_points(group=GROUP) == ()
    install(tmp_path, "one", "1.2")
    monkeypatch.syspath_prepend(tmp_path)
    [first] = entry_points(group=GROUP)
    assert (first.value, package_of(first)) == ("one:it", ("one", "1.2"))
    install(tmp_path, "two", "3.4")
    found = entry_points(group=GROUP)
    assert sorted(package_of(each) or () for each in found) == [("one", "1.2"), ("two", "3.4")]
    assert all(each.group == GROUP for each in found)
    assert {each.group for each in entry_points(group="interlock.connectors")} == {"interlock.connectors"}
