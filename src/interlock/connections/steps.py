"""The steps of an install: its row, what it holds, and the requests that are made for it."""

import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from interlock import sdk
from interlock.connections import (
    discovery,
    errors,
    exchange,
    install_errors,
    install_machine,
    installs,
    sealing,
)
from interlock.connections.changing import MAX_TRIES, Changing
from interlock.connections.errands import Errands
from interlock.connections.exchange import Client
from interlock.connections.installs import Install, Reason
from interlock.connections.model import Connection, Sealed
from interlock.connections.obtaining import Run
from interlock.connections.ports import Cipher, ClientRecords, InstallRecords, Profiles, Records
from interlock.connections.revoking import Held, Revoker, is_shared
from interlock.connections.shapes import Answer
from interlock.kernel import Caller, Clock, IdSource, InterlockError, Secret, Store

_log = logging.getLogger(__name__)

_CLIENT_UNKNOWN: Final = frozenset({Reason.INVALID_CLIENT, Reason.UNAUTHORIZED_CLIENT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What installs are carried through with. `profile` finds an auth profile by its connector's id and its own; `client` the
    operator's OAuth client for a connector, if there is one; `program` runs the program that says a connector's tokens, where
    the operator lets a tenant have it; `random_bytes` is chance that nobody can foresee."""

    store: Store
    records: Records
    installs: InstallRecords
    clients: ClientRecords
    cipher: Cipher
    changing: Changing
    profile: Profiles
    client: Callable[[str], Client | None]
    program: Callable[[str, str], Run | None]
    errands: Errands
    clock: Clock
    ids: IdSource
    random_bytes: Callable[[int], bytes]

    def revoker(self) -> Revoker:
        """Who ends tokens at their service."""
        return Revoker(self.errands, self.client, clock=self.clock, random_bytes=self.random_bytes)


def reason_of(error: InterlockError) -> Reason:
    """What an error means for the install that it ends: who was asked has failed, or we have."""
    if isinstance(error, errors.GrantRefused):
        return Reason.of(error.reason)
    asked = isinstance(error, errors.ErrandFailed | errors.ProbeFailed | exchange.UnconfirmedIssuer)
    return error.reason if asked else Reason.INTERRUPTED


class Steps:
    """Takes single steps, each if the install is still what it was."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._revoker = means.revoker()

    async def find(self, caller: Caller, name: str) -> Connection | None:
        """The tenant's connection of that name."""
        means = self._means
        standing = await means.store.read(lambda tx: means.changing.look_up(tx, caller, name))
        return None if standing is None else standing[0]

    async def step(self, before: Install, after: Install) -> Install:
        """Write a step, if the install is still what it was. Raises InstallUsed."""
        means, standing = self._means, before
        for _ in range(MAX_TRIES):
            if await means.store.write(partial(means.installs.replace, before=standing, after=after)):
                return after
            found = await means.store.read(
                partial(means.installs.find, tenant_id=before.tenant_id, install_id=before.install_id)
            )
            if found is None or found.revision != before.revision:
                break
            # Only the seal is another, by a rotation of keys: it is to hold for what is written, too.
            after, standing = replace(after, sealed=await self._sealed_anew(before, after, found)), found
        raise install_errors.InstallUsed(f"install {before.install_id} is being changed by others")

    async def _sealed_anew(self, before: Install, after: Install, found: Install) -> Sealed | None:
        if after.sealed is None or after.sealed == before.sealed:
            return None if after.sealed is None else found.sealed
        aad = installs.binding(after)
        plaintext = await self._means.cipher.open(after.tenant_id, after.sealed, aad=aad)
        return await self._means.cipher.seal(after.tenant_id, plaintext, aad=aad)

    async def failed(self, install: Install, reason: Reason) -> install_errors.InstallFailed:
        """Record that it came to nothing, and say so. A client that the service does not know is known no more. Raises
        InstallUsed."""
        await self.step(install, install_machine.fail(install, reason, at=self._means.clock.now()))
        if (forgotten := install.oauth_client_id) is not None and reason in _CLIENT_UNKNOWN:
            means = self._means
            await means.store.write(lambda tx: means.clients.forget(tx, install.tenant_id, forgotten))
        return install_errors.InstallFailed(install.connector_id, reason, issuer=install.issuer)

    async def failed_by(self, install: Install, error: InterlockError) -> install_errors.InstallFailed:
        """The same, of what an error means. Raises InstallUsed."""
        await self.failed(install, reason_of(error))
        detail = error.detail if isinstance(error, errors.GrantRefused) else error.message
        return install_errors.InstallFailed(install.connector_id, reason_of(error), detail, issuer=install.issuer)

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
            client=self.client(install, values),
            at=means.clock.now(),
            nonce=installs.new_token(means.random_bytes).reveal(),
        )

    def client(self, install: Install, given: Mapping[str, sdk.fill.Value]) -> Client | None:
        """The OAuth client: the one that was given with the fields, else the operator's."""
        return exchange.client_of(given) or exchange.meant(self._means.client(install.connector_id), given)

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
            errand = exchange.build(request, values, client=self.client(install, {**install.params, **secrets}))
            return await self._means.errands.send(errand, tenant_id=install.tenant_id, subject_id=install.install_id)
        except InterlockError as error:
            raise await self.failed_by(install, error) from error

    @asynccontextmanager
    async def or_given_back(self, install: Install, secrets: Mapping[str, Secret]) -> AsyncGenerator[None]:
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
