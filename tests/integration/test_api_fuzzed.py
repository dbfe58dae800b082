"""The API against requests that Schemathesis makes up from its description. `tests/soak/soak_api.py` has what does not fit it."""

import pytest
from schemathesis import GenerationMode

import made_up_requests
from fix_app import World


@pytest.mark.anyio
async def test_no_request_breaks_it(file_world: World):
    await made_up_requests.try_all(file_world, made_up_requests.requests([GenerationMode.POSITIVE], 1))
