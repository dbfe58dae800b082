"""Whose memory it is."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import memory

part = st.none() | st.sampled_from(["a", "b", "a:b", "b:c"])
scopes = st.builds(memory.Scope, tenant=st.sampled_from(["t", "u"]), user=part, agent=part, session=part)


@given(scopes, scopes)
def test_a_scope_covers_what_names_the_same_wherever_it_names_anything(one: memory.Scope, other: memory.Scope):
    pairs = zip(one.parts, other.parts, strict=True)
    assert one.covers(other) == all(mine is None or mine == theirs for mine, theirs in pairs)


@given(scopes, scopes, scopes)
def test_covering_is_an_order(one: memory.Scope, other: memory.Scope, third: memory.Scope):
    assert one.covers(one)
    assert not (one.covers(other) and other.covers(third)) or one.covers(third)
    assert not (one.covers(other) and other.covers(one)) or one == other


@given(scopes, part, part, part)
def test_narrowing_never_widens(scope: memory.Scope, user: str | None, agent: str | None, session: str | None):
    try:
        narrowed = scope.narrowed(user=user, agent=agent, session=session)
    except memory.ScopeDenied:
        asked = (scope.tenant, user, agent, session)
        pairs = zip(scope.parts, asked, strict=True)
        assert any(None not in (mine, theirs) and mine != theirs for mine, theirs in pairs)
    else:
        assert scope.covers(narrowed)


def test_names_are_never_joined():
    """`a` + `b:c` is not `a:b` + `c`, whatever stands between them."""
    for left, right in itertools.permutations([("a", "b:c"), ("a:b", "c"), ("a/b", "c"), ("a", "b/c")], 2):
        one = memory.Scope(tenant="t", user=left[0], agent=left[1])
        assert not one.covers(memory.Scope(tenant="t", user=right[0], agent=right[1]))


@pytest.mark.parametrize("name", ["", "a\nb", "a\x00b", "x" * 201, "\ud800"])
def test_names_that_are_none_are_refused(name: str):
    with pytest.raises(memory.InvalidInput):
        memory.Scope.of(tenant=name)
    with pytest.raises(memory.InvalidInput):
        memory.Scope.of(tenant="t").narrowed(user=name)
