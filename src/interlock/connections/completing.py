"""From a proven credential to the connection that has it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from interlock import sdk
from interlock.connections import (
    discovery,
    errors,
    granted,
    install_errors,
    install_machine,
    renewal,
)
from interlock.connections.changing import MAX_TRIES, Saved
from interlock.connections.grant import TokenGrant
from interlock.connections.installs import Found, Install, InstallState, Reason
from interlock.connections.model import Connection, Credential, ManagementMode, Refresh, SourceKind, State
from interlock.connections.ports import Standing
from interlock.connections.revoking import open_question, tell
from interlock.connections.safe import Safe
from interlock.connections.steps import Means, Steps
from interlock.connections.transitions import USABLE
from interlock.kernel import JSON, Caller, Secret, Tx


class Completing:
    """Makes connections of installs that are proven."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._steps = Steps(means)
        self._safe = Safe(means.cipher)
        self._revoker = means.revoker()

    async def complete(self, install: Install) -> Connection:
        """The connection with the proven credential. Raises InstallEnded, InstallUsed, InstallFailed, ConnectionChanged."""
        now = self._means.clock.now()
        install_machine.check_open(install, now=now)
        if install.state is not InstallState.PROVEN or install.found is None:
            raise install_errors.InstallUsed(f"install {install.install_id} has no proven credential")
        secrets = await self._steps.secrets(install)
        owner = Caller(tenant_id=install.tenant_id, actor=install.actor)
        for _ in range(MAX_TRIES):
            standing = await self._means.store.read(
                lambda tx: self._means.changing.look_up(tx, owner, install.connection_name)
            )
            try:
                connection = await self._try_complete(install, install.found, secrets, owner, standing)
            except install_errors.InstallFailed:
                await self._steps.give_back(install, secrets)
                raise
            if connection is not None:
                return connection
        raise errors.ConnectionChanged(f"connection {install.connection_name!r} is being changed by others")

    def _scheduled(
        self, profile: sdk.AuthProfile, made: Connection, secrets: Mapping[str, Secret], expires_at: datetime | None
    ) -> Refresh:
        way = renewal.way(profile, tuple(secrets))
        return renewal.scheduled(made, way=way, expires_at=expires_at, at=self._means.clock.now())

    async def _made(
        self, install: Install, found: Found, secrets: Mapping[str, Secret], owner: Caller, before: Connection | None
    ) -> Connection:
        """What the connection is after the install, but for its credential. Raises InstallFailed."""
        if (reason := _changed(install, before) or _less(install, before)) is not None:
            raise await self._steps.failed(install, reason)
        grant, now = _grant(install, found, secrets), self._means.clock.now()
        try:
            if before is None:
                return granted.begun(grant, self._means.ids.new("con"), owner, at=now)
            return granted.renewed(before, grant, at=now)
        except errors.SubjectMismatch as error:
            raise await self._steps.failed(install, Reason.SUBJECT_MISMATCH) from error
        except errors.ServiceMismatch as error:
            raise await self._steps.failed(install, Reason.SERVICE_MISMATCH) from error

    async def _try_complete(
        self,
        install: Install,
        found: Found,
        secrets: Mapping[str, Secret],
        owner: Caller,
        standing: Standing | None,
    ) -> Connection | None:
        means, now = self._means, self._means.clock.now()
        before, last = standing or (None, None)
        made, profile = await self._made(install, found, secrets, owner, before), await self._steps.profile(install)
        connection = replace(
            made,
            current_credential_id=means.ids.new("crd"),
            credential_expires_at=found.expires_at,
            management_mode=ManagementMode(profile.management_modes[0]),
            params=install.params,
            refresh=self._scheduled(profile, made, secrets, found.expires_at),
        )
        version = 1 if last is None else last.version + 1
        credential = await self._safe.seal(
            connection, secrets, version=version, expires_at=found.expires_at, at=now, grant=found.record()
        )
        told = granted.told(before, connection, actor=owner.actor, version=version, more=_compared(install))
        done = install_machine.complete(install, connection.connection_id, at=now)
        replaced: list[Credential] = []

        def write(tx: Tx) -> Saved | None:
            revision = None if before is None else before.revision
            saved = means.changing.save(tx, connection, told, before=revision, at=now)
            if saved is None:
                return None
            found = means.installs.find(tx, install.tenant_id, install.install_id)
            same = found is not None and found.revision == install.revision
            if found is None or not same or not means.installs.replace(tx, found, done):
                raise install_errors.InstallUsed(f"install {install.install_id} is being changed by others")
            replaced[:] = means.records.list_held(tx, connection.connection_id)
            means.records.wipe(tx, connection.connection_id, at=now)
            means.records.add_credential(tx, credential)
            return saved

        saved = await means.store.write(write)
        if saved is None:
            return None
        made = means.changing.publish(saved)
        return made if before is None else await self._end_replaced(owner, before, made, replaced)

    async def _end_replaced(
        self, owner: Caller, before: Connection, made: Connection, replaced: Sequence[Credential]
    ) -> Connection:
        """Have the service end the tokens of an earlier consent, where that leaves the new one alone."""
        means = self._means
        declared = await means.profile(before.tenant_id, before.connector_id, before.profile_id)
        profile = discovery.settled(declared, before.params)
        alone = sdk.grants.revoked_with(profile.grant) != "account" and before.secret_source is SourceKind.STORED
        ended = [each for each in replaced if alone and sdk.grants.revocation(profile.grant, each.fields) is not None]
        if not ended:
            return made
        reasons = [await self._revoker.end_version(profile, before, each, safe=self._safe) for each in ended]
        return await tell(means.changing, owner, made, ended, open_question(before, reasons), at=means.clock.now())


def _changed(install: Install, standing: Connection | None) -> Reason | None:
    """Why the connection is no longer the one that the install was begun for, if it is not: another was made under the name, or
    it was revoked since, which an install that was begun before must not undo."""
    if (None if standing is None else standing.connection_id) != install.connection_id:
        return Reason.CONNECTION_CHANGED
    if standing is None or standing.state is not State.REVOKED:
        return None
    return Reason.CONNECTION_CHANGED if standing.updated_at > install.created_at else None


def _less(install: Install, standing: Connection | None) -> Reason | None:
    """Why the new credential must not take the place of one that serves, if it lacks scopes that this one has: they were asked
    for again, so work may go on that needs them."""
    lost = standing is not None and standing.state in USABLE and standing.scopes & install.missing_scopes
    return Reason.SCOPES_LOST if lost else None


def _compared(install: Install) -> dict[str, JSON]:
    """How the scopes that were granted differ from those that were asked for."""
    differ = {"missing_scopes": install.missing_scopes, "unasked_scopes": install.unasked_scopes}
    return {name: sorted(scopes) for name, scopes in differ.items() if scopes}


def _grant(install: Install, found: Found, secrets: Mapping[str, Secret]) -> TokenGrant:
    return TokenGrant(
        connector_id=install.connector_id,
        profile_id=install.profile_id,
        fields=tuple(sorted(secrets)),
        secrets=secrets,
        name=install.connection_name,
        subject=found.subject,
        scopes=found.scopes,
        base_url=install.base_url,
        expires_at=found.expires_at,
    )
