"""Every provider that is made of providers keeps the contract."""

import base64
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from interlock import memory
from interlock.kernel import Secret
from interlock.testing.memory import CASES, Reference, trying
from interlock.testing.memory.machine import against_dictionaries

KEY = Secret(base64.b64encode(bytes(range(32))).decode())
INNER = memory.ProviderRef(name="memory")


def in_file(folder: Path) -> memory.ProviderRef:
    return memory.ProviderRef(name="sqlite", config={"path": str(folder / "memory.db"), "dimensions": 64})


REFERENCES: dict[str, Reference] = {
    "cached": lambda _: memory.ProviderRef(name="cached", config={"inner": INNER}),
    "redacting": lambda _: memory.ProviderRef(name="redacting", config={"inner": INNER}),
    "tiered": lambda _: memory.ProviderRef(name="tiered", config={"short": INNER, "long": INNER}),
    "fanout": lambda _: memory.ProviderRef(name="fanout", config={"parts": [INNER, INNER]}),
    "fanout-merging": lambda _: memory.ProviderRef(
        name="fanout", config={"parts": [INNER, INNER, INNER], "quorum": 3, "read": "merge"}
    ),
    "encrypted": lambda _: memory.ProviderRef(name="encrypted", config={"inner": INNER, "key": KEY}),
}


@pytest.mark.anyio
@pytest.mark.faults  # for it takes long, as the providers below them do
@pytest.mark.parametrize("name", REFERENCES)
async def test_it_keeps_the_contract(name: str, tmp_path: Path):
    broken: list[str] = []
    held = 0
    for case in CASES:
        folder = tmp_path / str(case)
        folder.mkdir()
        async with trying(REFERENCES[name], folder) as trial:
            if case.missing(trial.mem.capabilities()) is not None:
                continue
            try:
                await case.act(trial)
                held += 1
            except Exception as error:  # noqa: BLE001 - whatever breaks it
                broken.append(f"{case}: {type(error).__name__}: {error}")
    assert not broken
    assert held > 90


@pytest.mark.anyio
async def test_what_is_encrypted_is_there_after_a_restart(tmp_path: Path):
    def reference(folder: Path) -> memory.ProviderRef:
        return memory.ProviderRef(name="encrypted", config={"inner": in_file(folder), "key": KEY})

    for case in CASES:
        if "durable" in case.needs:
            async with trying(reference, tmp_path) as trial:
                await case.act(trial)


@pytest.mark.hypothesis
@pytest.mark.faults
@pytest.mark.parametrize("name", ["cached", "fanout-merging"])
def test_it_answers_as_dictionaries_do(name: str):
    machine = against_dictionaries(REFERENCES[name])
    run_state_machine_as_test(
        machine, settings=settings(max_examples=settings().max_examples // 10, stateful_step_count=15)
    )
