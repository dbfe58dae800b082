"""The provider that `docs/memory.md` shows keeps the contract, and the kit is the plugin that the page says it is."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from interlock import memory
from interlock.testing.memory import CASES, Case, trying

PAGE = Path(__file__).parents[2] / "docs" / "memory.md"
QUICK = (
    "core-a-key",
    "core-pages",
    "core-forgotten",
    "core-compare",
    "core-apart-narrower",
    "temporal-",
    "lifecycle-a-plan",
)


def shown() -> str:
    """The block that has the provider, as a module."""
    (block,) = [each.split("```")[0] for each in PAGE.read_text().split("```python\n") if "class Filed(" in each]
    return f"from interlock import memory\n\n{block}"


@pytest.fixture(scope="module")
def provider() -> type[memory.Provider]:
    module = ModuleType("mymodule")
    exec(shown(), vars(module))
    return module.Filed


def test_it_is_short():
    assert len(shown().splitlines()) < 100


@pytest.mark.anyio
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(each, id=str(each), marks=() if str(each).startswith(QUICK) else pytest.mark.faults)
        for each in CASES
    ],
)
async def test_it_keeps_the_contract(case: Case, provider: type[memory.Provider], tmp_path: Path):
    config = {"path": str(tmp_path / "records")}
    registry = memory.Registry.of(provider)
    async with trying(lambda _: memory.ProviderRef(name="filed", config=config), tmp_path, registry=registry) as trial:
        if (missing := case.missing(trial.mem.capabilities())) is not None:
            pytest.skip(f"not offered: {missing}")
        await case.act(trial)


def tried(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    plugins = ("-p", "anyio", "-p", "interlock.testing.memory", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", "-q", *plugins, *more]
    alone = {"PYTHONPATH": ".", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # others' plugins take longer to load than ours
    return subprocess.run(command, cwd=folder, env=alone, capture_output=True, text=True, check=False)


@pytest.mark.faults
def test_the_kit_is_a_plugin(tmp_path: Path):
    (tmp_path / "mymodule.py").write_text(
        f"{shown()}\n\nfrom interlock.adapters.memory import InProcess\n\n"
        "def opened(folder):\n    return memory.ProviderRef(name='memory')\n\n"
        "class Forgetful(InProcess):\n    name = 'forgetful'\n"
        "    async def get(self, scope, record_id):\n        raise memory.RecordNotFound('no')\n"
    )
    few = ("-k", "what-is-remembered-is-got or what-was-kept-is-there or a-key-makes")
    config = ("--memory-config", '{"path": "{folder}/records"}')
    filed = tried(tmp_path, "--memory-provider", "mymodule:Filed", *config, *few)
    assert "3 passed" in filed.stdout, filed.stdout + filed.stderr
    assert "2 passed, 1 skipped" in tried(tmp_path, "--memory-provider", "mymodule:opened", *few).stdout
    broken = tried(tmp_path, "--memory-provider", "mymodule:Forgetful", *few)
    assert (broken.returncode, "1 failed" in broken.stdout) == (1, True), broken.stdout
    unknown = tried(tmp_path, "--memory-provider", "mymodule:none", *few)
    assert "--memory-provider mymodule:none: module 'mymodule' has no attribute" in unknown.stdout + unknown.stderr
    (tmp_path / "test_own.py").write_text("def test_own():\n    pass\n")
    beside = tried(tmp_path, "test_own.py", "--memory-provider", "memory", "-k", "test_own or a-key-makes")
    assert "2 passed" in beside.stdout, beside.stdout
    assert "1 passed" in tried(tmp_path).stdout
