"""A signing key is replaced while processes are open: what each of them exports verifies, and they follow."""

import pytest

from fix_app import World
from interlock import runs

pytestmark = pytest.mark.anyio


async def test_a_process_older_than_the_key_exports_what_verifies(file_world: World):
    async with file_world.process() as old:
        await old.connect(file_world.server.url)
        before = await old.il.trust()
        await old.parts.keyring.renew_signing()
        async with file_world.process() as new:
            outcome = await new.create()
        trust = runs.Trust.parse(await old.il.trust())
        assert len(trust.keys) == len(runs.Trust.parse(before).keys) + 1
        verdict = runs.verify.verify(await old.il.runs.packet(outcome.run_id), trust=trust)
        assert verdict.ok, verdict.problems
        assert set(verdict.signers) == set(trust.keys)


async def test_a_running_process_signs_with_the_new_key_from_its_next_look_on(file_world: World):
    async with file_world.process() as old, file_world.process() as other:
        await old.connect(file_world.server.url)
        before = old.parts.keyring.current.key_id
        renewed = await other.parts.keyring.renew_signing()
        assert (await old.create("first")).state is runs.State.COMPLETED
        assert (await old.last()).run.signing_key_id == before
        await old.parts.keyring.take_signer()  # what `keep_signer` does every half a minute
        await old.create("second")
        assert (await old.last()).run.signing_key_id == renewed
