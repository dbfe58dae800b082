"""Sandbox profiles: what they demand, and that nothing of it is ignored."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import plane, policy

LIMITS: dict[str, int] = {
    "cpu_seconds": 5,
    "memory_bytes": 2**24,
    "total_memory_bytes": 2**24,
    "processes": 5,
    "files": 20,
    "file_bytes": 10,
}


def test_every_part_of_a_profile_demands_something():
    least = plane.SandboxProfile().restraints
    assert least == {plane.Restraint.READ, plane.Restraint.WRITE, plane.Restraint.NETWORK_NONE}
    assert plane.SandboxProfile(env=()).restraints - least == {plane.Restraint.ENVIRONMENT}
    assert plane.SandboxProfile(total_ms=5).restraints - least == {plane.Restraint.TIME}
    seen: set[plane.Restraint] = set()
    for name, value in LIMITS.items():
        limits = plane.ResourceLimits(**{name: value})
        assert len(limits.restraints) == 1
        assert plane.SandboxProfile(limits=limits).restraints == least | limits.restraints
        seen |= limits.restraints
    assert len(seen) == len(plane.ResourceLimits.model_fields) == len(LIMITS)


@pytest.mark.parametrize(
    "fields",
    [
        {"hosts": ("a.dev:443",)},
        {"network": plane.Network.HOSTS},
        {"network": plane.Network.LOOPBACK, "hosts": ("a.dev:443",)},
        {"read": ("relative",)},
        {"read": ("/a/../b",)},
        {"write": ("/a\0",)},
        {"write": ("/",)},
        {"write": ("//.",)},
        {"write": ("/proc",)},
        {"write": ("//proc/sys",)},
        {"write": ("/a",), "read": ("/a/b",)},
        {"write": ("/a/",), "read": ("//a/./b",)},
        {"unknown": 1},
    ],
)
def test_a_profile_that_contradicts_itself_is_refused(fields: dict[str, Any]):
    with pytest.raises(ValueError):
        plane.SandboxProfile(**fields)


def test_a_path_to_write_may_lie_in_one_to_read():
    profile = plane.SandboxProfile(read=("/a", "/ab", "/", "/a/b"), write=("/a/b", "/a/c"))
    assert profile.write == ("/a/b", "/a/c")


@given(
    demanded=st.frozensets(st.sampled_from(plane.Restraint)), offered=st.frozensets(st.sampled_from(plane.Restraint))
)
def test_what_is_not_offered_is_refused_by_name(
    demanded: frozenset[plane.Restraint], offered: frozenset[plane.Restraint]
):
    refused = plane.unenforceable(demanded, offered, by="it")
    assert (refused is None) is (demanded <= offered)
    if refused is not None:
        assert (refused.failure_class, refused.effect) == (plane.FailureClass.SANDBOX_UNENFORCEABLE, "none")
        assert refused.message == f"it cannot enforce here: {', '.join(sorted(demanded - offered))}"


def test_listed_hosts_take_a_network_of_its_own():
    assert plane.ENFORCED_BY.keys() == plane.CLASSES.keys()
    able = [name for name, enforced in plane.ENFORCED_BY.items() if plane.Restraint.NETWORK_HOSTS in enforced]
    assert able == [plane.LOCAL_BUBBLEWRAP, plane.CONTAINER_RUNC, plane.CONTAINER_GVISOR]


@given(st.builds(plane.ResourceLimits, files=st.none() | st.integers(8, 99), processes=st.none() | st.integers(1, 99)))
def test_limits_within_others_are_never_wider(limits: plane.ResourceLimits):
    other = plane.ResourceLimits(files=50, processes=50)
    within = limits.within(other)
    assert within == other.within(limits)
    assert (within.files or 0) <= 50
    assert within.within(limits) == within


def test_levels_grow_and_are_the_words_of_policy():
    assert tuple(plane.SANDBOX_LEVELS) == policy.SANDBOXES
    levels = list(plane.SANDBOX_LEVELS.values())
    assert all(weaker < stricter for weaker, stricter in itertools.pairwise(levels))


def test_classes_that_stand_for_a_level():
    assert set(plane.enforcing("none")) == set(plane.CLASSES)
    assert plane.enforcing("standard") == ("local-landlock", *plane.enforcing("strict"))
    assert plane.enforcing("strict") == ("local-bubblewrap", "container-runc", "container-gvisor")
