"""From a code, or from what was given, to a credential that is proven to work."""

from collections.abc import Mapping
from typing import Final

import anyio

from interlock import sdk
from interlock.connections import (
    errors,
    fields,
    install_machine,
    obtaining,
)
from interlock.connections.answer import Tokens
from interlock.connections.exchange import Errand
from interlock.connections.installs import Flow, Found, Install
from interlock.connections.probing import Probed, probe
from interlock.connections.shapes import Answer
from interlock.connections.steps import Means, Steps
from interlock.kernel import InterlockError, Retry, Secret

_NOT_YET: Final = frozenset({"authorization_pending", "slow_down", "temporarily_unavailable"})


class Proving:
    """Carries installs from their exchange to a credential that the service takes."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._steps = Steps(means)

    async def prove(self, install: Install, profile: sdk.AuthProfile, more: Mapping[str, sdk.fill.Value]) -> Install:
        """Begin the exchange of an install, fetch the tokens, and ask the service whose they are. Once begun, it is carried to
        its end although the caller gives up: what came back must not be lost without a trace.

        Raises InstallEnded, InstallUsed, InstallFailed, and for a device that waits on ErrandFailed and GrantRefused.
        """
        proven: list[Install] = []
        with anyio.CancelScope(shield=True):
            begun = install_machine.begin_exchange(install, at=self._means.clock.now())
            proven.append(await self._prove(await self._steps.step(install, begun), profile, more))
        return proven[0]

    async def _prove(self, install: Install, profile: sdk.AuthProfile, more: Mapping[str, sdk.fill.Value]) -> Install:
        means, at = self._means, self._means.clock.now()

        async def send(errand: Errand) -> Answer:
            return await means.errands.send(errand, tenant_id=install.tenant_id, subject_id=install.install_id)

        try:
            secrets = await self._steps.secrets(install)
            values = {**self._steps.known(install, profile, secrets), **more}
            client = self._steps.client(install, {**install.params, **secrets})
            run = means.program(install.connector_id, install.tenant_id)
            tokens = await obtaining.obtain(profile, values, client=client, send=send, run=run, at=at)
            kept = {name: secret for name, secret in secrets.items() if name in profile.secret_fields}
            async with self._steps.or_given_back(install, {**kept, **tokens.secrets()}):
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
            raise await self._steps.failed_by(install, refused) from refused
        except InterlockError as error:
            passing = isinstance(error, errors.ErrandFailed) and error.retry is Retry.LATER
            if install.flow is Flow.DEVICE and passing:
                await self._wait_longer(install)
                raise
            raise await self._steps.failed_by(install, error) from error
        async with self._steps.or_given_back(install, sealable):
            return await self._proven(install, tokens, sealable, probed)

    async def _wait_longer(self, install: Install) -> Install:
        return await self._steps.step(install, install_machine.wait_longer(install, at=self._means.clock.now()))

    async def _proven(
        self, install: Install, tokens: Tokens, sealable: Mapping[str, Secret], probed: Probed
    ) -> Install:
        # The service's word when it is asked counts most.
        stated = tokens.scopes if probed.scopes is None else probed.scopes
        found = Found(
            subject=probed.subject,
            # Nothing said of them is all that was asked for (RFC 6749 §5.1).
            scopes=install.scopes_asked if stated is None else stated,
            expires_at=tokens.expires_at or probed.expires_at,
        )
        holds = await self._steps.sealed(install, sealable)
        assert holds.sealed is not None
        return await self._steps.step(
            install, install_machine.prove(install, found, holds.sealed, at=self._means.clock.now())
        )
