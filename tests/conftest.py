"""What holds for every test: nobody's environment, nobody's home, a folder of its own."""

import gc
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from hypothesis.configuration import set_hypothesis_home_dir

HERE = Path(__file__).parent

# Fixtures live in plugins, one per area (tests/fix_<area>.py).
pytest_plugins = sorted(path.stem for path in HERE.glob("fix_*.py"))

# Two slow cores are no defect of the code under test, and a failure in CI must be the change's own.
hypothesis.settings.register_profile(
    "interlock",
    max_examples=50,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
hypothesis.settings.register_profile(
    "soak", hypothesis.settings.get_profile("interlock"), max_examples=2000, derandomize=False
)
hypothesis.settings.load_profile("interlock")
set_hypothesis_home_dir(HERE.parent / ".hypothesis")

HOMES = (
    "HOME",
    "USERPROFILE",
    "APPDATA",
    "LOCALAPPDATA",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "XDG_CACHE_HOME",
)
FOREIGN = (
    "PYTHONDONTWRITEBYTECODE",
    "FORCE_COLOR",
    "NO_COLOR",
    "CLICOLOR_FORCE",
    "GITHUB_ACTIONS",
    "COLUMNS",
    "LINES",
    "PYTHONPATH",
)


def _is_foreign(name: str) -> bool:
    return name.startswith("INTERLOCK_") or name in FOREIGN or name.lower().endswith("_proxy")


# Thousands of tests and all that they import stay until the end: the collector need not look through them.
gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of tests/faults kills or cuts; elsewhere single tests say so."""
    for item in items:
        if item.path.parent == HERE / "faults":
            item.add_marker("faults")


def pytest_collection_finish() -> None:
    """What comes from here on is garbage some day."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture
def anyio_backend() -> str:
    """Everything runs on asyncio."""
    return "asyncio"


def _go_on(_number: int, _frame: object) -> None:
    """Ignore a signal by a handler, which children do not inherit."""


@pytest.fixture(scope="session", autouse=True)
def nobody() -> Iterator[Path]:
    """Run as nobody in particular: the user's settings, keys and proxies are out of reach, also for child processes,
    and what a test leaves in the working directory is not left in the source tree. Who starts us in a script's background
    lets us ignore interrupts, and who starts us by `nohup` hang-ups, and our children with us: they hear them."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _go_on)  # who is started by us begins as usual
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="interlock-") as folder:
        for name in [name for name in os.environ if _is_foreign(name)]:
            patch.delenv(name)
        home = Path(folder) / "home"
        for name in HOMES:
            patch.setenv(name, str(home / name.lower() if name.startswith("XDG") else home))
        home.mkdir()
        patch.chdir(folder)
        yield home
