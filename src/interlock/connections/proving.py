"""From a code, or from what was given, to a credential that is proven to work, and to a connection."""

import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import anyio

from interlock import sdk
from interlock.connections import (
    callback,
    discovery,
    errors,
    exchange,
    fields,
    granted,
    install_machine,
    installs,
    obtaining,
    renewal,
    sealing,
)
from interlock.connections.answer import Tokens
from interlock.connections.changing import MAX_TRIES, Changing, Saved
from interlock.connections.errands import Errands
from interlock.connections.exchange import Client, Errand
from interlock.connections.grant import TokenGrant
from interlock.connections.installs import Flow, Found, Install, InstallState, Reason
from interlock.connections.model import Connection, Credential, ManagementMode, Refresh, SourceKind, State
from interlock.connections.ports import Cipher, ClientRecords, InstallRecords, Profiles, Records, Standing
from interlock.connections.probing import Probed, probe
from interlock.connections.revoking import Held, Revoker, is_shared, tell
from interlock.connections.safe import Safe
from interlock.connections.shapes import Answer
from interlock.kernel import Caller, Clock, IdSource, InterlockError, Retry, Secret, Store, Tx

_log = logging.getLogger(__name__)

_CLIENT_UNKNOWN: Final = frozenset({Reason.INVALID_CLIENT, Reason.UNAUTHORIZED_CLIENT})
_NOT_YET: Final = frozenset({"authorization_pending", "slow_down", "temporarily_unavailable"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What installs are carried through with. `profile` finds an auth profile by its connector's id and its own; `client` the
    operator's OAuth client for a connector, if there is one; `random_bytes` is chance that nobody can foresee."""

    store: Store
    records: Records
    installs: InstallRecords
    clients: ClientRecords
    cipher: Cipher
    changing: Changing
    profile: Profiles
    client: Callable[[str], Client | None]
    errands: Errands
    clock: Clock
    ids: IdSource
    random_bytes: Callable[[int], bytes]

    def revoker(self) -> Revoker:
        """Who ends tokens at their service."""
        return Revoker(self.errands, self.client, clock=self.clock, random_bytes=self.random_bytes)


class Proving:
    """The steps of an install that need more than its own row."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._safe = Safe(means.cipher)
        self._revoker = means.revoker()

    async def find(self, caller: Caller, name: str) -> Connection | None:
        """The tenant's connection of that name."""
        means = self._means
        standing = await means.store.read(lambda tx: means.changing.look_up(tx, caller, name))
        return None if standing is None else standing[0]

    async def step(self, before: Install, after: Install) -> Install:
        """Write a step, if the install is still what it was. Raises InstallUsed."""
        means = self._means
        if not await means.store.write(lambda tx: means.installs.replace(tx, before, after)):
            raise errors.InstallUsed(f"install {before.install_id} is being changed by others")
        return after

    async def failed(self, install: Install, reason: Reason) -> errors.InstallFailed:
        """Record that it came to nothing, and say so. A client that the service does not know is known no more. Raises
        InstallUsed."""
        await self.step(install, install_machine.fail(install, reason, at=self._means.clock.now()))
        if (forgotten := install.oauth_client_id) is not None and reason in _CLIENT_UNKNOWN:
            means = self._means
            await means.store.write(lambda tx: means.clients.forget(tx, install.tenant_id, forgotten))
        return errors.InstallFailed(install.connector_id, reason)

    async def sealed(self, install: Install, secrets: Mapping[str, Secret]) -> Install:
        """The install, holding these secrets."""
        if not secrets:
            return install
        aad = installs.binding(install)
        return replace(install, sealed=await self._means.cipher.seal(install.tenant_id, sealing.pack(secrets), aad=aad))

    async def secrets(self, install: Install) -> dict[str, Secret]:
        """What the install holds. Raises CredentialDamaged."""
        if install.sealed is None:
            return {}
        plaintext = await self._means.cipher.open(install.tenant_id, install.sealed, aad=installs.binding(install))
        return sealing.unpack_all(plaintext)

    async def profile(self, install: Install) -> sdk.AuthProfile:
        """The profile that the install is for, with what was found out for it."""
        declared = await self._means.profile(install.tenant_id, install.connector_id, install.profile_id)
        return discovery.settled(declared, install.params)

    def known(
        self, install: Install, profile: sdk.AuthProfile, secrets: Mapping[str, Secret]
    ) -> dict[str, sdk.fill.Value]:
        """All that the texts of the install's requests may name. Raises GrantRefused."""
        means = self._means
        values: dict[str, sdk.fill.Value] = {**install.params, **secrets}
        return exchange.known(
            profile,
            values,
            base_url=install.base_url or profile.base_url,
            client=self._client(install, values),
            at=means.clock.now(),
            nonce=installs.new_token(means.random_bytes).reveal(),
        )

    def _client(self, install: Install, given: Mapping[str, sdk.fill.Value]) -> Client | None:
        """The OAuth client: the one that was given with the fields, else the operator's."""
        return exchange.client_of(given) or self._means.client(install.connector_id)

    async def ask(
        self,
        install: Install,
        profile: sdk.AuthProfile,
        request: sdk.grants.Exchange,
        more: Mapping[str, sdk.fill.Value],
    ) -> Answer:
        """One request of an install. Raises InstallFailed."""
        try:
            secrets = await self.secrets(install)
            values = {**self.known(install, profile, secrets), **more}
            errand = exchange.build(request, values, client=self._client(install, {**install.params, **secrets}))
            return await self._means.errands.send(errand, tenant_id=install.tenant_id, subject_id=install.install_id)
        except errors.GrantRefused as refused:
            raise await self.failed(install, Reason.of(refused.reason)) from refused
        except InterlockError as error:
            raise await self.failed(install, Reason.SERVICE_FAILED) from error

    async def prove(self, install: Install, profile: sdk.AuthProfile, more: Mapping[str, sdk.fill.Value]) -> Install:
        """Begin the exchange of an install, fetch the tokens, and ask the service whose they are. Once begun, it is carried to
        its end although the caller gives up: what came back must not be lost without a trace.

        Raises InstallEnded, InstallUsed, InstallFailed, and for a device that waits on ErrandFailed and GrantRefused.
        """
        proven: list[Install] = []
        with anyio.CancelScope(shield=True):
            begun = install_machine.begin_exchange(install, at=self._means.clock.now())
            proven.append(await self._prove(await self.step(install, begun), profile, more))
        return proven[0]

    async def _prove(self, install: Install, profile: sdk.AuthProfile, more: Mapping[str, sdk.fill.Value]) -> Install:
        means, at = self._means, self._means.clock.now()

        async def send(errand: Errand) -> Answer:
            return await means.errands.send(errand, tenant_id=install.tenant_id, subject_id=install.install_id)

        try:
            secrets = await self.secrets(install)
            values = {**self.known(install, profile, secrets), **more}
            client = self._client(install, {**install.params, **secrets})
            tokens = await obtaining.obtain(profile, values, client=client, send=send, at=at)
            kept = {name: secret for name, secret in secrets.items() if name in profile.secret_fields}
            async with self._or_given_back(install, {**kept, **tokens.secrets()}):
                sealable = fields.sealed(profile, {**install.params, **kept}, tokens)
                probed = await probe(
                    profile,
                    sealable,
                    base_url=install.base_url or profile.base_url,
                    tenant_id=install.tenant_id,
                    errands=means.errands,
                )
        except errors.GrantRefused as refused:
            if install.flow is Flow.DEVICE and refused.reason in _NOT_YET:
                waiting = await self._wait_longer(install)
                if refused.reason == "authorization_pending":
                    return waiting
                raise
            raise await self.failed(install, Reason.of(refused.reason)) from refused
        except errors.ProbeFailed as error:
            raise await self.failed(install, Reason.PROBE_FAILED) from error
        except InterlockError as error:
            passing = isinstance(error, errors.ErrandFailed) and error.retry is Retry.LATER
            if install.flow is Flow.DEVICE and passing:
                await self._wait_longer(install)
                raise
            raise await self.failed(install, Reason.SERVICE_FAILED) from error
        async with self._or_given_back(install, sealable):
            return await self._proven(install, tokens, sealable, probed)

    @asynccontextmanager
    async def _or_given_back(self, install: Install, secrets: Mapping[str, Secret]) -> AsyncGenerator[None]:
        """What fails in here has nobody use these tokens."""
        try:
            yield
        except InterlockError:
            await self.give_back(install, secrets)
            raise

    async def give_back(self, install: Install, secrets: Mapping[str, Secret]) -> None:
        """Have the service end the tokens of an install that came to nothing, if its profile says how, and if that ends nothing
        that is in use."""
        means = self._means
        grant = (profile := await self.profile(install)).grant
        if sdk.grants.revocation(grant, secrets) is None:
            return
        subject = None if install.found is None else install.found.subject
        if sdk.grants.revoked_with(grant) == "account" and await is_shared(
            means.store, means.records, install.tenant_id, install.connector_id, subject=subject
        ):
            return
        held = Held(
            tenant_id=install.tenant_id,
            connector_id=install.connector_id,
            about=install.install_id,
            base_url=install.base_url,
            given=install.params,
            secrets=secrets,
        )
        if (reason := await self._revoker.end(profile, held)) is not None:
            _log.warning("the tokens of %s may live on at the service: %s", install.install_id, reason)

    async def _wait_longer(self, install: Install) -> Install:
        return await self.step(install, install_machine.wait_longer(install, at=self._means.clock.now()))

    async def _proven(
        self, install: Install, tokens: Tokens, sealable: Mapping[str, Secret], probed: Probed
    ) -> Install:
        # The service's word when it is asked counts most.
        scopes = callback.compare(
            install.scopes_asked, tokens.scopes if probed.scopes is None else probed.scopes
        ).scopes
        found = Found(subject=probed.subject, scopes=scopes, expires_at=tokens.expires_at or probed.expires_at)
        holds = await self.sealed(install, sealable)
        assert holds.sealed is not None
        return await self.step(install, install_machine.prove(install, found, holds.sealed, at=self._means.clock.now()))

    async def complete(self, install: Install) -> Connection:
        """The connection with the proven credential. Raises InstallEnded, InstallUsed, InstallFailed, ConnectionChanged."""
        now = self._means.clock.now()
        install_machine.check_open(install, now=now)
        if install.state is not InstallState.PROVEN or install.found is None:
            raise errors.InstallUsed(f"install {install.install_id} has no proven credential")
        secrets = await self.secrets(install)
        owner = Caller(tenant_id=install.tenant_id, actor=install.actor)
        for _ in range(MAX_TRIES):
            standing = await self._means.store.read(
                lambda tx: self._means.changing.look_up(tx, owner, install.connection_name)
            )
            try:
                connection = await self._try_complete(install, install.found, secrets, owner, standing)
            except errors.InstallFailed:
                await self.give_back(install, secrets)
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
        if (reason := _changed(install, before)) is not None:
            raise await self.failed(install, reason)
        grant, now = _grant(install, found, secrets), self._means.clock.now()
        try:
            if before is None:
                return granted.begun(grant, self._means.ids.new("con"), owner, at=now)
            return granted.renewed(before, grant, at=now)
        except (errors.SubjectMismatch, errors.ServiceMismatch) as error:
            subject = isinstance(error, errors.SubjectMismatch)
            raise await self.failed(install, Reason.SUBJECT_MISMATCH if subject else Reason.SERVICE_MISMATCH) from error

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
        made, profile = await self._made(install, found, secrets, owner, before), await self.profile(install)
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
        told = granted.told(before, connection, actor=owner.actor, version=version)
        done = install_machine.complete(install, connection.connection_id, at=now)
        replaced: list[Credential] = []

        def write(tx: Tx) -> Saved | None:
            revision = None if before is None else before.revision
            saved = means.changing.save(tx, connection, told, before=revision, at=now)
            if saved is None:
                return None
            if not means.installs.replace(tx, install, done):
                raise errors.InstallUsed(f"install {install.install_id} is being changed by others")
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
        return await tell(means.changing, owner, made, ended, next(filter(None, reasons), None), at=means.clock.now())


def _changed(install: Install, standing: Connection | None) -> Reason | None:
    """Why the connection is no longer the one that the install was begun for, if it is not: another was made under the name, or
    it was revoked since, which an install that was begun before must not undo."""
    if (None if standing is None else standing.connection_id) != install.connection_id:
        return Reason.CONNECTION_CHANGED
    if standing is None or standing.state not in (State.REVOKED, State.DISABLED):
        return None
    return Reason.CONNECTION_CHANGED if standing.updated_at > install.created_at else None


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
