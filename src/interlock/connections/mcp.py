"""Settling how an install is authorized at an MCP server: who gives its tokens is asked for, and we get a client there."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias, TypeVar

from interlock import sdk
from interlock.connections import clients, discovery, errors, exchange, install_errors, install_machine, sealing
from interlock.connections.clients import OAuthClient, Registration
from interlock.connections.discovery import Server
from interlock.connections.exchange import Client, Errand
from interlock.connections.installs import INSTALL_LIFE, Install, Reason
from interlock.connections.ports import Standing
from interlock.connections.shapes import Answer
from interlock.connections.steps import Means
from interlock.kernel import Caller, Secret, Tx

_JSON: Final = (("accept", "application/json"),)
_OK, _NOT_FOUND = 200, 404

_T = TypeVar("_T")
_Send: TypeAlias = Callable[[Errand], Awaitable[Answer]]


async def settle(
    means: Means, install: Install, secrets: Mapping[str, Secret], *, redirect_uri: str
) -> tuple[Install, Mapping[str, Secret]]:
    """The install and its secrets, with all that its requests have to know (`discovery.settled`): as they are, unless the
    profile leaves that to the service. Nothing is written but a client that was registered.

    Raises GrantRefused, ErrandFailed, InstallFailed.
    """
    profile = await means.profile(install.tenant_id, install.connector_id, install.profile_id)
    grant, base_url = profile.grant, install.base_url or profile.base_url
    if not isinstance(grant, sdk.grants.McpOAuth):
        return install, secrets

    async def send(errand: Errand) -> Answer:
        return await means.errands.send(errand, tenant_id=install.tenant_id, subject_id=install.install_id)

    address = base_url if grant.resource is None else exchange.address(grant.resource, {"base_url": base_url})
    challenge = await _challenge(send, address)
    found = await _first(
        send,
        discovery.resource_documents(address, challenge),
        lambda told: discovery.read_resource(told, resource=address),
    )
    issuer = found.issuers[0]
    server = await _first(
        send, discovery.server_documents(issuer), lambda told: discovery.read_server(told, issuer=issuer)
    )
    scopes = install.scopes_asked or frozenset(discovery.challenged_scopes(challenge) or found.scopes)
    install = replace(install, scopes_asked=scopes)
    given = exchange.client_of({**install.params, **secrets})
    if (own := given or means.client(install.connector_id)) is not None:
        if given is None and own.issuer != server.issuer:  # whoever the service names would get to see our secret
            raise install_errors.InstallFailed(install.connector_id, Reason.UNCONFIRMED_ISSUER, issuer=server.issuer)
        way = discovery.way_of(server, own)
    elif grant.registration == "metadata" and server.takes_metadata and grant.client_metadata_url is not None:
        way = "none"
        install = _as_client(install, grant.client_metadata_url)
    elif grant.registration == "static":
        raise errors.GrantRefused("misconfigured", "the profile takes no client but the operator's, and there is none")
    else:
        client, registered = await _client(means, install, grant, server, send, redirect_uri=redirect_uri)
        way = registered.client_auth
        secrets = secrets if client.secret is None else {**secrets, "client_secret": client.secret}
        install = replace(_as_client(install, client.client_id), oauth_client_id=registered.oauth_client_id)
    facts = discovery.facts(server, resource=found.resource, client_auth=way)
    return replace(install, params={**install.params, **facts}), secrets


def _as_client(install: Install, client_id: str) -> Install:
    return replace(install, params={**install.params, "client_id": client_id})


async def _challenge(send: _Send, address: str) -> str | None:
    """What the resource says to whoever comes without a token."""
    try:
        told = await send(Errand(method="GET", url=discovery.web(address), headers=_JSON))
    except errors.ErrandFailed:
        return None  # the documents have well-known places, too
    return told.headers.get("www-authenticate") if told.status in (401, 403) else None


async def _first(send: _Send, places: Sequence[str], read: Callable[[Answer], _T]) -> _T:
    """What the first of the places says at which there is something. Raises GrantRefused, ErrandFailed."""
    problem: errors.GrantRefused | None = None
    for place in places:
        told = await send(Errand(method="GET", url=place, headers=_JSON))
        try:
            return read(told)
        except errors.GrantRefused as refused:
            if told.status == _OK:
                raise
            problem = problem if problem is not None and told.status == _NOT_FOUND else refused
    assert problem is not None
    raise problem


async def _client(
    means: Means,
    install: Install,
    grant: sdk.grants.McpOAuth,
    server: Server,
    send: _Send,
    *,
    redirect_uri: str,
) -> tuple[Client, OAuthClient]:
    """The tenant's client at that server, as it is kept: the one from before if it may be led back to `redirect_uri` and the
    server seems to know it, else a new one. Connections that were made with another one have it in their own keeping."""
    now = means.clock.now()
    known = await means.store.read(
        lambda tx: means.clients.find(tx, install.tenant_id, connector_id=install.connector_id, issuer=server.issuer)
    )
    lives = known is not None and (known.expires_at is None or known.expires_at > now + INSTALL_LIFE)
    if known is not None and lives and redirect_uri in known.redirect_uris and await _serves(means, install, known):
        return await _opened(means, known), known
    answered = await send(discovery.registration(grant, server, redirect_uri=redirect_uri))
    made = discovery.read_registration(answered)
    kept = OAuthClient(
        oauth_client_id=means.ids.new("ocl"),
        tenant_id=install.tenant_id,
        connector_id=install.connector_id,
        issuer=server.issuer,
        client_id=made.client.client_id,
        registration=Registration.DYNAMIC,
        client_auth=made.client_auth,
        redirect_uris=(redirect_uri,),
        sealed=None,
        fields=() if made.client.secret is None else ("client_secret",),
        expires_at=made.expires_at,
        created_at=now,
    )
    if made.client.secret is not None:
        packed = sealing.pack({"client_secret": made.client.secret})
        kept = replace(kept, sealed=await means.cipher.seal(kept.tenant_id, packed, aad=clients.binding(kept)))
    await means.store.write(lambda tx: means.clients.save(tx, kept))
    return made.client, kept


async def _serves(means: Means, install: Install, client: OAuthClient) -> bool:
    """Whether nothing speaks for it that the server has forgotten the client. It would tell the person that, on a page of its
    own, and us when a token is renewed."""
    now = means.clock.now()

    def look(tx: Tx) -> tuple[Install | None, Standing | None]:
        last = means.installs.find_last_of_client(tx, install.tenant_id, client.oauth_client_id, now=now)
        owner = Caller(tenant_id=install.tenant_id, actor=install.actor)
        return last, means.changing.look_up(tx, owner, install.connection_name)

    last, standing = await means.store.read(look)
    if last is not None and not install_machine.expire(last, at=now).was_answered:
        return False
    if standing is None or standing[0].reason != f"refresh_{Reason.INVALID_CLIENT}":
        return True
    return standing[0].params.get("client_id") != client.client_id


async def _opened(means: Means, client: OAuthClient) -> Client:
    if client.sealed is None:
        return Client(client_id=client.client_id)
    packed = await means.cipher.open(client.tenant_id, client.sealed, aad=clients.binding(client))
    return Client(client_id=client.client_id, secret=sealing.unpack_all(packed)["client_secret"])
