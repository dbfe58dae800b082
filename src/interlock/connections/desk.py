"""Where accounts are connected by a grant: an install is begun, carried through the service's own pages or a request, and ends
as a connection, or as nothing."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from interlock import sdk
from interlock.connections import (
    answer,
    callback,
    errors,
    exchange,
    fields,
    install_errors,
    install_machine,
    installs,
    mcp,
    returned,
)
from interlock.connections.answer import Codes
from interlock.connections.completing import Completing
from interlock.connections.grant import TokenGrant
from interlock.connections.installs import INSTALL_LIFE, Flow, Install, InstallState, Reason
from interlock.connections.model import Connection, State
from interlock.connections.proving import Proving
from interlock.connections.steps import Means, Steps
from interlock.kernel import Caller, InterlockError, Secret, Tx

MAX_PAGE = 500

_Browsers = sdk.grants.AuthorizationCode | sdk.grants.GithubApp
"""The grants that are begun in a browser."""


class Begun(NamedTuple):
    """An install, and the token that leads to it for who is to go on with it: put it into a link, and nowhere else."""

    install: Install
    link: Secret


class Invitation(NamedTuple):
    """Where somebody else goes on with an install: whoever has the address may."""

    install_id: str
    url: Secret
    expires_at: datetime


class Desk:
    """Carries installs through. Whoever calls knows the person: by their tenant (`begin`, `fetch`, `cancel`), by the link, or by
    the cookie of the browser in which they began. Everything raises StoreError besides what it names."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._steps, self._proving, self._completing = Steps(means), Proving(means), Completing(means)

    async def begin(
        self,
        caller: Caller,
        *,
        connector_id: str,
        profile_id: str,
        name: str | None = None,
        base_url: str | None = None,
        given: Mapping[str, str | Secret] | None = None,
        scopes: AbstractSet[str] | None = None,
    ) -> Begun:
        """Begin to connect a service, or, if the name is taken by a connection of it, to give that one a new credential. It
        changes nothing else until it is completed, and expires after INSTALL_LIFE.

        Raises InvalidGrant, NameTaken, InstallUnsupported, OAuthClientMissing.
        """
        means, now = self._means, self._means.clock.now()
        profile = await means.profile(caller.tenant_id, connector_id, profile_id)
        flow = flow_of(profile.grant)
        asked = frozenset(profile.scopes_offered if scopes is None else scopes)
        values = fields.checked(profile, given or {}, connector_id=connector_id)
        self._check_means(caller, connector_id, profile, values)
        told = TokenGrant(
            connector_id=connector_id,
            profile_id=profile_id,
            fields=(),
            secrets={},
            name=name,
            scopes=asked,
            base_url=base_url or exchange.service(profile, values),
        ).checked(now)
        standing = await self._steps.find(caller, told.connection_name)
        link = installs.new_token(means.random_bytes)
        install = Install(
            install_id=means.ids.new("ins"),
            tenant_id=caller.tenant_id,
            connector_id=connector_id,
            profile_id=profile_id,
            connection_name=told.connection_name,
            connection_id=None if standing is None else standing.connection_id,
            actor=caller.actor,
            flow=flow,
            state=InstallState.INSTALLING,
            base_url=_address(standing, told),
            params={field: value for field, value in values.items() if isinstance(value, str)},
            scopes_asked=asked,
            link_digest=installs.token_digest(link),
            expires_at=now + INSTALL_LIFE,
            created_at=now,
            updated_at=now,
        )
        secrets = {field: value for field, value in values.items() if isinstance(value, Secret)}
        install = await self._steps.sealed(install, secrets)
        await means.store.write(lambda tx: means.installs.insert(tx, install))
        return Begun(install, link)

    def _check_means(
        self, caller: Caller, connector_id: str, profile: sdk.AuthProfile, values: sdk.fill.Values
    ) -> None:
        """Whether the operator has given what the profile takes besides. Raises InstallUnsupported, OAuthClientMissing."""
        known = exchange.client_of(values) is not None or self._is_known(connector_id)
        if not known and exchange.needs_client(profile.grant):
            raise install_errors.OAuthClientMissing(connector_id)
        if profile.grant.type == "native_cli" and self._means.program(connector_id, caller.tenant_id) is None:
            raise install_errors.InstallUnsupported(
                f"{connector_id} may run no program here: name it in `connectors.programs` of this tenant's settings"
            )

    def _is_known(self, connector_id: str) -> bool:
        try:
            return self._means.client(connector_id) is not None
        except InterlockError:
            return True  # there is one, whose secret only those may have who carry the install on

    async def find_by_link(self, link: Secret) -> Install:
        """The install that the link leads to. Raises InstallNotFound, InstallEnded."""
        digest = installs.token_digest(link)
        return await self._open(lambda tx: self._means.installs.find_by_link(tx, digest), "this link")

    async def find_by_browser(self, install_id: str, *, browser: Secret | None) -> Install:
        """The install as it stands now, also when it has ended, for the browser in which it was begun. Raises InstallNotFound."""
        means = self._means
        digest = "" if browser is None else installs.token_digest(browser)
        found = await means.store.read(lambda tx: means.installs.find_by_browser(tx, install_id, digest))
        if found is None:
            raise install_errors.InstallNotFound("this browser began no such install")
        return install_machine.expire(found, at=means.clock.now())

    def new_browser(self) -> Secret:
        """A token for the cookie of a browser that has none: 256 bits of chance."""
        return installs.new_token(self._means.random_bytes)

    async def fetch(self, caller: Caller, install_id: str) -> Install:
        """The tenant's install, as it stands now. Raises InstallNotFound."""
        means = self._means
        found = await means.store.read(lambda tx: means.installs.find(tx, caller.tenant_id, install_id))
        if found is None:
            raise install_errors.InstallNotFound(f"no install {install_id[:60]!r} in this tenant")
        return install_machine.expire(found, at=means.clock.now())

    async def list_installs(self, caller: Caller, *, cursor: str | None = None, limit: int = 100) -> Sequence[Install]:
        """The tenant's installs, newest first; go on with `cursor` = the last install id."""
        means, size = self._means, max(1, min(limit, MAX_PAGE))
        found = await means.store.read(
            lambda tx: means.installs.list_installs(tx, caller.tenant_id, cursor=cursor, limit=size)
        )
        return [install_machine.expire(each, at=means.clock.now()) for each in found]

    async def authorize(self, install: Install, *, browser: Secret, redirect_uri: str) -> str:
        """The address to send this browser to. The install is bound to the browser's cookie, to a state of its own, and to the
        exact address at which the callback will be taken.

        Raises InstallEnded, InstallUsed, InstallFailed.
        """
        means = self._means
        install_machine.check_open(install, now=means.clock.now())
        install_machine.check_unbegun(install)
        state = installs.new_token(means.random_bytes)
        verifier = callback.verifier(means.random_bytes(callback.VERIFIER_BYTES))
        secrets = await self._steps.secrets(install)
        try:
            settled, secrets = await mcp.settle(means, install, secrets, redirect_uri=redirect_uri)
            profile = await self._steps.profile(settled)
            grant = profile.grant
            if not isinstance(grant, _Browsers):
                raise install_errors.InstallUsed(f"install {install.install_id} needs no browser")
            texts = {
                "state": state.reveal(),
                "redirect_uri": redirect_uri,
                "code_challenge": callback.challenge(verifier),
                **_scope(grant, settled),
            }
            url = exchange.authorization_url(grant, {**self._steps.known(settled, profile, secrets), **texts})
        except (errors.GrantRefused, errors.ErrandFailed) as error:
            raise await self._steps.failed_by(install, error) from error
        except install_errors.InstallFailed as error:
            raise await self._steps.failed(replace(install, issuer=error.issuer), error.reason) from error
        holds = await self._steps.sealed(settled, {**secrets, "code_verifier": verifier})
        assert holds.sealed is not None
        await self._steps.step(
            install,
            install_machine.await_callback(
                settled,
                state_digest=installs.token_digest(state),
                browser_digest=installs.token_digest(browser),
                redirect_uri=redirect_uri,
                issuer=grant.issuer if isinstance(grant, sdk.grants.AuthorizationCode) else None,
                sealed=holds.sealed,
                at=means.clock.now(),
            ),
        )
        return url

    async def take_callback(self, query: str, *, browser: Secret | None, redirect_uri: str) -> Install:
        """What the browser came back with: its query, the cookie that it showed, and the address at which it came. The code is
        sent once, and its credential is proven; `complete` then makes the connection.

        Raises InstallNotFound, InstallEnded, InstallUsed, CallbackRefused, InstallFailed.
        """
        told = returned.parse(query)
        digest = installs.token_digest(told.state)
        install = await self._open(lambda tx: self._means.installs.find_by_state(tx, digest), "this state")
        install_machine.check_callback(
            install,
            browser_digest=None if browser is None else installs.token_digest(browser),
            redirect_uri=redirect_uri,
            now=self._means.clock.now(),
        )
        profile = await self._steps.profile(install)
        grant = profile.grant
        if not isinstance(grant, _Browsers):
            raise await self._steps.failed(install, Reason.PROFILE_CHANGED)
        app = isinstance(grant, sdk.grants.GithubApp)
        required = not app and grant.iss_required
        reason = returned.refusal(told, issuer=install.issuer, iss_required=required, app=app)
        if reason is not None:
            raise await self._steps.failed(install, reason)
        assert told.code is not None
        if told.installation_id is not None and app:
            install = replace(install, params={**install.params, "installation_id": told.installation_id})
        more = {"code": told.code, "redirect_uri": redirect_uri}
        return await self._proving.prove(install, profile, more)

    async def start_device(self, install: Install) -> Codes:
        """Ask for the codes that a person types elsewhere. Raises InstallEnded, InstallUsed, InstallFailed."""
        profile = await self._steps.profile(install)
        grant = profile.grant
        if not isinstance(grant, sdk.grants.Device):
            raise install_errors.InstallUsed(f"install {install.install_id} needs no second device")
        secrets = await self._steps.secrets(install)
        started = await self._steps.ask(
            install, profile, sdk.grants.exchanges(grant)["start"], {**secrets, **_scope(grant, install)}
        )
        try:
            codes = answer.read_codes(grant, started)
        except errors.GrantRefused as refused:
            raise await self._steps.failed_by(install, refused) from refused
        sealed = await self._steps.sealed(install, {**secrets, "device_code": codes.device_code})
        assert sealed.sealed is not None
        waiting = install_machine.await_callback(
            install,
            state_digest=None,
            browser_digest=None,
            redirect_uri=None,
            issuer=None,
            sealed=sealed.sealed,
            at=self._means.clock.now(),
        )
        await self._steps.step(install, replace(waiting, expires_at=min(waiting.expires_at, codes.expires_at)))
        return codes

    async def poll_device(self, caller: Caller, install_id: str) -> Install:
        """Ask whether the code was typed: the install is proven then, and waits on otherwise. Ask again after the interval.

        Raises InstallNotFound, InstallEnded, InstallUsed and InstallFailed. It waits on after ErrandFailed and GrantRefused,
        too (RFC 8628 §3.5): from `slow_down` on, ask 5 s later each time; there was no answer, or none for now.
        """
        install = await self.fetch(caller, install_id)
        if install.flow is not Flow.DEVICE:
            raise install_errors.InstallUsed(f"install {install.install_id} needs no second device")
        profile = await self._steps.profile(install)
        return await self._proving.prove(install, profile, {})

    async def obtain(self, install: Install) -> Install:
        """Fetch and prove the credential of an install that needs nobody. Raises InstallEnded, InstallUsed, InstallFailed."""
        if install.flow is not Flow.AUTOMATIC:
            raise install_errors.InstallUsed(f"install {install.install_id} is carried on by a person")
        profile = await self._steps.profile(install)
        return await self._proving.prove(install, profile, _scope(profile.grant, install))

    async def complete(self, install: Install, *, browser: Secret | None = None) -> Connection:
        """Make the connection of a proven install, once whoever is asked has seen whose account it is. One that was begun in a
        browser is completed there.

        Raises InstallEnded, InstallUsed, CallbackRefused, InstallFailed, ConnectionChanged.
        """
        if install.browser_digest is not None and (
            browser is None or installs.token_digest(browser) != install.browser_digest
        ):
            raise install_errors.CallbackRefused("this browser did not begin the install that it wants to complete")
        return await self._completing.complete(install)

    async def cancel(self, install: Install) -> Install:
        """End it. One that has ended stays as it is. Raises InstallUsed if it was changed meanwhile."""
        cancelled = install_machine.cancel(install, at=self._means.clock.now())
        if cancelled is install:
            return install
        secrets = await self._steps.secrets(install) if install.state is InstallState.PROVEN else {}
        after = await self._steps.step(install, cancelled)
        if secrets:
            await self._steps.give_back(install, secrets)
        return after

    async def _open(self, find: Callable[[Tx], Install | None], what: str) -> Install:
        found = await self._means.store.read(find)
        if found is None:
            raise install_errors.InstallNotFound(f"{what} belongs to no install")
        install_machine.check_open(found, now=self._means.clock.now())
        return found


def _address(standing: Connection | None, told: TokenGrant) -> str | None:
    """Where the service is: at the address of the connection that keeps its account, unless another one is named. Raises
    NameTaken."""
    if standing is not None and standing.connector_id != told.connector_id:
        raise errors.NameTaken(f"the name {standing.name!r} belongs to a connection for {standing.connector_id!r}")
    if standing is None or standing.state is State.REVOKED:
        return told.base_url
    return told.base_url or standing.base_url


def flow_of(grant: sdk.grants.Grant) -> Flow:
    """How tokens of this grant are come by. Raises InstallUnsupported where nothing is to be fetched, or not by us."""
    match grant.type:
        case "authorization_code" | "mcp":
            return Flow.AUTHORIZATION_CODE
        case "device":
            return Flow.DEVICE
        case "github_app":
            return Flow.AUTOMATIC if grant.install_url is None else Flow.AUTHORIZATION_CODE
        case "client_credentials" | "jwt_bearer" | "native_cli" | "exchange" | "session":
            return Flow.AUTOMATIC
        case "none" | "manual":
            raise install_errors.InstallUnsupported(
                f"a profile of the grant {grant.type!r} is not connected by an install"
            )


def _scope(grant: sdk.grants.Grant, install: Install) -> dict[str, str]:
    """The scopes that are asked for, as the grant writes them."""
    separator = getattr(grant, "scope_separator", " ")
    return {"scope": separator.join(sorted(install.scopes_asked))} if install.scopes_asked else {}
