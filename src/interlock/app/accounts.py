"""The connections of a tenant as one caller sees them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from interlock.app.arguments import checked
from interlock.app.installing import Installs
from interlock.app.leasing import Leases
from interlock.kernel import Caller, RequestError, Secret, Tx

if TYPE_CHECKING:  # and late in the functions: a command that only looks capabilities up needs none of them
    from interlock import connections, sdk
    from interlock.app.assembly import Parts


class Connections:
    """`il.connections`: this tenant's accounts at services; `installs` are those that are being connected, `leases` let a
    program use one for a short time."""

    def __init__(self, parts: "Parts", caller: Caller, *, operator: bool) -> None:
        self._parts = parts
        self._caller = caller
        self._operator = operator
        self.installs = Installs(parts, caller)
        self.leases = Leases(parts, caller)

    @checked
    async def connect_token(
        self,
        connector: str,
        token: str | Secret | Mapping[str, str | Secret],
        *,
        profile: str | None = None,
        name: str | None = None,
        base_url: str | None = None,
        scopes: Sequence[str] | None = None,
        expires_at: datetime | None = None,
        overlap: float = 0,
    ) -> "connections.Connection":
        """Connect a service with a token, or with what else its auth profile asks for (the first that a person gives at once, if
        none is named), after asking the service whose it is.

        The same name again gives the connection a new credential version; calls at work go on with the old one for `overlap`
        seconds, at most 300, and it is erased then. `scopes` are those that the service grants
        where it does not tell itself; from `expires_at` on, or earlier if the service says so, the connection serves no call
        until it is given a new token. Raises catalog.UnknownConnector, catalog.ConnectorBroken, ProbeFailed, InvalidGrant,
        NameTaken, SubjectMismatch, ServiceMismatch.
        """
        manifest, chosen = await self._way(connector, profile)
        given = self._given(chosen, token)
        return await self._connect(
            manifest, chosen, given, name, base_url, scopes, expires_at=expires_at, overlap=overlap
        )

    @checked
    async def connect_from(
        self,
        connector: str,
        source: str | Mapping[str, str],
        *,
        params: Mapping[str, str] | None = None,
        profile: str | None = None,
        name: str | None = None,
        base_url: str | None = None,
        scopes: Sequence[str] | None = None,
    ) -> "connections.Connection":
        """Connect a service with a secret that stays where it is, and is read there whenever it is needed: `env:NAME`,
        `file:/PATH`, `command:PROGRAM ARGUMENT …`, `keyring:SERVICE/USER`, `vault:MOUNT/PATH#FIELD` or `aws:NAME#FIELD`; a
        mapping by field for several, of one kind. `params` are the profile's fields that are no secrets; the first profile that a
        person gives at once is taken, if none is named. Whoever may call this
        can run programs and read files as this process does, so it is not for those that Interlock acts for (`as_caller`).

        Raises as `connect_token`, and SecretUnavailable, SecretExposed.
        """
        if not self._operator:
            raise RequestError(
                "places of secrets are named by whoever opened Interlock, and not by somebody that it acts for",
                next_step="Give the secret itself, or open Interlock for their tenant: `tenant` of the settings, `--tenant`.",
            )
        manifest, chosen = await self._way(connector, profile)
        sourcing = _sourcing(chosen, source, params or {})
        secrets = await self._parts.wiring.connections.sources.read(sourcing, tenant_id=self._caller.tenant_id)
        given = {**sourcing.params, **{field: secrets[field] for field in sourcing.places}}
        return await self._connect(manifest, chosen, given, name, base_url, scopes, sourcing=sourcing)

    async def _connect(
        self,
        manifest: "sdk.Manifest",
        profile: "sdk.AuthProfile",
        given: Mapping[str, str | Secret],
        name: str | None,
        base_url: str | None,
        scopes: Sequence[str] | None,
        *,
        expires_at: datetime | None = None,
        sourcing: "connections.sources.Sourcing | None" = None,
        overlap: float = 0,
    ) -> "connections.Connection":
        from interlock import connections, sdk

        if (refusal := self._parts.store.refusal) is not None:
            raise refusal  # before the service is asked
        connector = manifest.connector_id
        values = connections.fields.checked(profile, given, connector_id=connector)
        secrets = connections.fields.sealed(profile, values)
        wiring = self._parts.wiring
        grant = connections.TokenGrant(
            connector_id=connector,
            profile_id=profile.profile_id,
            fields=tuple(secrets),
            secrets=secrets,
            name=name,
            subject=None,
            scopes=frozenset(scopes or profile.scopes_offered),
            base_url=base_url or connections.service(profile, values),
            expires_at=expires_at,
            sourcing=sourcing,
            plain=profile.plain_fields,
            overlap=timedelta(seconds=overlap),
        ).checked(wiring.clock.now(), by=self._caller.actor)
        told = await self._proved(profile, grant)

        def hold(tx: Tx, _before: "connections.Connection | None") -> None:
            self._parts.providers.hold(tx, self._caller.tenant_id, manifest)

        provided = connector.startswith(sdk.PROVIDER_PREFIX)
        return await self._parts.revoking.connect_token(self._caller, told, look=hold if provided else None)

    async def _proved(self, profile: "sdk.AuthProfile", grant: "connections.TokenGrant") -> "connections.TokenGrant":
        """The grant, with what the service says of it. Raises ProbeFailed."""
        from interlock import connections

        probed = await connections.probe(
            profile,
            grant.secrets,
            base_url=grant.base_url or profile.base_url,
            tenant_id=self._caller.tenant_id,
            errands=self._parts.errands,
        )
        ends = [end for end in (grant.expires_at, probed.expires_at) if end is not None]
        return replace(
            grant,
            subject=probed.subject,
            scopes=grant.scopes if probed.scopes is None else probed.scopes,
            # A place of its own may hold another secret by then.
            expires_at=min(ends, default=None) if grant.sourcing is None else None,
        )

    @checked
    async def list(
        self, *, connector: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> "Sequence[connections.Connection]":
        """Connections of this tenant, newest first."""
        return await self._parts.wiring.connections.list_connections(
            self._caller, connector_id=connector, cursor=cursor, limit=limit
        )

    @checked
    async def fetch(self, ref: str) -> "connections.Connection":
        """One connection by id or name. Raises ConnectionNotFound."""
        return await self._parts.wiring.connections.fetch_connection(self._caller, ref)

    @checked
    async def revoke(self, ref: str, *, reason: str = "", at_provider: bool = True) -> "connections.Connection":
        """Wipe every credential version and end every lease; then have the service end the tokens, where the profile says how,
        unless that is not wanted. The last event tells what came of that (`provider_revoked`, `provider_revoke_failed`).
        Raises ConnectionNotFound."""
        return await self._parts.revoking.revoke(self._caller, ref, reason, at_provider=at_provider)

    @checked
    async def refresh(self, ref: str) -> "connections.Connection":
        """Renew the credential now, if that takes no person. The connection says whether it did (`refreshed_at`, `state`,
        `reason`). Raises ConnectionNotFound, ConnectionChanged."""
        return await self._parts.refreshing.refresh(self._caller, ref)

    @checked
    async def check(self, ref: str) -> "connections.Checked":
        """Ask the service whether it takes the credential, whose it is and what it may do: the connection then says so. Raises
        ConnectionNotFound, ConnectionChanged, catalog.UnknownConnector."""
        return await self._parts.checking.check(self._caller, ref)

    @checked
    async def check_all(self) -> "Sequence[connections.Checked]":
        """Check all connections of this tenant, newest first."""
        return await self._parts.checking.check_all(self._caller)

    @checked
    async def events(
        self, ref: str, *, after_seq: int = 0, limit: int = 500
    ) -> "Sequence[connections.ConnectionEvent]":
        """What happened to a connection, in order; go on with `after_seq` = the last event's. Raises ConnectionNotFound."""
        return await self._parts.wiring.connections.list_events(self._caller, ref, after_seq=after_seq, limit=limit)

    async def _way(self, connector: str, named: str | None = None) -> "tuple[sdk.Manifest, sdk.AuthProfile]":
        """The connector, and how a person connects it by hand."""
        known = self._parts.wiring.catalog
        manifest = await known.fetch_connector_for(self._caller.tenant_id, connector)
        manual = [each for each in manifest.auth if each.grant.type == "manual" and named in (None, each.profile_id)]
        profile = next(iter(manual), None)
        if profile is None:
            raise RequestError(
                f"{connector} does not connect by token" + ("" if named is None else f" by {named[:60]!r}")
            )
        return manifest, profile

    def _given(
        self, profile: "sdk.AuthProfile", token: str | Secret | Mapping[str, str | Secret]
    ) -> Mapping[str, str | Secret]:
        from interlock import connections

        if isinstance(token, Mapping):
            return token
        field = connections.fields.only_field(profile)
        if field is None:
            names = ", ".join(each.name for each in profile.fields)
            raise RequestError(f"{profile.profile_id} takes several fields, as a mapping: {names}")
        return {field: token}


def _sourcing(
    profile: "sdk.AuthProfile", source: str | Mapping[str, str], params: Mapping[str, str]
) -> "connections.sources.Sourcing":
    """What was said of where the secrets are. Raises RequestError."""
    from interlock import connections

    said = [source] if isinstance(source, str) else [f"{field}={place}" for field, place in source.items()]
    secret = profile.secret_fields
    if hidden := [name for name in params if name in secret]:
        raise RequestError(f"{hidden[0]!r} is a secret: say where it is, and all secrets in places of one kind")
    kinds: set[connections.SourceKind] = set()
    places: dict[str, str] = {}
    for each in said:
        try:
            field, kind, place = connections.sources.parse(each)
        except ValueError as error:
            raise RequestError(str(error)) from error
        field = secret[0] if field is None and len(secret) == 1 else field
        if field is None or field not in secret:
            raise RequestError(
                f"{profile.profile_id} has these secret fields; name one as FIELD=…: {', '.join(secret)}"
            )
        kinds.add(kind)
        places[field] = place
    if len(kinds) != 1:
        raise RequestError("all secrets of a connection are in places of one kind")
    kept = dict(profile.derive)
    return connections.sources.Sourcing(kind=kinds.pop(), places=places, params=params, derive=kept)
