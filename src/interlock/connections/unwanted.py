"""Tokens that nobody here uses any more: their services are asked to end them, as far as that ends nothing that is in use."""

import logging
from collections.abc import Sequence
from functools import partial

from interlock import sdk
from interlock.connections import discovery
from interlock.connections.history import ONLY_HERE, ConnectionEvent, Happening
from interlock.connections.model import Connection, Credential, State
from interlock.connections.ports import Standing
from interlock.connections.revoking import OTHERS_DEPEND, is_shared, tell
from interlock.connections.safe import Safe
from interlock.connections.steps import Means
from interlock.kernel import Caller, Tx

_log = logging.getLogger(__name__)

_MOST_EVENTS = 500


class Unwanted:
    """Has tokens ended. A process that is killed meanwhile leaves them to the end that they have by themselves."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._safe = Safe(means.cipher)
        self._revoker = means.revoker()

    async def end_overtaken(self, caller: Caller, claimed: Connection, credential: Credential) -> Connection:
        """End what a refresh was given that came too late: the connection was revoked meanwhile, or has the tokens of another
        consent. They were never stored. The connection as it is, told of in its events.

        Raises ConnectionNotFound, ConnectionChanged, StoreError, and as the catalogue.
        """
        means = self._means
        (after, _), since = await means.store.read(partial(self._since, claimed))
        declared = await means.profile(claimed.tenant_id, claimed.connector_id, claimed.profile_id)
        profile = discovery.settled(declared, claimed.params)
        known = sdk.grants.revocation(profile.grant, credential.fields) is not None
        if not known or not serves_nobody(claimed, after, since):
            _log.warning("what the service gave to refresh %s came too late, and is left to its own end", claimed.name)
            return after
        if sdk.grants.revoked_with(profile.grant) == "account" and await is_shared(
            means.store, means.records, after.tenant_id, after.connector_id, subject=claimed.subject
        ):
            reason = OTHERS_DEPEND
        else:
            reason = await self._revoker.end_version(profile, claimed, credential, safe=self._safe)
        return await tell(means.changing, caller, after, [credential], reason, at=means.clock.now())

    def _since(self, claimed: Connection, tx: Tx) -> tuple[Standing, Sequence[ConnectionEvent]]:
        records, place = self._means.records, claimed.connection_id
        standing = records.find(tx, claimed.tenant_id, place)
        assert standing is not None
        return standing, records.list_events(
            tx, claimed.tenant_id, place, after_seq=claimed.head_seq, limit=_MOST_EVENTS
        )


def serves_nobody(claimed: Connection, after: Connection, since: Sequence[ConnectionEvent]) -> bool:
    """Whether the tokens of a refresh that was claimed are of no use for what the connection became `since`. Pure.

    Those of another refresh are of the same consent: they might end with these. A connection that waits for a person may be
    mended with what it has. And whoever revoked it here alone wants nothing ended at the service.
    """
    if any(each.type is Happening.REVOKED and ONLY_HERE.items() <= each.data.items() for each in since):
        return False
    replaced = after.current_credential_id != claimed.current_credential_id
    return after.state is State.REVOKED or (replaced and after.refreshed_at == claimed.refreshed_at)
