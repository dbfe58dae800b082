"""Git facts and paging of the fake's world."""

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import testing
from interlock.testing.github.answers import Ask
from interlock.testing.github.world import World


def make_world() -> World:
    world = World(url="http://127.0.0.1:1", clock=testing.ManualClock(), logins=frozenset({"mona"}))
    world.add_repository("acme/rocket")
    return world


def test_blobs_have_gits_own_names():
    repo = make_world().repositories["acme/rocket"]
    assert repo.put_blob(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert repo.put_blob(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_a_commit_is_found_by_each_of_its_names():
    repo = make_world().repositories["acme/rocket"]
    sha = repo.refs["refs/heads/main"]
    for name in ("main", "heads/main", "refs/heads/main", sha, sha[:7]):
        commit = repo.find_commit(name)
        assert commit is not None
        assert commit.sha == sha
    assert repo.find_commit("nothing") is None
    assert repo.find_commit(sha[:6]) is None


def test_names_of_repositories_are_compared_without_case():
    world = make_world()
    assert world.find_repository("ACME/Rocket") is world.find_repository("acme/rocket")
    for name in ("Acme/rocket", "acme", "acme/", "/rocket", "a/b/c"):
        with pytest.raises(ValueError, match="not a free name"):
            world.add_repository(name)


@given(count=st.integers(0, 250), size=st.integers(-1, 150))
def test_following_next_meets_every_item_once(count: int, size: int):
    items = list(range(count))
    seen: list[int] = []
    page = 1
    for _ in range(count + 2):
        query = {"per_page": size, "page": page, "state": "all"}
        part, headers = Ask(world=make_world(), login="mona", url="http://h/p", path={}, query=query, body={}).page(
            items
        )
        seen += part
        links = dict(link.split("; rel=")[::-1] for link in headers.get("link", "").split(", ") if link)
        if '"next"' not in links:
            break
        target = parse_qs(urlsplit(links['"next"'].strip("<>")).query)
        assert target["state"] == ["all"]
        page = int(target["page"][0])
    assert seen == items
