"""Tokens that nobody here uses any more: erased, and ended at their services as far as that ends nothing that is in use."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

import anyio

from interlock import sdk
from interlock.connections import discovery, install_errors, install_machine
from interlock.connections.history import ONLY_HERE, ConnectionEvent, Happening
from interlock.connections.installs import Install, InstallState
from interlock.connections.model import Connection, Credential, SourceKind, State
from interlock.connections.ports import Standing
from interlock.connections.revoking import OTHERS_DEPEND, UNANSWERED, is_shared, tell
from interlock.connections.safe import Safe
from interlock.connections.steps import Means, Steps
from interlock.kernel import Caller, InterlockError, Secret, Tx

_log = logging.getLogger(__name__)

_BATCH: Final = 100
_AT_ONCE: Final = 8
_PATIENCE: Final = 5.0
"""Seconds, of a call that waits for a refresh."""


class Unwanted:
    """Has tokens ended. They are erased first: a process that is killed then leaves them to the end that they have anyway."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._safe = Safe(means.cipher)
        self._steps = Steps(means)
        self._revoker = means.revoker()

    async def end_overtaken(self, caller: Caller, claimed: Connection, credential: Credential) -> Connection:
        """End what a refresh was given that came too late: the connection was revoked meanwhile, or has the tokens of another
        consent. They were never stored. The connection as it is, told of in its events. A call may wait for this: a service that
        answers late is not waited for.

        Raises ConnectionNotFound, ConnectionChanged, StoreError, and as the catalogue.
        """
        means = self._means
        (after, _), since = await means.store.read(partial(self._since, claimed))
        profile = await self._profile(claimed)
        known = sdk.grants.revocation(profile.grant, credential.fields) is not None
        if not known or not serves_nobody(claimed, after, since):
            _log.warning("what the service gave to refresh %s came too late, and is left to its own end", claimed.name)
            return after
        if sdk.grants.revoked_with(profile.grant) == "account" and await is_shared(
            means.store, means.records, after.tenant_id, after.connector_id, subject=claimed.subject
        ):
            reason = OTHERS_DEPEND
        else:
            reason = UNANSWERED
            with anyio.move_on_after(_PATIENCE):
                reason = await self._revoker.end_version(profile, claimed, credential, safe=self._safe)
        return await tell(means.changing, caller, after, [credential], reason, at=means.clock.now())

    async def keep(self, *, every: float) -> None:
        """For ever, with a pause of that many seconds before, tidy up."""
        while True:
            await self._means.clock.sleep(every)
            try:
                await self.tidy()
            except Exception as error:  # noqa: BLE001 - the host's work must not end with this
                _log.warning("what nobody uses will be ended later: %s", error)

    async def tidy(self) -> int:
        """Erase what installs hold whose time is over, and credential versions whose overlap is; and end the tokens of an install
        that nobody completed, and of a version where its end is its own. How many there were. Raises StoreError."""
        return await _batch_by_batch(self._expire_installs) + await _batch_by_batch(self._erase_superseded)

    async def _expire_installs(self) -> tuple[int, int]:
        means, now = self._means, self._means.clock.now()
        over = await means.store.read(lambda tx: means.installs.list_over(tx, now, limit=_BATCH))
        proven = [each for each in over if each.state is InstallState.PROVEN]
        others = [each for each in over if each.state is not InstallState.PROVEN]

        def expire(tx: Tx) -> int:
            return sum(means.installs.replace(tx, each, install_machine.expire(each, at=now)) for each in others)

        expired = await means.store.write(expire) if others else 0  # mostly there are none: then nothing is written
        expired += await _side_by_side(partial(self._expire_proven, each) for each in proven)
        return len(over), expired

    async def _expire_proven(self, install: Install) -> bool:
        secrets: Mapping[str, Secret] = {}
        try:
            secrets = await self._steps.secrets(install)
        except InterlockError as error:  # whatever the keys say: what no key opens is to go all the same
            _log.warning("the tokens of %s are left to their own end: %s", install.install_id, error)
        try:
            await self._steps.step(install, install_machine.expire(install, at=self._means.clock.now()))
        except install_errors.InstallUsed:
            return False  # others were quicker: another process, or the person
        if secrets:
            await _or_live_on(self._steps.give_back(install, secrets))
        return True

    async def _erase_superseded(self) -> tuple[int, int]:
        means, now = self._means, self._means.clock.now()
        over = await means.store.read(lambda tx: means.records.list_superseded(tx, now, limit=_BATCH))
        ends = [(await self._ends_alone(*each), *each[:2]) for each in over]
        silent = [old for profile, _, old in ends if profile is None]

        def erase(tx: Tx) -> int:
            return sum(means.records.erase(tx, old.credential_id, at=now) for old in silent)

        erased = await means.store.write(erase) if silent else 0
        erased += await _side_by_side(
            partial(self._erase_and_end, profile, *each) for profile, *each in ends if profile is not None
        )
        return len(over), erased

    async def _erase_and_end(self, profile: sdk.AuthProfile, connection: Connection, old: Credential) -> bool:
        means, now = self._means, self._means.clock.now()
        if not await means.store.write(lambda tx: means.records.erase(tx, old.credential_id, at=now)):
            return False
        await self._end(profile, connection, old)
        return True

    async def _ends_alone(
        self, connection: Connection, old: Credential, current: Credential | None
    ) -> sdk.AuthProfile | None:
        """The profile, if what leases opened of the old version can be ended without anything else: it is no part of what the
        connection has now."""
        if connection.secret_source is not SourceKind.STORED:
            return None
        try:
            profile = await self._profile(connection)
            if not sdk.grants.ends_alone(profile.grant):
                return None
            before = await self._safe.open(old)
            present = {} if current is None else await self._safe.open(current)
        except InterlockError as error:  # one tenant's lost key is no reason to keep what others had
            _log.warning("what %s had before is left to its own end: %s", connection.name, error)
            return None
        shown = [(before[name].reveal(), present.get(name)) for name in profile.lease_fields if name in before]
        return profile if all(now is None or now.reveal() != was for was, now in shown) else None

    async def _end(self, profile: sdk.AuthProfile, connection: Connection, credential: Credential) -> None:
        means, caller = self._means, Caller(tenant_id=connection.tenant_id, actor="interlock")
        reason = await self._revoker.end_version(profile, connection, credential, safe=self._safe)
        await _or_live_on(tell(means.changing, caller, connection, [credential], reason, at=means.clock.now()))

    async def _profile(self, connection: Connection) -> sdk.AuthProfile:
        declared = await self._means.profile(connection.tenant_id, connection.connector_id, connection.profile_id)
        return discovery.settled(declared, connection.params)

    def _since(self, claimed: Connection, tx: Tx) -> tuple[Standing, Sequence[ConnectionEvent]]:
        records, tenant_id, place = self._means.records, claimed.tenant_id, claimed.connection_id
        standing = records.find(tx, tenant_id, place)
        assert standing is not None
        return standing, records.list_events(tx, tenant_id, place, after_seq=claimed.head_seq, limit=_BATCH)


def serves_nobody(claimed: Connection, after: Connection, since: Sequence[ConnectionEvent]) -> bool:
    """Whether the tokens of a refresh that was claimed are of no use for what the connection became `since`. Pure.

    Those of another refresh are of the same consent: they might end with these. A connection that waits for a person may be
    mended with what it has. And whoever revoked it here alone wants nothing ended at the service.
    """
    if any(each.type is Happening.REVOKED and ONLY_HERE.items() <= each.data.items() for each in since):
        return False
    replaced = after.current_credential_id != claimed.current_credential_id
    return after.state is State.REVOKED or (replaced and after.refreshed_at == claimed.refreshed_at)


async def _batch_by_batch(take: Callable[[], Awaitable[tuple[int, int]]]) -> int:
    """For as long as there is a full batch, and it comes to something. `take` says how many it found, and how many it did."""
    done = 0
    while True:
        found, did = await take()
        done += did
        if found < _BATCH or not did:
            return done


async def _side_by_side(steps: Iterable[Callable[[], Awaitable[bool]]]) -> int:
    """Some at a time; how many of them did what they were to. One that fails is none of the others' business. One that was
    begun is carried to its end, for which whoever closes meanwhile waits: what is erased can be ended by nobody later."""
    limiter = anyio.CapacityLimiter(_AT_ONCE)
    done = 0

    async def run(step: Callable[[], Awaitable[bool]]) -> None:
        nonlocal done
        async with limiter:
            try:
                with anyio.CancelScope(shield=True):
                    did = await step()
                    done += did
            except InterlockError as error:
                _log.warning("what nobody uses will be ended later: %s", error)

    async with anyio.create_task_group() as tasks:
        for each in steps:
            tasks.start_soon(run, each)
    return done


async def _or_live_on(end: Awaitable[object]) -> None:
    """What was erased cannot be ended later."""
    try:
        await end
    except InterlockError as error:
        _log.warning("tokens that nobody uses may live on at the service: %s", error)
