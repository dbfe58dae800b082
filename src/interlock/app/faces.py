"""The rooms as one caller sees them."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from interlock.app.arguments import checked
from interlock.app.installing import Installs
from interlock.app.leasing import Leases
from interlock.kernel import JSON, Caller, RequestError, Retry, Secret

if TYPE_CHECKING:  # and late in the functions: a command that only looks capabilities up needs none of them
    from interlock import approvals, connections, runs, sdk
    from interlock.app.assembly import Parts


class UnknownTarget(RequestError):
    """No target of this class is there; `details.known` has those that are."""

    code = "unknown_target"
    next_step = "Name a class that the message lists, or none: then the effect is carried out from here."

    def __init__(self, target: str, known: Collection[str]) -> None:
        shown, names = target[:60], sorted(known)
        near = difflib.get_close_matches(shown, names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        super().__init__(
            f"there is no target class {shown!r}; {hint}there are: {', '.join(names)}",
            details={"target": shown, "known": names},
        )


class Closed(RequestError):
    """What was opened has been closed."""

    code = "closed"
    retry = Retry.NEVER
    next_step = "Use it inside its `with` block, or open it again."


class Runs:
    """`il.runs`: what happened, and what a person can do about it."""

    def __init__(self, parts: "Parts", caller: Caller) -> None:
        self._parts = parts
        self._caller = caller

    @checked
    async def fetch(self, run_id: str) -> "runs.Run":
        """One run. Raises RunNotFound."""
        return await self._parts.reading.fetch(self._caller, run_id)

    @checked
    async def list(
        self,
        *,
        states: "Sequence[runs.State]" = (),
        capability: str | None = None,
        connection_id: str | None = None,
        actor: str | None = None,
        trace_id: str | None = None,
        parent_run_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> "Sequence[runs.Listed]":
        """Runs of this tenant, newest first, without their inputs; go on with `cursor` = the last run id. They were asked for
        at `since` or later, and before `until`."""
        from interlock import runs

        query = runs.RunFilter(
            tenant_id=self._caller.tenant_id,
            states=tuple(states),
            capability=capability,
            connection_id=connection_id,
            actor=actor,
            trace_id=trace_id,
            parent_run_id=parent_run_id,
            since=since,
            until=until,
            cursor=cursor,
            limit=limit,
        )
        return await self._parts.reading.list_runs(query)

    @checked
    async def history(self, run_id: str) -> "runs.History":
        """One run with attempts, sends, decisions, artifacts and approvals. Raises RunNotFound."""
        return await self._parts.reading.fetch_history(self._caller, run_id)

    @checked
    async def events(self, run_id: str, *, after_seq: int = 0, limit: int = 1000) -> "Sequence[runs.Event]":
        """A run's events in order. Raises RunNotFound."""
        return await self._parts.reading.list_events(self._caller, run_id, after_seq=after_seq, limit=limit)

    @checked
    async def outcome(self, run_id: str) -> "runs.Outcome":
        """How a run stands, as `invoke` would have told. Raises RunNotFound and what the run failed with."""
        return await self._parts.reading.outcome(await self.fetch(run_id))

    @checked
    async def artifact(self, artifact_id: str) -> "tuple[runs.Artifact, bytes]":
        """An artifact with its content. Raises ArtifactNotFound, ArtifactDamaged."""
        return await self._parts.reading.fetch_artifact(self._caller, artifact_id)

    @checked
    async def cancel(self, run_id: str, *, reason: str = "") -> "runs.Run":
        """Stop a run; one that is at work stops before its next send. Raises RunNotFound, NotCancellable."""
        reason = await _recordable(self._parts, self._caller, run_id, reason)
        return await self._parts.steering.cancel(self._caller, run_id, reason=reason)

    @checked
    async def settle(self, run_id: str, *, seen: "runs.Seen | None" = None, note: str = "") -> "runs.Run":
        """Settle a run of unknown outcome: by what a person saw, or by reading once more. Raises RunNotFound,
        RunNotWaiting, UnknownOutcome."""
        note = await _recordable(self._parts, self._caller, run_id, note)
        return await self._parts.steering.settle(self._caller, run_id, seen=seen, note=note)

    @checked
    async def recover(self) -> "Sequence[runs.Recovered]":
        """Take over what dead processes left, now. An open Interlock does so by itself from time to time."""
        return await self._parts.recovery.recover()

    @checked
    async def packet(self, run_id: str) -> bytes:
        """The run's signed review packet, for `verify`. Raises RunNotFound."""
        return await self._parts.reading.export(self._caller, run_id)


class Approvals:
    """`il.approvals`: the questions that policy put to people."""

    def __init__(self, parts: "Parts", caller: Caller) -> None:
        self._parts = parts
        self._caller = caller

    @checked
    async def list(
        self, *, states: "Sequence[approvals.State]" = (), cursor: str | None = None, limit: int = 50
    ) -> "Sequence[approvals.Approval]":
        """Approvals of this tenant, newest first; go on with `cursor` = the last approval id."""
        return await self._parts.wiring.approvals.list_approvals(
            self._caller, states=tuple(states), cursor=cursor, limit=limit
        )

    @checked
    async def fetch(self, approval_id: str) -> "approvals.Approval":
        """One approval. Raises ApprovalNotFound."""
        return await self._parts.wiring.approvals.fetch_approval(self._caller, approval_id)

    @checked
    async def approve(
        self, approval_id: str, *, edited_input: Mapping[str, JSON] | None = None
    ) -> "approvals.Approval":
        """Say yes, perhaps to an edited input. `execute` then does it. Raises RoleMissing, SelfReview, AlreadyDecided,
        ApprovalExpired, InvalidEdit, catalog.InvalidInput."""
        return await self._parts.holding.approve(self._caller, approval_id, edited_input=edited_input)

    @checked
    async def execute(self, approval_id: str) -> "runs.Outcome":
        """Execute the held run of an approval that was given, spending it. Raises RunNotHeld, and as `invoke`."""
        approval = await self.fetch(approval_id)
        if approval.run_id is None:
            raise RequestError(f"{approval_id} holds no run; it is spent by whoever asked for it")
        return await self._parts.holding.execute(self._caller, approval.run_id)

    @checked
    async def deny(self, approval_id: str, *, reason: str) -> "approvals.Approval":
        """Say no; the held run is denied for good. Raises as `approve`, and RequestError without a reason."""
        if not reason.strip():
            raise RequestError("a denial needs a reason: the requester and the record will see it")
        run_id = (await self.fetch(approval_id)).run_id
        reason = reason if run_id is None else await _recordable(self._parts, self._caller, run_id, reason)
        return await self._parts.holding.deny(self._caller, approval_id, reason=reason)


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
        chosen = await self._profile(connector, profile)
        given = self._given(chosen, token)
        return await self._connect(
            chosen, connector, given, name, base_url, scopes, expires_at=expires_at, overlap=overlap
        )

    @checked
    async def connect_from(
        self,
        connector: str,
        source: str | Mapping[str, str],
        *,
        params: Mapping[str, str] | None = None,
        name: str | None = None,
        base_url: str | None = None,
        scopes: Sequence[str] | None = None,
    ) -> "connections.Connection":
        """Connect a service with a secret that stays where it is, and is read there whenever it is needed: `env:NAME`,
        `file:/PATH`, `command:PROGRAM ARGUMENT …`, `keyring:SERVICE/USER`, `vault:MOUNT/PATH#FIELD` or `aws:NAME#FIELD`; a
        mapping by field for several, of one kind. `params` are the profile's fields that are no secrets. Whoever may call this
        can run programs and read files as this process does, so it is not for those that Interlock acts for (`as_caller`).

        Raises as `connect_token`, and SecretUnavailable, SecretExposed.
        """
        if not self._operator:
            raise RequestError(
                "places of secrets are named by whoever opened Interlock, and not by somebody that it acts for",
                next_step="Give the secret itself, or open Interlock for their tenant: `tenant` of the settings, `--tenant`.",
            )
        profile = await self._profile(connector)
        sourcing = _sourcing(profile, source, params or {})
        secrets = await self._parts.wiring.connections.sources.read(sourcing, tenant_id=self._caller.tenant_id)
        given = {**sourcing.params, **{field: secrets[field] for field in sourcing.places}}
        return await self._connect(profile, connector, given, name, base_url, scopes, sourcing=sourcing)

    async def _connect(
        self,
        profile: "sdk.AuthProfile",
        connector: str,
        given: Mapping[str, str | Secret],
        name: str | None,
        base_url: str | None,
        scopes: Sequence[str] | None,
        *,
        expires_at: datetime | None = None,
        sourcing: "connections.sources.Sourcing | None" = None,
        overlap: float = 0,
    ) -> "connections.Connection":
        from interlock import connections

        if (refusal := self._parts.store.refusal) is not None:
            raise refusal  # before the service is asked
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
            overlap=timedelta(seconds=overlap),
        ).checked(wiring.clock.now(), by=self._caller.actor)
        probed = await connections.probe(
            profile,
            secrets,
            base_url=grant.base_url or profile.base_url,
            tenant_id=self._caller.tenant_id,
            errands=self._parts.errands,
        )
        ends = [end for end in (expires_at, probed.expires_at) if end is not None]
        told = replace(
            grant,
            subject=probed.subject,
            scopes=grant.scopes if probed.scopes is None else probed.scopes,
            # A place of its own may hold another secret by then.
            expires_at=min(ends, default=None) if sourcing is None else None,
        )
        return await wiring.connections.connect_token(self._caller, told)

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

    async def _profile(self, connector: str, named: str | None = None) -> "sdk.AuthProfile":
        known = self._parts.wiring.catalog
        manifest = await known.fetch_connector_for(self._caller.tenant_id, connector)
        manual = [each for each in manifest.auth if each.grant.type == "manual" and named in (None, each.profile_id)]
        profile = next(iter(manual), None)
        if profile is None:
            raise RequestError(
                f"{connector} does not connect by token" + ("" if named is None else f" by {named[:60]!r}")
            )
        return profile

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


async def _recordable(parts: "Parts", caller: Caller, run_id: str, remark: str) -> str:
    """A person's remark on a run, without the secrets of the run's connection. Raises RunNotFound."""
    if not remark:
        return remark
    return await parts.reading.without_secrets(caller, await parts.reading.fetch(caller, run_id), remark)
