"""What an open Interlock does beside its host's work: it holds what it has, and takes up what others have left."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import anyio
from anyio.abc import TaskGroup

from interlock import dispatch
from interlock.app import assembly
from interlock.app.telling import Teller

RENEWING = 30.0
"""Seconds between two looks at which connections are to be renewed."""

RECOVERIES = 10
"""How often in an owner's lease it is looked whether others have died: what one left goes on within ten seconds, by default."""

TIDYING = 60.0
"""Seconds between two looks at which tokens nobody uses any more."""

SIGNER_SECONDS = 30.0
"""How long an open Interlock goes on to sign with a key that was replaced elsewhere."""


@asynccontextmanager
async def kept_open(parts: assembly.Parts, teller: Teller | None, *, background: bool) -> AsyncGenerator[None]:
    """What an open Interlock does beside its host's work, for as long as the block lasts; then all is closed."""
    failure: Exception | SystemExit | KeyboardInterrupt | None = None
    try:
        async with anyio.create_task_group() as tasks:
            _begin(tasks, parts, teller, background=background)
            try:
                yield
            except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - raised outside the group, which would wrap it in another
                failure = error
            finally:
                if teller is not None:
                    await teller.finish()
                tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
    finally:
        with anyio.CancelScope(shield=True):
            await assembly.close(parts)


def _begin(tasks: TaskGroup, parts: assembly.Parts, teller: Teller | None, *, background: bool) -> None:
    """What goes on while an Interlock is open."""
    tasks.start_soon(parts.wiring.ownership.keep)
    if teller is not None:
        tasks.start_soon(teller.keep)
    if background and parts.store.refusal is None:
        tasks.start_soon(partial(parts.keyring.keep_signer, every=SIGNER_SECONDS))
        tasks.start_soon(partial(parts.recovery.keep, every=parts.settings.execution.owner_lease / RECOVERIES))
        tasks.start_soon(parts.wiring.node.keep_proved)
        if any(dispatch.QUEUE_AGE in rule.pressure for rule in parts.wiring.policy.rules):
            tasks.start_soon(parts.workshop.sweeping.watch)
        tasks.start_soon(partial(parts.refreshing.keep, every=RENEWING))
        tasks.start_soon(partial(parts.unwanted.keep, every=TIDYING))
