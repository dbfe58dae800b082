"""A profile's credential is shown in every place that it names, in calls and when the service is asked whose it is."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from fix_app import TOKEN, World, connector
from fix_parrot import Answer, Heard, Parrot
from interlock import sdk
from interlock.kernel import JSON

pytestmark = pytest.mark.anyio

PROBE = sdk.probe("/user", subject="/login")


def profile(*places: Any, **changes: Any) -> sdk.Draft:
    return sdk.token_profile(scopes=["repo"], apply=places, probe=PROBE, **changes)


async def test_several_places(file_world: World, parrot: Parrot):
    places = sdk.in_header("key {token}", name="X-Key"), sdk.in_query("key"), sdk.in_header()
    file_world.manifest = connector(auth=[profile(*places)])
    async with file_world.process(execution={"egress_allow": (parrot.host,)}) as process:
        await process.connect(parrot.url)
        await process.il.invoke("acme.account.fetch")
    assert len(parrot.heard) == 2
    for heard in parrot.heard:
        assert heard.headers["x-key"] == f"key {TOKEN}"
        assert heard.headers["authorization"] == f"Bearer {TOKEN}"
        assert parse_qs(urlsplit(heard.path).query) == {"key": [TOKEN]}


async def read_page(input: Mapping[str, JSON], http: sdk.Http) -> JSON:  # noqa: A002
    """A read that says a parameter itself, which no declaration shows."""
    del input
    await http.request(sdk.HttpRequest(method="GET", path="/things", query=(("page", "2"),)))
    return {}


async def test_a_place_that_a_handler_takes_itself(file_world: World, parrot: Parrot):
    reads = sdk.handler(
        "thing.read",
        read_page,
        effect="read",
        input=sdk.Input,
        output={"type": "object"},
        schemas={"output": "dynamic"},
    )
    file_world.manifest = connector(auth=[profile(sdk.in_query("page"))], operations=[reads])
    async with file_world.process(execution={"egress_allow": (parrot.host,)}) as process:
        await process.connect(parrot.url)
        with pytest.raises(sdk.HandlerFailed, match="cannot be sent: the query parameter 'page' is the credential's"):
            await process.il.invoke("acme.thing.read")
    assert len(parrot.heard) == 1


async def test_a_next_page_whose_link_repeats_the_credential(file_world: World, parrot: Parrot):
    def say(heard: Heard) -> Answer:
        if heard.path.startswith("/user"):
            return Answer(b'{"login": "octo-agent"}')
        more = {} if "after=9" in heard.path else {"Link": f'<{parrot.url}{heard.path}&after=9>; rel="next"'}
        return Answer(b"[]", headers=more)

    parrot.say = say
    file_world.manifest = connector(auth=[profile(sdk.in_query("key"))])
    async with file_world.process(execution={"egress_allow": (parrot.host,)}) as process:
        await process.connect(parrot.url)
        await process.il.invoke("acme.issue.list", {"repo": "acme/rocket", "max_pages": 2})
    pages = [parse_qs(urlsplit(heard.path).query) for heard in parrot.heard[1:]]
    assert [(page["key"], page.get("after")) for page in pages] == [([TOKEN], None), ([TOKEN], ["9"])]
