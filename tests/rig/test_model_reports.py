"""What is published of every kind of provider is seen again."""

import pytest

import model_reports
from fix_llama import PYTHON
from fix_models import KEY, PATHS

pytestmark = [pytest.mark.rig, pytest.mark.anyio]


@pytest.mark.parametrize("kind", PATHS)
async def test_a_kind_does_as_published(kind: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("IT_KEY", KEY)  # and away again
    assert await model_reports.tried(kind) == model_reports.read()["seen"][kind]


@pytest.mark.skipif(not PYTHON.exists(), reason=f"no llama.cpp: {PYTHON} is not there (`make rig` builds it)")
async def test_a_real_model_does_as_published():
    assert await model_reports.tried_llama() == model_reports.read()["seen"][model_reports.LLAMA]
