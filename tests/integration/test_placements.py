"""A profile's credential is shown in every place that it names, in calls and when the service is asked whose it is."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from fix_app import TOKEN, World, connector
from fix_parrot import Parrot
from interlock import sdk

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


async def test_a_place_that_the_operation_takes_itself(file_world: World, parrot: Parrot):
    file_world.manifest = connector(auth=[profile(sdk.in_query("page"))])
    async with file_world.process(execution={"egress_allow": (parrot.host,)}) as process:
        await process.connect(parrot.url)
        with pytest.raises(sdk.HandlerFailed, match="cannot be sent: the query parameter 'page' is the credential's"):
            await process.il.invoke("acme.issue.list", {"repo": "acme/rocket", "page": 2})
    assert len(parrot.heard) == 1
