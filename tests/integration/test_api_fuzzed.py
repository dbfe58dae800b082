"""The API against requests that Schemathesis makes up from its description. `tests/soak/soak_api.py` has what does not fit it."""

import pytest

from fix_app import World


@pytest.mark.anyio
async def test_no_request_breaks_it(file_world: World):
    from schemathesis import GenerationMode  # here: it is slow to import, and each worker collects this

    import made_up_requests

    await made_up_requests.try_all(file_world, made_up_requests.requests([GenerationMode.POSITIVE], 1))
