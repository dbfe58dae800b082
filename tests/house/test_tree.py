"""The tree that is given away: no machine's paths, no registry's addresses, pins by hash, a whole wheel."""

import re
import subprocess
import zipfile
from pathlib import Path

import pytest

import sources

# Written so that these lines do not match themselves.
REGISTRIES = re.compile(
    r"pypi\.(org|python)|python(hosted)\.org|registry\.(npmjs|yarnpkg)\b|npmmirror\.|(deb|archive)\.(debian|ubuntu)\.|crates\.(io)\b"
    r"|--(extra-)?index[-]url|--find[-]links|--default[-]index|index[_]url\s*="
)
MACHINES = re.compile(
    r"(?<![\w.~/])/(?:wor[k]|roo[t]|hom[e]/\w|User[s]/\w|mn[t]/\w|op[t]/\w)[\w.-]*/|[A-Z]:\\(?:User[s])"
)


def tracked() -> list[Path]:
    """Every file that is or would be committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    answer = subprocess.run(command, cwd=sources.ROOT, capture_output=True, text=True, check=True)
    return [path for name in answer.stdout.split("\0") if name and (path := sources.ROOT / name).is_file()]


@pytest.mark.parametrize("pattern", [REGISTRIES, MACHINES], ids=["registries", "machines"])
def test_nothing_points_at_a_registry_or_a_machine(pattern: re.Pattern[str]):
    hits: list[str] = []
    for path in tracked():
        content = path.read_bytes()
        if b"\0" in content:
            continue
        for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
            if match := pattern.search(line):
                hits.append(f"{path.relative_to(sources.ROOT)}:{number}: {match[0]}")
    assert not hits


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (REGISTRIES, "https://pypi" + ".org/simple"),
        (REGISTRIES, "https://files.python" + "hosted.org/x"),
        (REGISTRIES, "--extra-index" + "-url x"),
        (MACHINES, "open('/ho" + "me/ada/x')"),
        (MACHINES, "cd /wo" + "rk/main/src"),
        (MACHINES, "C:" + "\\Us" + "ers\\ada"),
    ],
)
def test_the_patterns_match(pattern: re.Pattern[str], text: str):
    assert pattern.search(text)


@pytest.mark.parametrize("name", ["bootstrap", "run", "dev", "bench"])
def test_requirements_are_pinned_by_hash_and_name_no_address(name: str):
    lines = (sources.ROOT / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    assert not [pin for pin in pins if "://" in pin or "==" not in pin or "--hash=sha256:" not in pin]


def test_what_runs_is_what_is_tested():
    """Every pin of the running system is the same in the developers' environment."""
    pins = {
        name: set(re.findall(r"(?m)^[\w.-]+==\S+", (sources.ROOT / "requirements" / f"{name}.txt").read_text()))
        for name in ("run", "dev")
    }
    assert pins["run"] <= pins["dev"]


def test_the_wheel_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It holds every file of the package, the licences and the entry points, and no tests."""
    from hatchling.build import build_wheel

    monkeypatch.chdir(sources.ROOT)
    with zipfile.ZipFile(tmp_path / build_wheel(str(tmp_path))) as wheel:
        held = set(wheel.namelist())
    package = [path for path in tracked() if path.is_relative_to(sources.SRC)]
    assert not {path.relative_to(sources.SRC).as_posix() for path in package} - held
    assert {name.partition("/")[0].partition("-")[0] for name in held} == {"interlock"}
    assert {Path(name).name for name in held} >= {"py.typed", "LICENSE", "github.LICENSE", "entry_points.txt"}
