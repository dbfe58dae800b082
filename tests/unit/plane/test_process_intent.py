"""Process intents: what is a command, and what of it is recorded."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_process import process
from interlock import plane

SECRET: dict[str, Any] = {"handle": "lse_1", "field": "token", "host": "api.acme.dev:443"}
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
NAME = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,20}\Z")


@given(
    arguments=st.lists(TEXT, max_size=6),
    env=st.dictionaries(NAME, TEXT, max_size=4),
    stdin=st.binary(max_size=40),
)
def test_the_record_comes_back(arguments: list[str], env: dict[str, str], stdin: bytes):
    intent = process("cmd", *arguments, env=tuple(env.items()), stdin=stdin)
    again = plane.ProcessIntent.model_validate_json(intent.canonical)
    assert again.canonical == intent.canonical
    assert again.digest == intent.digest
    assert again.has_body is (stdin == b"")
    assert intent.has_body


@pytest.mark.parametrize(
    "fields",
    [
        {"argv": ()},
        {"argv": ("",)},
        {"argv": ("a\0b",)},
        {"argv": ("x",) * 5000},
        {"argv": ("x" * 140_000,)},
        {"argv": ("x" * 130_000,) * 9},
        {"cwd": "relative"},
        {"env": (("A=B", "1"),)},
        {"env": (("", "1"),)},
        {"env": (("A", "1\0"),)},
        {"env": (("A", "1"), ("A", "2"))},
        {"env": (("A", "1"),), "secrets": (plane.ProcessSecret(**SECRET, env="A"),)},
        {"secrets": (plane.ProcessSecret(**SECRET, fd=3), plane.ProcessSecret(**SECRET, fd=3))},
        {"env": (("A", "1"),), "sandbox": plane.SandboxProfile(env=("B",))},
        {"terminal": plane.TerminalSize(), "stdin": b"x"},
        {"max_ms": 0},
        {"shell": True},
    ],
)
def test_what_is_no_command_is_refused(fields: dict[str, Any]):
    with pytest.raises(ValueError):
        process(**{"argv": ("true",)} | fields)


@pytest.mark.parametrize("place", [{}, {"env": "A", "fd": 3}, {"fd": 2}, {"fd": 64}, {"env": "A B"}])
def test_a_secret_has_one_place(place: dict[str, Any]):
    with pytest.raises(ValueError):
        plane.ProcessSecret(**SECRET, **place)


def test_the_sandbox_narrows_time_and_limits():
    limits = plane.ResourceLimits(files=100, processes=5)
    profile = plane.SandboxProfile(total_ms=10, limits=plane.ResourceLimits(files=50, memory_bytes=2**21))
    intent = process("true", limits=limits, sandbox=profile)
    assert intent.total_ms == 10
    assert intent.effective_limits == plane.ResourceLimits(files=50, processes=5, memory_bytes=2**21)
    assert process("true", limits=limits).total_ms == 60_000
    assert process("true", limits=limits).effective_limits == limits
