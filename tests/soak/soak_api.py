"""The API against many requests that Schemathesis makes up, those that fit its description and those that do not."""

import os

import pytest
from schemathesis import GenerationMode

import made_up_requests
from fix_app import World

REQUESTS = int(os.environ.get("SOAK_REQUESTS", "20"))
"""Of each kind, for each operation. To make one up takes 30 ms."""


@pytest.mark.soak
@pytest.mark.anyio
@pytest.mark.timeout(3600)
async def test_no_request_breaks_it_however_wrong(file_world: World):
    await made_up_requests.try_all(file_world, made_up_requests.requests([*GenerationMode], REQUESTS))
